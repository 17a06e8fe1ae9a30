"""Read this first: what a search gets and gives back. It gets a step function and a state, never a model.

    logits, state = step(last_ids, state)        # one position a call, bos first
    state = state.select(rows)                   # keep, repeat, reorder rows: all that a beam needs
    found = strategy(step, state, limits, vocabulary, conditions)

Every strategy is the same four small parts: step (logits to log-probabilities), filter, choose, rank.

Rows stand in a table [A, W]: A sentences, W hypotheses of each, a sentence's rows side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

from regard.errors import UsageError

Phrase: TypeAlias = tuple[int, ...]
TraceStep: TypeAlias = dict[str, Any]  # what becomes a JSON object


class State(Protocol):
    """What a decoder knows after some steps, one row a hypothesis."""

    @property
    def looked(self) -> Float[Tensor, "R S"] | None:
        """How the last step's attention was spread over the source; None where the state was not asked to watch."""
        ...

    def select(self, rows: Int[Tensor, "A W"]) -> State:
        """The rows of a table, line after line, repeats allowed; a line holds rows of one sentence."""
        ...


Step: TypeAlias = Callable[[Tensor, State], tuple[Tensor, State]]
"""Last ids [R] int64 and a state of R rows, to logits [R, V] for the next id and the state that includes the last.

The search may overwrite the logits.
"""


@dataclass(frozen=True)
class Hypothesis:
    """One answer: `ids` without bos and eos.

    `log_probabilities` are the model's, of each id and, if finished, of the final eos; `log_probability` is their sum:
    the forced score of the same ids. `score` = log_probability / length_penalty + coverage is what ranks it.
    `finished` is False if the limit (or a model that allows no next id) cut it. `met` is False if a required phrase is
    missing. `attended` is the source position that each id looked at most, if the state watched.
    """

    ids: list[int]
    log_probabilities: list[float]
    log_probability: float
    score: float
    length_penalty: float
    coverage: float
    finished: bool
    met: bool = True
    attended: list[int] | None = None


@dataclass(frozen=True)
class Found:
    """What came of one sentence: at least one hypothesis, the best first.

    `margin` is how far the closest decision of the search was from falling otherwise, in log-probability. An answer
    whose margin is larger than the rounding error of the logits is the answer that exact arithmetic gives. `trace` has
    a line a step if it was asked for (see trace.py).
    """

    hypotheses: list[Hypothesis]
    margin: float
    trace: tuple[TraceStep, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """How many ids there are, which ones begin and end a sentence, which ones are never generated (pad, bos, unk)."""

    size: int
    bos: int
    eos: int
    forbidden: tuple[int, ...]


@dataclass(frozen=True)
class Moment:
    """Where a search stands before a step: the ids of each row so far [R, T], and which sentence of the call it is."""

    history: Int[Tensor, "R T"]
    sentence: Int[Tensor, " R"]


class Filter(Protocol):
    """What may come next, or how likely it shall be. Pure: the values of a row depend on that row and its history."""

    def __call__(self, values: Float[Tensor, "R V"], moment: Moment) -> Float[Tensor, "R V"]:
        """Log-probabilities [R, V] to new ones; -inf forbids. `values` itself is left alone."""
        ...


class Observer(Protocol):
    """Is told every step of a search (see trace.py)."""

    def step(self, event: Event) -> None:
        """Once a step, before the table moves on."""
        ...


@dataclass(frozen=True)
class Event:
    """One step: which sentences [A], their totals before it, log-probabilities [R, V] of the model and after filters.

    What was chosen: the place each grows from, its token and its total (-inf: nothing).
    """

    length: int
    sentence: Int[Tensor, " A"]
    before: Float[Tensor, "A W"]
    values: Float[Tensor, "R V"]
    filtered: Float[Tensor, "R V"]
    parent: Int[Tensor, "A K"]
    token: Int[Tensor, "A K"]
    total: Float[Tensor, "A K"]


@dataclass(frozen=True)
class Conditions:
    """What an answer shall be like beside likely. Lists have an entry for each sentence of the call.

    `required` phrases must stand in the answer, none of `continuing` right after them: ids that go on with a word.
    `keys` name the sentences for sampling, so that the draws of one do not depend on its place in a batch.
    `source_lengths` are needed for a coverage penalty alone.
    """

    filters: tuple[Filter, ...] = ()
    required: Sequence[Sequence[Phrase]] = ()
    continuing: frozenset[int] = frozenset()
    keys: Sequence[int] = ()
    source_lengths: Int[Tensor, " B"] | None = None
    observer: Observer | None = None

    def filter(self, values: Float[Tensor, "R V"], moment: Moment) -> Float[Tensor, "R V"]:
        """All filters, one after the other."""
        for each in self.filters:
            values = each(values, moment)
        return values


FREE = Conditions()


class Strategy(Protocol):
    """A way to search. What it answers for a sentence depends on the logits of that sentence alone."""

    def __call__(
        self,
        step: Step,
        state: State,
        limits: Int[Tensor, " B"],
        vocabulary: Vocabulary,
        conditions: Conditions = FREE,
    ) -> list[Found]:
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
