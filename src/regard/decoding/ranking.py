"""What a hypothesis is worth, and the order of an n-best list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

from jaxtyping import Float
from torch import Tensor

from regard.decoding.interface import Hypothesis
from regard.errors import UsageError

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True)
class Ranking:
    """score = log-probability / length penalty + coverage penalty (Wu et al. 2016, equation 14).

    The length penalty of n scored tokens, the eos too, is ((5 + n) / 6) ** alpha ("gnmt") or n ** alpha ("length": for
    alpha 1 the mean log-probability). `coverage` is GNMT's beta. Raises UsageError for numbers below 0: that no live
    hypothesis can rise any more is proved for penalties that grow with the length and coverage that takes away.
    """

    alpha: float = 1.0
    kind: Literal["gnmt", "length"] = "gnmt"
    coverage: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("length", self.alpha), ("coverage", self.coverage)):
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(
                    f"the {name} penalty must be 0 or more, got {value}", fix="give a number such as 0.6 or 1"
                )

    def length_penalty(self, length: Number) -> Number:
        """What a log-probability of `length` tokens is divided by; alpha 0 gives 1."""
        base = (5.0 + length) / 6.0 if self.kind == "gnmt" else length
        return base**self.alpha  # type: ignore[no-any-return]

    def coverage_penalty(self, covered: Float[Tensor, "R S"]) -> Float[Tensor, " R"]:
        """beta * sum over the source of log(min(covered, 1)): 0 or less. `covered`: the attention a position got."""
        return self.coverage * covered.clamp(1e-9, 1.0).log().sum(-1)


GNMT = Ranking()


def rank(hypotheses: Sequence[Hypothesis], n_best: int) -> tuple[list[Hypothesis], float]:
    """The best `n_best` and the smallest difference that decided their order.

    Those that meet all conditions first, then finished ones, then by score; of equals, the one found first.
    """
    ordered = sorted(hypotheses, key=lambda each: (not each.met, not each.finished, -each.score))
    differences = [
        one.score - other.score
        for one, other in pairwise(ordered[: n_best + 1])
        if (one.met, one.finished) == (other.met, other.finished)
    ]
    return ordered[:n_best], min(differences, default=math.inf)
