"""CMUdict as the papers split it, each word beside two words of the training part and how these are spoken: that which
begins as it does for longest, and that which ends so. An answer may be taken from them piece by piece, as a reader
speaks an unknown name by those that are known (Dedina and Nusbaum 1991, "PRONOUNCE: a program for pronunciation by
analogy"; for translation, Bulté and Tezcan 2019, "Neural fuzzy repair").

FOLDER is that of `cmudict`, and nothing else is read: neighbours are of the training part alone, and no word is its own
neighbour there, so training words have them as others do. A source line is

    S C A L D E D <2 S = s k ao l d z >3 F O L = f ow l d ih d

the word; how many of its letters the first neighbour does not share (9: nine or more), what that neighbour has in their
place, and its phones; and the same of the other one. A word without a neighbour at an end has nothing there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from sets import cmudict
from sets.part import DataSet, Part, error_rates, read_pairs, write_pairs

LEAST = 3  # letters shared
MOST = 9  # letters not shared that are told apart


class Neighbours:
    """The words of a dictionary by how they begin and end; of a word's pronunciations the first."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.phones: dict[str, str] = {}
        for word, phones in pairs:
            self.phones.setdefault(word, phones)
        self.beginning = _by_beginning(self.phones)
        self.ending = _by_beginning(word[::-1] for word in self.phones)

    def source(self, word: str) -> str:
        """The word and its neighbours, as a line."""
        parts = [*word]
        if found := _nearest(word, self.beginning):
            shared, other = found
            parts += [_left("<", word, shared), *other[shared:], "=", self.phones[other].lower()]
        if found := _nearest(word[::-1], self.ending):
            shared, other = found[0], found[1][::-1]
            parts += [_left(">", word, shared), *other[: len(other) - shared], "=", self.phones[other].lower()]
        return " ".join(parts)


def _by_beginning(words: Iterable[str]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for word in words:
        for length in range(LEAST, len(word) + 1):
            found[word[:length]].append(word)
    return found


def _nearest(word: str, known: dict[str, list[str]]) -> tuple[int, str] | None:
    """How many letters are shared, and of all others that share them the one with the fewest letters changed."""
    for length in range(len(word), LEAST - 1, -1):
        if others := [other for other in known.get(word[:length], ()) if other != word]:
            return length, min(others, key=lambda other: (Levenshtein.distance(word, other), len(other), other))
    return None


def _left(mark: str, word: str, shared: int) -> str:
    return f"{mark}{min(len(word) - shared, MOST)}"


def prepare(data: Path, folder: Path) -> list[Part]:
    """One part."""
    plain = cmudict.prepare(data, folder / "plain")[0]
    near = Neighbours(read_pairs(plain.train[0]))
    train, dev, test = (
        (write_pairs(folder / file.name, ((near.source(word), phones) for word, phones in read_pairs(file))),)
        for (file,) in (plain.train, plain.dev, plain.test)
    )
    return [Part("", train, dev, test)]


SET = DataSet(prepare, error_rates, cmudict.PUBLISHED)
