"""Attention between words from attention between tokens; text/words.py says what a word is.

attention = look.of("cross")[0]
merge(attention.weights, *words_of_part(look, "cross"))     # [H, T', S'], rows sum to 1
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regard.errors import UsageError
from regard.inside.result import Look, Part
from regard.text.words import Spans, word_spans, words_of_ids, words_of_text

__all__ = ["Spans", "merge", "word_spans", "words_of_ids", "words_of_inputs", "words_of_part", "words_of_text"]


def words_of_inputs(words: Spans) -> Spans:
    """Of what a decoder reads to write these words: START, a word of its own, and all tokens but the last."""
    if not words:
        return ()
    count = words[-1][1]
    return ((0, 1), *((first + 1, min(past + 1, count)) for first, past in words if first + 1 < count))


def words_of_part(look: Look, part: Part) -> tuple[Spans, Spans]:
    """Of the queries and of the keys of a part's attentions, for `merge`."""
    source, target = look.source.words, look.target.words
    return {
        "encoder": (source, source),
        "decoder": (target, words_of_inputs(target)),
        "cross": (target, source),
    }[part]


def merge(weights: Float[Tensor, "*H Q K"], queries: Spans, keys: Spans) -> Float[Tensor, "*H W V"]:
    """From tokens to words: the weights of a word's keys are added up, the rows of its queries averaged, and each row
    divided by its sum, so that it is 1 again whatever was rounded; rows of nothing but 0 stay so.

    A word that was attended to through any of its tokens has all of their weight; each token of a word that asks counts
    the same. Weights are not negative. UsageError where the words do not cover them.
    """
    for spans, size in ((queries, weights.shape[-2]), (keys, weights.shape[-1])):
        if not _covers(spans, size):
            raise UsageError(
                f"weights of {size} tokens need words that cover them in order, found {spans}",
                fix="take the words of the same side: Side.words, or words_of_inputs of them",
            )
    summed = _members(queries, weights.shape[-2]).T @ weights.double() @ _members(keys, weights.shape[-1])
    totals = summed.sum(-1, keepdim=True)  # the sum of rows divided by its sum is their mean divided by its
    return (summed / totals.where(totals > 0, 1.0)).to(weights.dtype)


def _covers(spans: Spans, size: int) -> bool:
    ends = [0, *(past for _, past in spans)]
    return ends[-1] == size and all(end == first < past for end, (first, past) in zip(ends, spans, strict=False))


def _members(spans: Spans, size: int) -> Float[Tensor, "N W"]:
    """1 where a token is of a word, float64."""
    members = torch.zeros(size, len(spans), dtype=torch.float64)
    for word, (first, past) in enumerate(spans):
        members[first:past, word] = 1
    return members
