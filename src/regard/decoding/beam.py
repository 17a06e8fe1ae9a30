"""Beam search: the best `size` hypotheses of each sentence, side by side.

At every step the `size` best continuations of a sentence get its places. One that ends in eos is finished and leaves;
its place is free again at the next step. A sentence leaves when nothing that is alive can still win.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.decoding.choose import Chosen, LogSoftmax, continuations, forbid
from regard.decoding.diverse import diverse
from regard.decoding.interface import (
    FREE,
    Conditions,
    Event,
    Found,
    Hypothesis,
    State,
    Step,
    Vocabulary,
    check_limits,
)
from regard.decoding.ranking import GNMT, Ranking, rank
from regard.decoding.required import Required
from regard.decoding.table import Table
from regard.errors import UsageError


@dataclass(frozen=True)
class Beam:
    """Keeps `size` hypotheses, returns the `n_best` best by `ranking`; fewer where the model allows no more.

    A sentence stops when no live hypothesis can still enter its n-best. The test is exact: log-probabilities only fall,
    no length penalty is larger than the one at the limit, and coverage only takes away.

    At the limit a live hypothesis is finished if its eos beats the best continuation of at least one of `size` live
    ones (for size 1: if eos is its best id), or fewer than `size` are live. Else it is truncated, and ranks after all
    finished ones. With a limit of 0 the empty hypothesis is the only answer: finished, unless eos is impossible.

    `groups` > 1 is diverse beam search (see diverse.py). Required phrases share out the places (see required.py).
    """

    size: int
    n_best: int = 1
    ranking: Ranking = GNMT
    groups: int = 1
    diversity: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"a beam needs a size of 1 or more, got {self.size}", fix="give 1 (greedy) or more")
        if not 1 <= self.n_best <= self.size:
            raise UsageError(
                f"the number of best answers must lie between 1 and the beam size {self.size}, got {self.n_best}",
                fix="ask for fewer answers or widen the beam",
            )
        if self.groups < 1 or self.size % self.groups:
            raise UsageError(
                f"{self.groups} groups cannot share a beam of {self.size} evenly",
                fix="choose a number of groups that divides the beam size",
            )

    def __call__(
        self,
        step: Step,
        state: State,
        limits: Int[Tensor, " B"],
        vocabulary: Vocabulary,
        conditions: Conditions = FREE,
    ) -> list[Found]:
        """Up to `n_best` hypotheses a sentence, the best first (see `Strategy`)."""
        check_limits(limits)
        if self.groups > 1 and any(conditions.required):
            raise UsageError("required phrases and groups both share out the beam", fix="choose one of the two")
        search = _Search(self, limits, vocabulary, conditions)
        while len(search.table.sentence):
            logits, state = step(search.table.last.flatten(), state)
            search.table.look(state.looked)
            rows = search.advance(logits)
            if len(rows) and not _is_identity(rows, len(logits)):
                state = state.select(rows)
        return search.results()


class _Search:
    """One call: the live table, and what is finished."""

    def __init__(self, beam: Beam, limits: Tensor, vocabulary: Vocabulary, conditions: Conditions) -> None:
        self.beam, self.eos, self.conditions = beam, vocabulary.eos, conditions
        self.forbidden = torch.tensor(vocabulary.forbidden, dtype=torch.int64, device=limits.device)
        self.log_softmax = LogSoftmax()
        self.choose = _chooser(beam, vocabulary, conditions)
        self.table = Table(limits, 1, vocabulary, conditions)
        self.found: list[list[Hypothesis]] = [[] for _ in range(len(limits))]
        self.margin = self.table.total.new_full((len(limits),), torch.inf)  # [B]
        self.largest_penalty = beam.ranking.length_penalty(limits.double() + 1)  # [B]
        self.bar = self.table.total.new_full((len(limits),), -torch.inf)  # [B] the n-th best finished score
        self.has_bar = False  # before the first, nobody leaves but at the limit

    def advance(self, logits: Float[Tensor, "R V"]) -> Int[Tensor, "A K"]:
        """From logits to the table after them; returns the rows that its places grow from."""
        table = self.table
        values = forbid(self.log_softmax(logits), self.forbidden)
        filtered = self.conditions.filter(values, table.moment) if self.conditions.filters else values
        parent, token, total, margin = self.choose(filtered, table)
        self._narrow(table.sentence, margin)
        if self.conditions.observer:
            event = (table.length, table.sentence, table.total, values, filtered, parent, token, total)
            self.conditions.observer.step(Event(*event))
        stuck = (table.limit == table.length) | (total[:, 0] == -torch.inf)  # [A]
        ends = (token == self.eos) & (total > -torch.inf) & ~stuck[:, None]  # [A, K]
        is_quiet = not bool(stuck.any() | ends.any())
        if not is_quiet:
            self._close(stuck, filtered, values)
            self._finish(ends, parent, values)
        rows = table.extend(parent, token, total.masked_fill(ends, -torch.inf), values)
        return rows if is_quiet and not self.has_bar else self._leave(stuck, rows)

    def results(self) -> list[Found]:
        """Every sentence's best."""
        ranked = (rank(self._judged(number, each), self.beam.n_best) for number, each in enumerate(self.found))
        return [
            Found(best, min(margin, order)) for (best, order), margin in zip(ranked, self.margin.tolist(), strict=True)
        ]

    def _judged(self, number: int, hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        return Required.judge(hypotheses, self.conditions, number) if self.conditions.required else hypotheses

    def _narrow(self, sentence: Tensor, margin: Tensor) -> None:
        """A decision of these sentences fell by these margins."""
        self.margin[sentence] = torch.fmin(self.margin[sentence], margin)

    def _finish(self, ends: Tensor, parent: Tensor, values: Tensor) -> None:
        """Hypotheses that took eos leave, and raise what the others have to beat."""
        line, place = ends.nonzero(as_tuple=True)
        self._harvest(line, parent[line, place], values[:, self.eos], True)

    def _close(self, stuck: Tensor, filtered: Tensor, values: Tensor) -> None:
        """Sentences at their limit, or without any continuation: every live hypothesis is finished or truncated."""
        if not bool(stuck.any()):
            return
        table, shape = self.table, self.table.total.shape
        top, favourite = filtered.max(dim=1)
        rival = table.total + top.view(shape)  # [A, W] the best total from each place
        total = table.total + filtered[:, self.eos].view(shape)
        is_full = (shape[1] == self.beam.size) & (table.limit > 0)
        bar = torch.where(is_full, rival.amin(dim=1), -torch.inf)[:, None]
        ends = ((total > bar) | (favourite == self.eos).view(shape)) & (total > -torch.inf)
        live = stuck[:, None] & (table.total > -torch.inf)
        self._narrow(table.sentence[stuck], (total - bar)[stuck].abs().nan_to_num(torch.inf).amin(1))
        for done, finished in ((live & ends, True), (live & ~ends, False)):
            line, place = done.nonzero(as_tuple=True)
            self._harvest(line, place, values[:, self.eos], finished)

    def _harvest(self, line: Tensor, place: Tensor, eos: Tensor, finished: bool) -> None:
        """`eos` [R]: its log-probability after each row."""
        table = self.table
        own = eos[line * table.total.shape[1] + place] if finished else None
        harvested = table.hypotheses(line, place, self.beam.ranking, own)
        for sentence, hypothesis in harvested:
            if self.beam.groups == 1 or all(hypothesis.ids != other.ids for other in self.found[sentence]):
                self.found[sentence].append(hypothesis)  # two groups may come to the same
        for sentence in {sentence for sentence, _ in harvested if finished}:
            scores = sorted((each.score for each in self.found[sentence] if each.finished), reverse=True)
            self.bar[sentence] = scores[self.beam.n_best - 1] if len(scores) >= self.beam.n_best else -torch.inf
            self.has_bar = True

    def _leave(self, stuck: Tensor, rows: Tensor) -> Tensor:
        """Sentences that are stuck, or where nothing alive can rise to the n-best, leave. Returns the rows left."""
        table = self.table
        hope = table.values.sum(-1).masked_fill(table.total == -torch.inf, -torch.inf).amax(1)
        bound, bar = hope / self.largest_penalty[table.sentence], self.bar[table.sentence]
        self._narrow(table.sentence, (bound - bar).abs().nan_to_num(torch.inf))
        going_on = ~stuck & (bound > bar)
        if not bool(going_on.all()):
            rows = rows[table.keep(going_on)]
        return rows


Choose = Callable[[Tensor, Table], Chosen]


def _chooser(beam: Beam, vocabulary: Vocabulary, conditions: Conditions) -> Choose:
    """Who gets the places of a sentence."""
    if any(conditions.required):
        return Required(conditions, beam.size, vocabulary.eos)
    if beam.groups > 1:
        return lambda values, table: diverse(values, table.total, beam.size, beam.groups, beam.diversity)
    return lambda values, table: continuations(values, table.total, beam.size)


def _is_identity(rows: Tensor, count: int) -> bool:
    return rows.numel() == count and torch.equal(rows.flatten(), torch.arange(count, device=rows.device))
