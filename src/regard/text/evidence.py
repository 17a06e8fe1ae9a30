"""How much two lines speak for being translations of each other, learned from the corpus they stand in.

Every line gets a few small codes: its length among its neighbours', its first and last character, its kinds of
punctuation, its numbers and capitalised words. How much a pair of codes says is a log-likelihood ratio in nats: "these
two lines belong together" against "one belongs a few lines away". Lengths follow Gale & Church 1993, "A program for
aligning sentences in bilingual corpora"; the other codes are counted. Against *nearby* lines, because in a sorted
corpus all neighbours begin alike, and that tells nothing about which of them belong together.
"""

from __future__ import annotations

import math
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from operator import add, and_, mul
from statistics import NormalDist

CHUNK = 128  # lines whose lengths are ranked together
LEVELS = 64  # classes of length
NEARBY = (-5, -2, 2, 5)  # lines away: pairs that do not belong together
FLOOR = -4.0  # nats: no line may say more than this against a pair, for real corpora hold odd lines
LEAST_USEFUL = 0.02  # nats a line: a code that tells less is left out
CLEARLY_BETTER = 0.35  # by so much must a correlation at a shift exceed that at none, to learn from the shifted pairs
PRIOR = 2.0  # pairs added to every count, half of what it takes to be believed
MARKS = (",，、،", ";:；：", '"“”«»„「', "()（）[]", "-–—")  # numbers and final marks have codes of their own
ANCHOR = re.compile(r"[A-Z0-9]\w*")

Range = tuple[int, int, int]  # source lines start to stop go with the target lines `shift` further down


class Side:
    """What is kept of the lines of one side: 18 bytes a line."""

    def __init__(self) -> None:
        self.lengths = array("I")
        self.first, self.last, self.marks = array("H"), array("H"), array("H")
        self.anchors = array("Q")

    def add(self, text: str) -> None:
        """One more line."""
        text = text.strip()
        self.lengths.append(len(text))
        self.first.append(ord(text[0]) % 255 + 1 if text else 0)
        self.last.append(ord(text[-1]) % 255 + 1 if text else 0)
        self.marks.append(_marks(text))
        self.anchors.append(_anchors(text))


class Evidence:
    """The evidence, in nats, for every source line and the target line at the same place or some lines away."""

    def __init__(self, source: Side, target: Side, farthest: int) -> None:
        self.count = len(source.lengths)
        self._codes: list[tuple[array[int], array[int], list[float]]] = []
        self._anchors = (source.anchors, target.anchors)
        levels = (_local_levels(source.lengths), _local_levels(target.lengths))
        places = [NormalDist().inv_cdf((level + 0.5) / LEVELS) for level in range(LEVELS)]
        normal = [array("d", map(places.__getitem__, side)) for side in levels]
        ranges, self.correlation = _rough_shifts(normal[0], normal[1], farthest)
        self._keep(*levels, LEVELS, _length_table(self.correlation, places))
        for left, right, size in (
            (source.first, target.first, 256),
            (source.last, target.last, 256),
            (source.marks, target.marks, 1 << len(MARKS)),
        ):
            self._learn(left, right, size, ranges)
        self._overlap = self._learn_overlap(ranges)

    def at(self, shift: int, start: int, stop: int) -> Iterator[float]:
        """For source lines start to stop, the evidence that each goes with the target line `shift` further down."""
        low = min(stop, max(start, -shift))
        high = max(low, min(stop, self.count - shift))
        parts = [
            map(table.__getitem__, map(add, left[low:high], right[low + shift : high + shift]))
            for left, right, table in self._codes
        ]
        if self._overlap:
            parts.append(map(self._overlap.__getitem__, self._shared(low, high, shift)))
        total: Iterable[float] = parts[0]
        for part in parts[1:]:
            total = map(add, total, part)
        return chain(repeat(0.0, low - start), map(max, total, repeat(FLOOR)), repeat(0.0, stop - high))

    def of_lengths(self, start: int) -> float:
        """The evidence of lengths alone that the source lines from there on go with the target lines beside them."""
        left, right, table = self._codes[0]  # lengths are kept first, and always
        return sum(map(table.__getitem__, map(add, left[start:], right[start:])))

    def _keep(self, left: array[int], right: array[int], size: int, table: list[float]) -> None:
        self._codes.append((array("I", map(mul, left, repeat(size))), right, table))

    def _learn(self, left: array[int], right: array[int], size: int, ranges: list[Range]) -> None:
        """Counts which codes meet in pairs that belong together, and keeps the table if that tells anything."""
        together = Counter(chain.from_iterable(zip(*_cut(left, right, *r), strict=False) for r in ranges))
        nearby = Counter(chain.from_iterable(zip(*_cut(left, right, *r), strict=False) for r in _beside(ranges)))
        total = together.total()
        weight = total / max(1, nearby.total())
        table = [0.0] * (size * size)
        for a, b in chain(together, nearby):
            table[a * size + b] = math.log((together[a, b] + PRIOR) / (nearby[a, b] * weight + PRIOR))
        if sum(count * table[a * size + b] for (a, b), count in together.items()) > LEAST_USEFUL * total:
            self._keep(left, right, size, table)

    def _learn_overlap(self, ranges: list[Range]) -> list[float]:
        """The evidence of sharing 0, 1, ... anchors; empty if they tell nothing."""
        together = Counter(chain.from_iterable(self._shared(*r) for r in ranges))
        nearby = Counter(chain.from_iterable(self._shared(*r) for r in _beside(ranges)))
        total, others = together.total() + PRIOR, nearby.total() + PRIOR
        table = [math.log((together[n] + 1) / total / ((nearby[n] + 1) / others)) for n in range(65)]
        return table if sum(count * table[n] for n, count in together.items()) > LEAST_USEFUL * total else []

    def _shared(self, start: int, stop: int, shift: int) -> Iterator[int]:
        left, right = _cut(*self._anchors, start, stop, shift)
        return map(int.bit_count, map(and_, left, right))


def _marks(text: str) -> int:
    """A set of bits: which kinds of punctuation the text holds."""
    if text.isalpha():
        return 0
    bits = 0
    for bit, marks in enumerate(MARKS):
        for mark in marks:
            if mark in text:
                bits |= 1 << bit
                break
    return bits


def _anchors(text: str) -> int:
    """A set of 64 bits: the numbers and capitalised words, which both sides often share."""
    bits = 0
    for word in ANCHOR.findall(text):
        bits |= 1 << (zlib.crc32(word.encode()) & 63)
    return bits


def _local_levels(lengths: array[int]) -> array[int]:
    """Each length as its rank among CHUNK neighbours, in LEVELS classes; what all of them share falls out."""
    levels = array("H")
    for start in range(0, len(lengths), CHUNK):
        begin = max(0, min(start, len(lengths) - CHUNK))  # the last chunk is filled up with lines before it
        chunk = lengths[begin : begin + CHUNK]
        rank, level_of = 0, {}
        for length, times in sorted(Counter(chunk).items()):
            level_of[length] = int((rank + times / 2) / len(chunk) * LEVELS)
            rank += times
        levels.extend(map(level_of.__getitem__, lengths[start : start + CHUNK]))
    return levels


def _rough_shifts(source: array[float], target: array[float], farthest: int) -> tuple[list[Range], float]:
    """For every chunk the shift its lengths speak for, and the upper quartile of the correlations so reached.

    The upper quartile, not the mean: chunks that no small shift puts in step shall not hide how alike the others are.
    """
    size = max(32, min(CHUNK, len(source) // 8))
    ranges, correlations = [], []
    for start in range(0, len(source) - size + 1, size):
        stop = start + size
        unshifted = best = _correlation(source[start:stop], target[start:stop])
        chosen = 0
        for shift in range(-min(farthest, start), min(farthest, len(source) - stop) + 1):
            found = _correlation(source[start:stop], target[start + shift : stop + shift])
            if found > max(best, unshifted + CLEARLY_BETTER):
                best, chosen = found, shift
        ranges.append((start, stop, chosen))
        correlations.append(best)
    upper = sorted(correlations)[len(correlations) * 3 // 4] if correlations else 0.0
    return ranges, max(0.0, min(0.95, upper))


def _correlation(x: array[float], y: array[float]) -> float:
    """The correlation of two stretches of places on the normal scale, whose mean is 0."""
    spread = sum(map(mul, x, x)) * sum(map(mul, y, y))
    return sum(map(mul, x, y)) / math.sqrt(spread) if spread else 0.0


def _length_table(correlation: float, places: list[float]) -> list[float]:
    """Log ratio of the normal density with this correlation and that with none, at each pair of places."""
    rest = 1 - correlation * correlation
    both, alone = correlation / rest, correlation * correlation / rest / 2
    return [both * x * y - alone * (x * x + y * y) - 0.5 * math.log(rest) for x in places for y in places]


def _beside(ranges: list[Range]) -> Iterator[Range]:
    """The ranges with the pairs some lines away from those that belong together."""
    return ((start, stop, shift + away) for start, stop, shift in ranges for away in NEARBY)


def _cut(left: array[int], right: array[int], start: int, stop: int, shift: int) -> tuple[array[int], array[int]]:
    start = max(start, -shift)
    return left[start:stop], right[start + shift : max(0, stop + shift)]
