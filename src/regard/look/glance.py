"""Where a model looks in one sentence, as one small picture: its last attention to the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regard.translator import Translator

MOST = 40  # tokens of a side that a picture shows


@dataclass(frozen=True)
class Glance:
    """Tokens of source and answer, and how much each one of the answer looked at each one of the source.

    `weights[t][s]`, rows sum to 1: the last attention to the source that the decoder has, the mean over its heads.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


def glance(translator: Translator, sentence: str) -> Glance | None:
    """Of the model's greedy answer, the first MOST tokens of each side. None if its decoder attends to no source."""
    seen = translator.look(sentence, beam=1, opinions=False)
    cross = seen.of("cross")
    if not cross:
        return None
    rows = cross[-1].weights.mean(0)[:MOST, :MOST].tolist()
    weights = tuple(tuple(round(weight, 4) for weight in row) for row in rows)
    return Glance(seen.source.tokens[:MOST], seen.target.tokens[:MOST], weights)


def sentence_to_show(sources: Sequence[str]) -> str:
    """One of a middling length among those short enough for a picture, however they are cut into tokens."""
    short = sorted((source for source in sources if len(source) < MOST), key=len)
    return short[len(short) // 2] if short else min(sources, key=len)
