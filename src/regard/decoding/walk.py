"""What greedy search and sampling share: every hypothesis goes its own way, one id a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.decoding.choose import LogSoftmax, forbid
from regard.decoding.interface import (
    Conditions,
    Event,
    Found,
    Hypothesis,
    Moment,
    State,
    Step,
    Vocabulary,
    check_limits,
)
from regard.decoding.ranking import Ranking
from regard.decoding.table import Table
from regard.errors import UsageError

Pick: TypeAlias = Callable[[Tensor, Moment], tuple[Tensor, Tensor]]
"""Filtered log-probabilities [R, V] to the id of each row [R] and by how much it was ahead [R] (never NaN)."""


def walk(
    step: Step,
    state: State,
    limits: Int[Tensor, " B"],
    vocabulary: Vocabulary,
    conditions: Conditions,
    *,
    width: int,
    pick: Pick,
    ranking: Ranking,
) -> list[Found]:
    """`width` hypotheses a sentence, in the order of their places, each ended by eos or the limit (see `Strategy`).

    At the limit the model may still end a sentence: it is finished if eos is then picked, else truncated. With a limit
    of 0 there is one possible answer: empty, scored with its eos, truncated only if eos is impossible.
    """
    check_limits(limits)
    if any(conditions.required):
        raise UsageError("required phrases need a beam to share out", fix="use beam search with a beam of 2 or more")
    if width > 1 and len(limits):
        state = state.select(torch.arange(len(limits), device=limits.device)[:, None].expand(-1, width))
    walking = _Walk(limits, vocabulary, conditions, width, pick, ranking)
    while len(walking.table.sentence):
        logits, state = step(walking.table.last.flatten(), state)
        walking.table.look(state.looked)
        rows = walking.advance(logits)
        if 0 < rows.numel() < len(logits):
            state = state.select(rows)
    return walking.results()


class _Walk:
    """One call. A row whose hypothesis has ended goes idle until its sentence leaves."""

    def __init__(
        self, limits: Tensor, vocabulary: Vocabulary, conditions: Conditions, width: int, pick: Pick, ranking: Ranking
    ) -> None:
        self.conditions, self.pick, self.ranking, self.eos = conditions, pick, ranking, vocabulary.eos
        self.forbidden = torch.tensor(vocabulary.forbidden, dtype=torch.int64, device=limits.device)
        self.table = Table(limits, width, vocabulary, conditions)
        self.log_softmax = LogSoftmax()
        self.places = torch.arange(width, device=limits.device)
        self.found: list[list[Hypothesis | None]] = [[None] * width for _ in range(len(limits))]
        self.margin = self.table.total.new_full((len(limits),), torch.inf)

    def advance(self, logits: Float[Tensor, "R V"]) -> Int[Tensor, "A W"]:
        """From logits to the table after them; returns the rows that go on."""
        table, shape = self.table, self.table.total.shape
        values = forbid(self.log_softmax(logits), self.forbidden)
        filtered = self.conditions.filter(values, table.moment) if self.conditions.filters else values
        token, lead = (each.view(shape) for each in self.pick(filtered, table.moment))
        token = torch.where(table.limit[:, None] == 0, self.eos, token)
        value = filtered.view(*shape, -1).gather(2, token[:, :, None])[:, :, 0]
        self.margin[table.sentence] = torch.fmin(
            self.margin[table.sentence], torch.where(table.total == 0, lead, torch.inf).amin(1)
        )
        if self.conditions.observer:
            self._tell(values, filtered, token, value)
        is_live = table.total > -torch.inf
        ends = is_live & (token == self.eos) & (value > -torch.inf)
        cut = is_live & ~ends & ((table.limit == table.length)[:, None] | (value == -torch.inf))
        if bool((ends | cut).any()):
            self._harvest(ends, values[:, self.eos])
            self._harvest(cut, None)
        rows = table.extend(self.places.expand(shape), token, table.total.masked_fill(ends | cut, -torch.inf), values)
        going_on = (table.total > -torch.inf).any(1)
        if not bool(going_on.all()):
            rows = rows[table.keep(going_on)]
        return rows

    def results(self) -> list[Found]:
        """Every place's hypothesis."""
        found = ([each for each in row if each is not None] for row in self.found)
        return [Found(hypotheses, margin) for hypotheses, margin in zip(found, self.margin.tolist(), strict=True)]

    def _harvest(self, done: Tensor, eos: Tensor | None) -> None:
        line, place = done.nonzero(as_tuple=True)
        own = None if eos is None else eos[line * done.shape[1] + place]
        harvested = self.table.hypotheses(line, place, self.ranking, own)
        for (sentence, hypothesis), where in zip(harvested, place.tolist(), strict=True):
            self.found[sentence][where] = hypothesis

    def _tell(self, values: Tensor, filtered: Tensor, token: Tensor, value: Tensor) -> None:
        table = self.table
        assert self.conditions.observer
        total = (table.values.sum(-1) + value).masked_fill(table.total == -torch.inf, -torch.inf)
        parent = self.places.expand(token.shape)
        event = (table.length, table.sentence, table.total, values, filtered, parent, token, total)
        self.conditions.observer.step(Event(*event))
