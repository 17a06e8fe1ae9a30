"""Several models that decide together, one step function in place of theirs. All must share their vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.decoding.interface import State, Step

Average = Literal["probabilities", "log_probabilities"]


@dataclass(frozen=True)
class EnsembleState:
    """A state a model."""

    states: tuple[State, ...]

    @property
    def looked(self) -> Float[Tensor, "R S"] | None:
        """The mean of the models' looks; None where one does not watch."""
        looks = [state.looked for state in self.states]
        known = [look for look in looks if look is not None]
        return torch.stack(known).mean(0) if len(known) == len(looks) else None

    def select(self, rows: Int[Tensor, "A W"]) -> EnsembleState:
        """The given rows of each."""
        return EnsembleState(tuple(state.select(rows) for state in self.states))


def ensemble(steps: Sequence[Step], weights: Sequence[float], average: Average) -> Step:
    """A step over an EnsembleState: the weighted mean of the models' probabilities, or of their log-probabilities.

    The weights are brought to a sum of 1. The mean of log-probabilities is not normalised here: the search does that.
    """
    shares = [weight / sum(weights) for weight in weights]

    def step(last: Tensor, state: State) -> tuple[Tensor, State]:
        results = [one(last, own) for one, own in zip(steps, cast(EnsembleState, state).states, strict=True)]
        known = torch.stack([logits.log_softmax(-1) for logits, _ in results])  # [M, R, V]
        share = known.new_tensor(shares)[:, None, None]
        is_linear = average == "probabilities"
        logits = (known + share.log()).logsumexp(0) if is_linear else (known * share).sum(0)
        return logits, EnsembleState(tuple(own for _, own in results))

    return step
