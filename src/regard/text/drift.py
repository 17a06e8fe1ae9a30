"""Where two sides of a corpus slip out of step: one lost or gained lines, and all pairs after that are wrong.

The evidence that source line i goes with target line i + s is compared with that for target line i, for shifts s of
-5 .. 5, by cumulative sums (Page 1954, "Continuous inspection schemes"): the sum of differences rises from the line
where the slip begins, and chance does not raise it far. Time is linear in lines, memory some tens of bytes a line.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

from regard.text.evidence import Evidence, Side

FARTHEST = 5  # lines of shift that are looked for everywhere
SHIFTS = tuple(shift for size in range(1, FARTHEST + 1) for shift in (size, -size))
FAR = 200  # lines of shift that are looked for once nothing nearer explains the end of the file
FEWEST = 30  # pairs below which nothing can be said
SURE = 3.0  # nats beyond what the best of all shifts and places reaches by chance
WINDOW = 60  # lines before a find in which the exact start is sought


@dataclass(frozen=True)
class Drift:
    """From pair `start` (counted from 0) on, source i goes with target i + `shift`; None: with none that was found."""

    start: int
    shift: int | None


class DriftFinder:
    """Takes pairs one by one and then says where they slip out of step."""

    def __init__(self) -> None:
        self._source, self._target = Side(), Side()

    def add(self, source: str, target: str) -> None:
        """One more pair, in the order of the file."""
        self._source.add(source)
        self._target.add(target)

    def find(self) -> Drift | None:
        """The first place from which a shift explains the pairs far better than none does; None if all is well."""
        if len(self._source.lengths) < FEWEST:
            return None
        evidence = Evidence(self._source, self._target, FARTHEST)
        unshifted = array("d", evidence.at(0, 0, evidence.count))
        near, lost = _near(evidence, unshifted), _lost(evidence, unshifted)
        if near and lost:
            return near if near.start <= lost.start + WINDOW else lost
        return near or lost


def _limit(count: int) -> float:
    return SURE + math.log(len(SHIFTS) * count)


def _near(evidence: Evidence, unshifted: array[float]) -> Drift | None:
    """The first slip by at most FARTHEST lines."""
    rival = array("d", map(max, unshifted, repeat(0.0)))  # a shift must beat "no shift" and "unrelated" alike
    stop, found = evidence.count, []
    for shift in SHIFTS:
        place = _first_rise(evidence.at(shift, 0, stop), rival, _limit(evidence.count))
        if place:
            found.append((*place, shift))
            stop = min(stop, place[1] + WINDOW)  # what rises later than this comes from a later slip
    best, drift = 0.0, None
    for start, end, shift in found:
        begin = max(0, start - WINDOW)
        stretch = slice(begin, min(evidence.count, end + WINDOW))
        gain, place_in = _highest_rise(evidence.at(shift, begin, stretch.stop), unshifted[stretch])
        if gain > best:
            best, drift = gain, Drift(begin + place_in, shift)
    return drift


def _first_rise(shifted: Iterable[float], rival: Iterable[float], limit: float) -> tuple[int, int] | None:
    """Where the cumulative sum of differences left zero before it first passed the limit, and where it did."""
    total, start = 0.0, 0
    for index, (here, there) in enumerate(zip(shifted, rival, strict=False)):
        total += here - there
        if total <= 0.0:
            total, start = 0.0, index + 1
        elif total > limit:
            return start, index
    return None


def _highest_rise(shifted: Iterable[float], unshifted: Iterable[float]) -> tuple[float, int]:
    """The largest sum of differences over consecutive lines, and the line it starts at."""
    total, start, best, best_start = 0.0, 0, 0.0, 0
    for index, (here, there) in enumerate(zip(shifted, unshifted, strict=True)):
        total += here - there
        if total <= 0.0:
            total, start = 0.0, index + 1
        elif total > best:
            best, best_start = total, start
    return best, best_start


def _lost(evidence: Evidence, unshifted: array[float]) -> Drift | None:
    """A slip by more than FARTHEST lines: from some place to the end of the file the pairs speak against themselves.

    Not where no shift explains them and their lengths do go together: then they are pairs of another kind, such as a
    second language, whose first and last characters go together in other ways than most of the corpus taught.
    """
    total, lowest, start = 0.0, 0.0, evidence.count
    for index in range(evidence.count - 1, -1, -1):
        total += unshifted[index]
        if total < lowest:
            lowest, start = total, index
    if lowest > -3 * _limit(evidence.count):
        return None
    stop = min(evidence.count, start + 500)
    support = {shift: sum(evidence.at(shift, start, stop)) for shift in range(-FAR, FAR + 1)}
    shift = max(support, key=support.__getitem__)
    if support[shift] > _limit(evidence.count):
        return Drift(start, shift)
    return None if evidence.of_lengths(start) > _limit(evidence.count) else Drift(start, None)
