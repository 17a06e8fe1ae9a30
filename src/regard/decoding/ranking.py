"""What a hypothesis is worth, and the order of an n-best list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from regard.decoding.interface import Hypothesis
from regard.errors import UsageError

Number = TypeVar("Number", float, Tensor)


def length_penalty(length: Number, alpha: float) -> Number:
    """((5 + length) / 6) ** alpha: Wu et al. 2016, "Google's Neural Machine Translation System", equation 14.

    `length` counts the tokens that were scored, the eos too. alpha 0 gives 1. A coverage penalty would be added to the
    score beside it, as a function of its own.
    """
    return ((5.0 + length) / 6.0) ** alpha  # type: ignore[no-any-return]


def score(log_probability: Number, length: float, alpha: float) -> Number:
    """Log-probability over the length penalty. For alpha >= 0 it grows with the length and with the log-probability."""
    return log_probability / length_penalty(length, alpha)


def rank(hypotheses: Sequence[Hypothesis], n_best: int) -> list[Hypothesis]:
    """The best `n_best`: finished ones by score, then truncated ones by score; of equals, the one found first."""
    return sorted(hypotheses, key=lambda hypothesis: (not hypothesis.finished, -hypothesis.score))[:n_best]


def check_alpha(alpha: float) -> None:
    """Raises UsageError unless alpha is a number of 0 or more: what `Beam` proves about stopping needs that."""
    if not (math.isfinite(alpha) and alpha >= 0):
        raise UsageError(f"the length penalty must be 0 or more, got {alpha}", fix="give a number such as 0.6 or 1")
