"""Words as spans of tokens, and attention between words from attention between tokens.

A word is what stands between spaces (U+0020), whatever the tokenizer: so the words of a text are the same for two
models with different tokens, and those that a file of alignments counts. A token that holds the space alone goes to the
word after it, as the space in front of a piece of a word does; the end of a text is a word of its own.

    attention = look.of("cross")[0]
    merge(attention.weights, *words_of_part(look, "cross"))     # [H, T', S'], rows sum to 1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from regard.errors import UsageError
from regard.inside.result import Look, Part
from regard.text.tokenizer import KINDS, UNK, Tokenizer

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""(first token, one past the last) of each word; they cover all tokens in order."""


def words_of_text(tokenizer: Tokenizer, text: str) -> Spans:
    """Of the tokens of `tokenizer.encode(text)` and the end after them. DataError on a lone surrogate."""
    return _with_end(_words(tokenizer, tokenizer.pieces(text)))


def words_of_ids(tokenizer: Tokenizer, ids: Sequence[int], ends: bool = True) -> Spans:
    """Of ids as a model writes them, and of the end after them if it `ends`.

    What an unknown id stands for is not known: it is a word where pieces are whole words, a letter where they are not.
    """
    known = {id: _piece(tokenizer, id) for id in set(ids)}
    spans = _words(tokenizer, [known[id] for id in ids])
    return _with_end(spans) if ends else spans


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


def _words(tokenizer: Tokenizer, pieces: Sequence[str]) -> Spans:
    if KINDS[tokenizer.kind].spaces_between:
        return tuple((place, place + 1) for place in range(len(pieces)))
    return word_spans(pieces)


def word_spans(pieces: Iterable[str]) -> Spans:
    """Of pieces that together are the text: a space starts a word, but for the first and for spaces at the end."""
    starts, count = [0], 0
    blank = after_space = True  # is there nothing but spaces in this word; did the last piece end in one
    for piece in pieces:
        if not blank and (after_space or piece.startswith(" ")):
            starts.append(count)
            blank = True
        blank = blank and not piece.strip(" ")
        after_space = piece.endswith(" ") if piece else after_space  # a byte that goes on with a character has no text
        count += 1
    if blank and len(starts) > 1:
        starts.pop()
    return tuple(zip(starts, [*starts[1:], count], strict=True)) if count else ()


def _with_end(spans: Spans) -> Spans:
    last = spans[-1][1] if spans else 0
    return (*spans, (last, last + 1))


def _piece(tokenizer: Tokenizer, id: int) -> str:
    """What the id adds to a text, its space too, which `decode` takes from the first token alone."""
    if id == UNK:
        return " ?" if KINDS[tokenizer.kind].leading_space else "?"
    alone, twice = tokenizer.decode([id]), tokenizer.decode([id, id])
    return twice[len(alone) :] if len(twice) > 2 * len(alone) else alone


def _covers(spans: Spans, size: int) -> bool:
    ends = [0, *(past for _, past in spans)]
    return ends[-1] == size and all(end == first < past for end, (first, past) in zip(ends, spans, strict=False))


def _members(spans: Spans, size: int) -> Float[Tensor, "N W"]:
    """1 where a token is of a word, float64."""
    members = torch.zeros(size, len(spans), dtype=torch.float64)
    for word, (first, past) in enumerate(spans):
        members[first:past, word] = 1
    return members
