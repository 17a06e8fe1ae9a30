"""What a corpus is like, in the few numbers that settings are chosen from."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from unicodedata import normalize

from regard.text.pairs import Pair, is_blank

SAMPLE = 200_000  # pairs that are looked at; the rest is only counted


@dataclass(frozen=True)
class SideSurvey:
    """One side: means a line, and distinct kinds."""

    characters: float
    words: float
    distinct_characters: int
    distinct_parts: int  # characters after canonical decomposition (Unicode NFD): letters and marks, jamo
    distinct_words: int
    are_symbols: bool  # few distinct words, each often: phones, digits, commands


@dataclass(frozen=True)
class Survey:
    """Both sides; lengths of the sampled pairs as (source, target) in characters and in words."""

    pairs: int
    source: SideSurvey
    target: SideSurvey
    shared_characters: float  # share of the rarer side's characters that the other side has too
    character_lengths: tuple[array[int], array[int]]
    word_lengths: tuple[array[int], array[int]]


def survey(pairs: Iterable[Pair]) -> Survey:
    """Reads all pairs once; blank ones do not count."""
    full = (pair for pair in pairs if not (is_blank(pair.source) or is_blank(pair.target)))
    sides = _Side(), _Side()
    for pair in islice(full, SAMPLE):
        sides[0].add(pair.source)
        sides[1].add(pair.target)
    rest = sum(1 for _ in full)
    source, target = sides
    both = source.characters.keys() & target.characters.keys()
    fewer = max(1, min(len(source.characters), len(target.characters)))
    return Survey(
        len(source.word_lengths) + rest,
        source.finish(),
        target.finish(),
        len(both) / fewer,
        (source.character_lengths, target.character_lengths),
        (source.word_lengths, target.word_lengths),
    )


class _Side:
    """Counts of one side."""

    def __init__(self) -> None:
        self.characters: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.character_lengths, self.word_lengths = array("l"), array("l")

    def add(self, text: str) -> None:
        words = [word for word in text.split(" ") if word]
        self.characters.update(text)
        self.words.update(words)
        self.character_lengths.append(len(text))
        self.word_lengths.append(len(words))

    def finish(self) -> SideSurvey:
        lines = max(1, len(self.word_lengths))
        mean_words = sum(self.word_lengths) / lines
        often = sum(self.word_lengths) >= 8 * len(self.words)
        are_symbols = mean_words >= 1.5 and len(self.words) <= 1000 and often
        mean_characters = sum(self.character_lengths) / lines
        parts = {part for character in self.characters for part in normalize("NFD", character)}
        return SideSurvey(mean_characters, mean_words, len(self.characters), len(parts), len(self.words), are_symbols)
