"""Where each decoder looks in the same sentence: its attention to the source, for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from regard.attention.record import recorded
from regard.data.tokens import Tokens
from regard.text.tokenizer import BOS, EOS, PAD
from regard.translator import Translator

END = "(end)"
MOST = 40  # tokens of a side that a picture shows


@dataclass(frozen=True)
class Look:
    """Symbols of source and answer, and how much each symbol of the answer looked at each one of the source.

    `weights[t][s]`, rows sum to 1: the last attention to the source that the decoder has, the mean over its heads.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


def look(translator: Translator, sentence: str) -> Look | None:
    """Teacher forcing on the model's own greedy answer. None if the decoder attends to no source."""
    ids = translator.tokenizers.source.encode_many([sentence])[0]
    [answer] = translator.search([ids], translator.decoding({}, beam=1))
    rows = attention(translator, ids, answer[0].ids[: MOST - 1])
    if rows is None:
        return None
    source, target = translator.tokenizers.source.symbols(ids), translator.tokenizers.target.symbols(answer[0].ids)
    width = min(len(ids) + 1, MOST)
    weights = tuple(tuple(round(weight, 4) for weight in row[:width]) for row in rows)
    return Look((*source, END)[:width], (*target[: MOST - 1], END)[: len(weights)], weights)


def attention(translator: Translator, source: Sequence[int], target: Sequence[int]) -> list[list[float]] | None:
    """The weights over `source` and its end for each id of `target` and the end.

    Step by step, for a recurrent decoder looks once a step. The source is padded to a width that no other attention of
    the decoder can have: so the one to the source is known by its shape, in whatever decoder. Padding changes nothing.
    """
    length = len(source) + 1
    width = length + len(target) + 2
    device = next(translator.model.parameters()).device
    ids = torch.tensor([[*source, EOS, *[PAD] * (width - length)]], device=device)
    rows = []
    decoder = translator.model.eval().decoder
    with torch.inference_mode(), recorded(decoder) as seen:
        state = decoder.start(translator.model.encode(Tokens(ids, torch.tensor([length], device=device))))
        for last in (BOS, *target):
            _, state = decoder.step(torch.tensor([last], device=device), state)
            to_source = [weights for weights in seen.values() if weights.shape[-1] == width]
            if not to_source:
                return None
            rows.append(to_source[-1][0, :, -1, :length].mean(0).tolist())
    return rows


def sentence_to_show(sources: Sequence[str]) -> str:
    """One of a middling length among those short enough for a picture, however they are cut into tokens."""
    short = sorted((source for source in sources if len(source) < MOST), key=len)
    return short[len(short) // 2] if short else min(sources, key=len)
