"""Why an answer depends on its sentence and the model alone.

Sums of floating-point numbers depend a little on their order, and so on the size of a batch, on padding and threads:
around the sixth digit in float32. Where two candidates lie that close, another batch could choose the other one. So
every search tells how close its closest decision was (`Found.margin`). An answer whose margin is larger than any
rounding is the answer of exact arithmetic, in whatever batch. The few others are searched again in float64, whose
rounding is a hundred million times smaller. Which ones are searched twice may differ between batches; what they answer
cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from regard.decoding.interface import Found

# In log-probability: at least, and for each token of the longest hypothesis. benchmarks/sameness.py shows how much the
# log-probability of a whole answer differs between batches: 2.8e-5 at most on the models of the README.
LEAST, TOLERANCE = 5e-5, 2.5e-6

Search = Callable[[Sequence[int]], list[Found]]
"""The places of sources in a call to what was found for them."""


def settled(count: int, fast: Search, precise: Search) -> list[tuple[Found, bool]]:
    """What `fast` finds where that is sure, what `precise` finds elsewhere, and which is which."""
    found = fast(range(count))
    unsure = [place for place, each in enumerate(found) if not is_sure(each)]
    again = dict(zip(unsure, precise(unsure), strict=True)) if unsure else {}
    return [(again.get(place, each), place in again) for place, each in enumerate(found)]


def is_sure(found: Found) -> bool:
    """Whether rounding cannot have decided anything."""
    longest = max(len(hypothesis.ids) for hypothesis in found.hypotheses)
    return found.margin > max(LEAST, TOLERANCE * longest)
