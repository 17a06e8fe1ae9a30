"""Mean, spread, and when a difference is more than the luck of the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

LEVEL = 0.95  # of the interval of a difference
SLICES = 400  # of an integral; an even number


@dataclass(frozen=True)
class Spread:
    """The mean of some values and their sample standard deviation, None where there are fewer than two values."""

    mean: float
    deviation: float | None
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Of at least one value."""
        mean = math.fsum(values) / len(values)
        if len(values) < 2:
            return Spread(mean, None, len(values))
        squares = math.fsum((value - mean) ** 2 for value in values)
        return Spread(mean, math.sqrt(squares / (len(values) - 1)), len(values))


def margin(one: Spread, other: Spread) -> float | None:
    """How large a difference of the two means may be and still say nothing; None where no spread is known.

    The larger of two numbers. sqrt(s1^2 + s2^2): by so much two single runs differ by their seeds, so below it one more
    run could turn the order round. And half the 95 % interval of the difference of the means (Student's, with both
    variances pooled), which is wide where there are few seeds. Variants have the same number of seeds, and then it is
    about right where their variances differ, too; Welch's interval would call nothing clear with two seeds.
    """
    if one.deviation is None or other.deviation is None:
        return None
    freedom = one.count + other.count - 2
    pooled = ((one.count - 1) * one.deviation**2 + (other.count - 1) * other.deviation**2) / freedom
    interval = student(freedom) * math.sqrt(pooled * (1 / one.count + 1 / other.count))
    return max(math.hypot(one.deviation, other.deviation), interval)


@cache
def student(freedom: int) -> float:
    """The t that Student's distribution stays within, to both sides, with a probability of 95 %."""
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < LEVEL else (low, middle)
    return high


def within(t: float, freedom: int) -> float:
    """The probability that Student's t lies between -t and t: an integral over angles, by Simpson's rule."""
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(math.pi)
    width = math.atan(t / math.sqrt(freedom)) / SLICES
    weights = [1.0, *([4.0, 2.0] * (SLICES // 2))[: SLICES - 1], 1.0]
    heights = (math.cos(width * place) ** (freedom - 1) for place in range(SLICES + 1))
    area = width / 3 * math.fsum(weight * height for weight, height in zip(weights, heights, strict=True))
    return 2 * math.exp(log_scale) * area


Points = Sequence[tuple[float, float]]  # (x, y), ascending by x


def at(points: Points, x: float) -> float:
    """The height of a line through points at `x`; level before the first and after the last."""
    before = [point for point in points if point[0] <= x]
    after = [point for point in points if point[0] >= x]
    if not before or not after:
        return (before[-1] if before else after[0])[1]
    (x0, y0), (x1, y1) = before[-1], after[0]
    return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def mean_line(lines: Sequence[Points]) -> list[tuple[float, float]]:
    """The mean of several lines where all of them have a height: from the last start to the first end."""
    drawn = [line for line in lines if line]
    if not drawn:
        return []
    start, end = max(line[0][0] for line in drawn), min(line[-1][0] for line in drawn)
    places = sorted({x for line in drawn for x, _ in line if start <= x <= end})
    return [(x, math.fsum(at(line, x) for line in drawn) / len(drawn)) for x in places]
