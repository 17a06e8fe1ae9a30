"""A curve in a line of text, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"
SIZES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
TIMES = ((86_400, "days"), (3600, "hours"), (60, "min"))


def sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """At most `width` characters, from the lowest value to the highest; of many values the mean of each stretch."""
    count = min(width, len(values))
    edges = [place * len(values) // count for place in range(count + 1)] if count else []
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    span = (high - low) or 1.0
    return "".join(blocks[round((value - low) / span * (len(blocks) - 1))] for value in means)


def in_bytes(count: float) -> str:
    """3145728 as 3.0 MiB."""
    size, unit = next(((size, unit) for size, unit in SIZES if count >= size), (1, "bytes"))
    return f"{count / size:.1f} {unit}" if size > 1 else f"{count:.0f} {unit}"


def in_time(seconds: float) -> str:
    """5400 as 1.5 hours."""
    size, unit = next(((size, unit) for size, unit in TIMES if seconds >= 2 * size), (1, "s"))
    return f"{seconds / size:.1f} {unit}" if size > 1 else f"{seconds:.0f} s"
