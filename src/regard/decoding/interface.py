"""Read this first: what a search gets and gives back. It gets a step function and a state, never a model.

    logits, state = step(last_ids, state)        # one position a call, bos first
    state = state.select(rows)                   # keep, repeat, reorder rows: all that a beam needs
    n_best = strategy(step, state, limits, vocabulary)

Every strategy is the same four small parts: step (logits to log-probabilities), forbid, choose, rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from jaxtyping import Int
from torch import Tensor

from regard.errors import UsageError


class State(Protocol):
    """What a decoder knows after some steps, one row a hypothesis."""

    def select(self, rows: Int[Tensor, " R"]) -> State:
        """The given rows in the given order, repeats allowed."""
        ...


Step: TypeAlias = Callable[[Tensor, State], tuple[Tensor, State]]
"""Last ids [R] int64 and a state of R rows, to logits [R, V] for the next id and the state that includes the last."""


@dataclass(frozen=True)
class Hypothesis:
    """One answer: `ids` without bos and eos.

    `log_probability` is the sum over the ids and, if finished, the final eos: the forced score of the same ids.
    `score` is what the ranking made of it. `finished` is False if the limit (or a model that allows no next id) cut it.
    """

    ids: list[int]
    log_probability: float
    score: float
    finished: bool


@dataclass(frozen=True)
class Vocabulary:
    """How many ids there are, which ones begin and end a sentence, which ones are never generated (pad, bos, unk)."""

    size: int
    bos: int
    eos: int
    forbidden: tuple[int, ...]


class Strategy(Protocol):
    """A way to search. What it answers for a sentence depends on the logits of that sentence alone."""

    def __call__(
        self, step: Step, state: State, limits: Int[Tensor, " B"], vocabulary: Vocabulary
    ) -> list[list[Hypothesis]]:
        """At least one hypothesis a sentence, the best first.

        `state` has one row a sentence. `limits` [B], on the state's device, are the most ids a hypothesis may hold, the
        eos not counted. The caller chooses `torch.inference_mode`. Raises UsageError for a negative limit, RegardError
        for logits that are not numbers.
        """
        ...


def check_limits(limits: Int[Tensor, " B"]) -> None:
    """Raises UsageError unless every limit is 0 or more."""
    if bool((limits < 0).any()):
        raise UsageError(f"the most ids of an answer cannot be negative, got {int(limits.min())}", fix="give 0 or more")
