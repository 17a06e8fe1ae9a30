"""A source read together with what is known of others like it: after its own tokens stand two neighbours, the training
pairs whose sources begin and end as it does for longest, and their targets. An answer may then be taken from them piece
by piece, as a reader speaks an unknown name by those that are known (Dedina and Nusbaum 1991, "PRONOUNCE: a program
for pronunciation by analogy"; for translation, Bulté and Tezcan 2019, "Neural fuzzy repair").

A text is never its own neighbour, so texts of training are read as others are.
"""

from __future__ import annotations

import hashlib
import json
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rapidfuzz.distance import Levenshtein

from regard.errors import ModelFolderError
from regard.text.tokenizer import Tokenizer

LEAST = 3  # tokens that a neighbour shares
MOST = 9  # tokens it does not share that are told apart
NEAR = 500  # of more that share as much, only so many to each side of the text in order are compared
LAST = chr(sys.maxunicode)  # comes after all that stands for a token
EQUALS = "="  # stands between what a neighbour has in place of the text's own tokens, and its target
MARKS = (EQUALS, *(f"<{count}" for count in range(MOST + 1)), *(f">{count}" for count in range(MOST + 1)))


@dataclass(frozen=True)
class Neighbour:
    """How many tokens it shares with a text, what it has in place of the text's others, and its target."""

    shared: int
    rest: list[int]
    target: list[int]


class Neighbours:
    """Pairs of ids by how their sources begin and end; of pairs with one source the first counts.

    A row of ids is held as a string, a character an id: that is small, and what the library compares fast.
    """

    def __init__(self, pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> None:
        self._targets: dict[str, str] = {}
        for source, target in pairs:
            self._targets.setdefault(_packed(source), _packed(target))
        self._forward = sorted(self._targets)
        self._backward = sorted(source[::-1] for source in self._targets)

    def beginning(self, source: Sequence[int]) -> Neighbour | None:
        """The other source that begins as this one does for longest; of several, that with the fewest changes."""
        return self._found(_nearest(self._forward, _packed(source)), turn=1)

    def ending(self, source: Sequence[int]) -> Neighbour | None:
        """The other source that ends as this one does for longest; of several, that with the fewest changes."""
        return self._found(_nearest(self._backward, _packed(source)[::-1]), turn=-1)

    def _found(self, found: tuple[int, str] | None, turn: int) -> Neighbour | None:
        if found is None:
            return None
        shared, other = found
        return Neighbour(shared, _ids(other[shared:][::turn]), _ids(self._targets[other[::turn]]))


def _nearest(known: Sequence[str], row: str) -> tuple[int, str] | None:
    """How much of its beginning is shared, at least LEAST, and by whom. `known` is in order, so those that share most
    stand around the place where the row stands or would stand.
    """
    place = bisect_left(known, row)
    after = place + (known[place : place + 1] == [row])
    beside = [*known[max(0, place - 1) : place], *known[after : after + 1]]
    shared = max((_alike(row, other) for other in beside), default=0)
    if shared < LEAST:
        return None
    first, past = bisect_left(known, row[:shared]), bisect_left(known, row[:shared] + LAST)
    others = [*known[max(first, place - NEAR) : place], *known[after : min(past, after + NEAR)]]
    return shared, min(others, key=lambda other: (Levenshtein.distance(row, other), len(other), other))


def _alike(one: str, other: str) -> int:
    """How much of their beginnings is the same."""
    most = min(len(one), len(other))
    return next((place for place in range(most) if one[place] != other[place]), most)


def _packed(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def _ids(row: str) -> list[int]:
    return list(map(ord, row))


class NeighbourTokenizer(Tokenizer):
    """The source's tokenizer of a model that reads neighbours: a text's own ids, then those of up to two of `pairs`.

    Of a neighbour stand a mark (where it is like the text, and how many of the text's tokens it does not share: 9 is
    nine or more), what it has in their place, another mark, and its target. The ids of `plain` are the first, then
    MARKS, then those of `target`. A text as short as LEAST, or like no other, has its own ids alone.
    """

    def __init__(self, plain: Tokenizer, target: Tokenizer, pairs: Iterable[tuple[str, str]]) -> None:
        super().__init__(plain.kind, plain._backend)
        self.plain, self.target = plain, target
        firsts: dict[str, str] = {}
        for source, answer in pairs:
            firsts.setdefault(source, answer)
        self.pairs = tuple(firsts.items())
        self._first_mark = len(plain)
        self._first_target = self._first_mark + len(MARKS)

    @cached_property
    def _known(self) -> Neighbours:
        sources, targets = zip(*self.pairs, strict=True) if self.pairs else ((), ())
        rows = zip(self.plain.encode_many(sources), self.target.encode_many(targets), strict=True)
        return Neighbours(rows)

    def __len__(self) -> int:
        return self._first_target + len(self.target)

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """As `Tokenizer`, with the neighbours of each text."""
        return [[*row, *self._beside(row)] for row in super().encode_many(texts)]

    def _beside(self, row: Sequence[int]) -> list[int]:
        known, ids = self._known, list[int]()
        for first, found in (("<0", known.beginning(row)), (">0", known.ending(row))):
            if found:
                left = self._first_mark + MARKS.index(first) + min(len(row) - found.shared, MOST)
                target = (self._first_target + id for id in found.target)
                ids += [left, *found.rest, self._first_mark + MARKS.index(EQUALS), *target]
        return ids

    def own(self, ids: Sequence[int]) -> int:
        """How many of the ids of `encode` are the text's own."""
        return next((place for place, id in enumerate(ids) if id >= self._first_mark), len(ids))

    def decode(self, ids: Sequence[int], unknown: Sequence[str] = ()) -> str:
        """As `Tokenizer`, of the text's own ids."""
        return super().decode(ids[: self.own(ids)], unknown)

    def symbols(self, ids: Sequence[int]) -> list[str]:
        """As `Tokenizer`; of a neighbour's target as the target's tokenizer shows it."""
        return [self._symbol(id) for id in ids]

    def _symbol(self, id: int) -> str:
        if id < self._first_mark:
            return self.plain.symbols([id])[0]
        return (
            MARKS[id - self._first_mark]
            if id < self._first_target
            else self.target.symbols([id - self._first_target])[0]
        )

    def places(self, before: Tokenizer) -> Sequence[int]:
        """As `Tokenizer`: new tokens of the source come before the marks and the target's."""
        assert isinstance(before, NeighbourTokenizer), "a plain one does not become one with neighbours"
        sizes = ((len(before.plain), 0), (len(MARKS), self._first_mark), (len(before.target), self._first_target))
        return [first + id for count, first in sizes for id in range(count)]

    def digest(self) -> str:
        """As `Tokenizer`, with the neighbours."""
        content = hashlib.sha256("\n".join([self.target.to_json(), self.pairs_text()]).encode())
        return f"{super().digest()}{content.hexdigest()}"

    def pairs_text(self) -> str:
        """The pairs as JSON lines, which `read_pairs_text` reads."""
        return "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in self.pairs)


def read_pairs_text(text: str, where: str) -> list[tuple[str, str]]:
    """The inverse of `NeighbourTokenizer.pairs_text`; ModelFolderError with `where` for what it did not write."""
    pairs = []
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        try:
            source, target = json.loads(line)
        except (ValueError, TypeError):
            source = target = None
        if not (isinstance(source, str) and isinstance(target, str)):
            fix = "copy the model folder again, or train again"
            raise ModelFolderError("wanted a list of two texts", where=f"{where}:{number}", fix=fix)
        pairs.append((source, target))
    return pairs
