"""Ways to search for the best target, each one file, written once against a step function and a state.

To add a strategy: write its file against interface.py and add a line to STRATEGIES.
"""

from __future__ import annotations

from regard.decoding.beam import Beam
from regard.decoding.greedy import Greedy
from regard.decoding.interface import Strategy

STRATEGIES: dict[str, type[Greedy] | type[Beam]] = {
    "greedy": Greedy,
    "beam": Beam,
}


def strategy(size: int, n_best: int, length_penalty: float) -> Strategy:
    """The search that a recipe's decoding section asks for: greedy for size 1, else a beam. Raises UsageError."""
    beam = Beam(size, n_best, length_penalty)
    return Greedy(length_penalty) if size == 1 else beam
