"""Times side by side: A B C, C B A, ... in one process, and what the ratios of a round come to.

Workers of one library spin for a while after a call and take the core of the next contender: so each slice begins with
a rest and a call that is not timed. Speeds of a shared machine drift: so only times of the same round are compared.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

REST = 0.25  # seconds before a slice
SLICE = 0.3  # seconds that a slice lasts at least, by repeating short calls
LONG = 1.0  # seconds from which on a call is not repeated for warming; `brief` is
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
TOO_LONG = 30.0  # seconds; a contender whose call takes longer is named and left out


@dataclass(frozen=True)
class Call:
    """What is timed, and a shorter one like it."""

    run: Callable[[], object]
    brief: Callable[[], object]


@dataclass
class Times:
    """Seconds a call, one number a round; those that were too long, with what their first call took."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    too_long: dict[str, float] = field(default_factory=dict)


class Spread(NamedTuple):
    """A median and the ends."""

    median: float
    low: float
    high: float


def interleave(calls: Mapping[str, Call], rounds: int, longest: float = TOO_LONG, clock: str = "wall") -> Times:
    """The first call of each warms it up and says how often a slice repeats it. The first contender always stays.

    `clock`: `processor` counts the time of this process alone: for one thread on a machine that others use as well.
    """
    first = {name: _first(call) for name, call in calls.items()}
    others = list(calls)[1:]
    times = Times(too_long={name: first[name] for name in others if first[name] > longest})
    times.seconds = {name: [] for name in calls if name not in times.too_long}
    for number in range(rounds):
        for name in order(list(times.seconds), number):
            times.seconds[name].append(_slice(calls[name], first[name], clock))
    return times


def order(names: Sequence[str], number: int) -> list[str]:
    """Of a round: there in even ones, back in odd ones."""
    return list(names if number % 2 == 0 else reversed(names))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast as theirs ours is, from seconds of the same rounds."""
    return spread([b / a for a, b in zip(ours, theirs, strict=True)])


def spread(values: Sequence[float]) -> Spread:
    """The median, the least and the greatest."""
    return Spread(statistics.median(values), min(values), max(values))


def _first(call: Call) -> float:
    """The second call unless the first is very long: what is made once is not counted."""
    taken = _seconds(call.run)
    return min(taken, _seconds(call.run)) if taken < 5 * LONG else taken


def _slice(call: Call, first: float, clock: str) -> float:
    time.sleep(REST)
    (call.run if first < LONG else call.brief)()
    count = max(1, math.ceil(SLICE / first))
    return _seconds(lambda: [call.run() for _ in range(count)], clock) / count


def _seconds(run: Callable[[], object], clock: str = "wall") -> float:
    started = CLOCKS[clock]()
    run()
    return CLOCKS[clock]() - started
