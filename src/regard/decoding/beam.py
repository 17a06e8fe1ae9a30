"""Beam search: the best `size` hypotheses of each sentence, side by side.

At every step the `size` best continuations of a sentence get its places. One that ends in eos is finished and leaves;
its place is free again at the next step. A row of the state is a live hypothesis: whatever finishes, or cannot win any
more, is dropped from the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from regard.decoding.choose import best, forbid, log_probabilities
from regard.decoding.interface import Hypothesis, State, Step, Vocabulary, check_limits
from regard.decoding.ranking import check_alpha, length_penalty, rank, score
from regard.errors import UsageError


@dataclass(frozen=True)
class Beam:
    """Keeps `size` hypotheses, returns the `n_best` best by score (log-probability over GNMT's `length_penalty`).

    A sentence stops when no live hypothesis can still enter its n-best. The test is exact: log-probabilities only fall,
    and no length penalty is larger than the one at the limit. Of equals, the earlier parent wins, then the lower id.

    At the limit a live hypothesis is finished if its eos beats the best continuation of at least one of `size` live
    ones (for size 1: if eos is its best id), or fewer than `size` are live. Else it is truncated, and ranks after all
    finished ones. With a limit of 0 the empty hypothesis is the only answer: finished, unless eos is impossible.

    Fewer than `n_best` come back where the model allows no more.
    """

    size: int
    n_best: int = 1
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"a beam needs a size of 1 or more, got {self.size}", fix="give 1 (greedy) or more")
        if not 1 <= self.n_best <= self.size:
            raise UsageError(
                f"the number of best answers must lie between 1 and the beam size {self.size}, got {self.n_best}",
                fix="ask for fewer answers or widen the beam",
            )
        check_alpha(self.length_penalty)

    def __call__(
        self, step: Step, state: State, limits: Int[Tensor, " B"], vocabulary: Vocabulary
    ) -> list[list[Hypothesis]]:
        """Up to `n_best` hypotheses a sentence, the best first (see `Strategy`)."""
        check_limits(limits)
        forbidden = torch.tensor(vocabulary.forbidden, dtype=torch.int64, device=limits.device)
        search = _Search(self, limits, vocabulary)
        while len(search.cell):
            logits, state = step(search.last, state)
            rows = search.advance(forbid(log_probabilities(logits), forbidden))
            if len(rows) and not _is_identity(rows, len(logits)):
                state = state.select(rows)
        return [rank(hypotheses, self.n_best) for hypotheses in search.found]


class _Candidates(NamedTuple):
    """What may come next: the best `size` of a sentence, and what each live hypothesis would choose alone."""

    total: Tensor  # [A, size] log-probability, the greatest first; -inf where there are fewer
    token: Tensor  # [A, size]
    parent: Tensor  # [A, size] the row it grows from
    rival: Tensor  # [A, size] the best total from each place; -inf where the place is empty
    favourite: Tensor  # [R] the best id of each row


class _Search:
    """One call's bookkeeping: A sentences still searched, R live hypotheses.

    A hypothesis stands in a cell (sentence * size + place) of a table [A, size] that may have holes.
    """

    def __init__(self, beam: Beam, limits: Tensor, vocabulary: Vocabulary) -> None:
        self.beam, self.eos = beam, vocabulary.eos
        self.found: list[list[Hypothesis]] = [[] for _ in range(len(limits))]
        self.number = torch.arange(len(limits), device=limits.device)  # [A] which sentence of the caller's
        self.limit = limits  # [A]
        self.largest_penalty = length_penalty(limits.double() + 1, beam.length_penalty)  # [A]
        self.kept = self.largest_penalty.new_full((len(limits), beam.n_best), -torch.inf)  # [A, n] best finished scores
        self.cell = self.number * beam.size  # [R]
        self.last = torch.full_like(self.number, vocabulary.bos)  # [R]
        self.total = torch.zeros_like(self.largest_penalty)  # [R]
        self.history = self.last.new_empty(len(limits), 0)  # [R, T] the ids so far

    def advance(self, log_probabilities: Tensor) -> Tensor:
        """From log-probabilities [R, V] to the next live hypotheses; returns the row that each one grows from."""
        found = self._choose(log_probabilities)
        total, token, parent = found.total, found.token, found.parent
        stuck = (self.limit == self.history.shape[1]) | (total[:, 0] == -torch.inf)  # [A]
        live = (total > -torch.inf) & ~stuck[:, None]  # [A, size]
        is_eos = token == self.eos
        ends = live & is_eos
        if bool(stuck.any()):
            self._close(stuck, found.rival, found.favourite, log_probabilities[:, self.eos])
        if bool(ends.any()):
            self._finish(ends, total, parent)
        live = live & ~is_eos & (total / self.largest_penalty[:, None] > self.kept[:, -1:])
        return self._move(live, total, token, parent)

    def _choose(self, log_probabilities: Tensor) -> _Candidates:
        size, sentences = self.beam.size, len(self.number)
        values, ids = best(log_probabilities, size)  # [R, k]: no more than `size` can come from one row
        width = values.shape[1]
        table = self.total.new_full((sentences * size, width), -torch.inf)
        table[self.cell] = self.total[:, None] + values
        row = self.cell.new_zeros(sentences * size)
        row[self.cell] = torch.arange(len(self.cell), device=row.device)
        total, where = best(table.view(sentences, size * width), size)  # [A, size]
        parent = row.view(sentences, size).gather(1, where // width)
        token = ids[parent, where % width]
        return _Candidates(total, token, parent, table[:, 0].view(sentences, size), ids[:, 0])

    def _finish(self, ends: Tensor, total: Tensor, parent: Tensor) -> None:
        """Hypotheses that took eos leave, and raise what the others have to beat."""
        self._harvest(ends.nonzero()[:, 0], parent[ends], total[ends], finished=True)
        scores = score(total, float(self.history.shape[1] + 1), self.beam.length_penalty)
        scores = torch.where(ends, scores, -torch.inf)
        self.kept = torch.cat((self.kept, scores), dim=1).topk(self.beam.n_best, dim=1).values

    def _close(self, stuck: Tensor, rival: Tensor, favourite: Tensor, eos: Tensor) -> None:
        """Sentences at their limit, or without any continuation: every live hypothesis is finished or truncated."""
        rows = stuck[self.cell // self.beam.size].nonzero().view(-1)
        sentence = self.cell[rows] // self.beam.size
        total = self.total[rows] + eos[rows]
        bar = torch.where(self.limit == 0, -torch.inf, rival.amin(dim=1))[sentence]
        ends = (total > bar) | ((favourite[rows] == self.eos) & (total > -torch.inf))
        self._harvest(sentence[ends], rows[ends], total[ends], finished=True)
        self._harvest(sentence[~ends], rows[~ends], self.total[rows[~ends]], finished=False)

    def _harvest(self, sentence: Tensor, rows: Tensor, totals: Tensor, finished: bool) -> None:
        length, alpha = float(self.history.shape[1] + finished), self.beam.length_penalty
        hypotheses = zip(self.number[sentence].tolist(), self.history[rows].tolist(), totals.tolist(), strict=True)
        for number, ids, total in hypotheses:
            self.found[number].append(Hypothesis(ids, total, score(total, length, alpha), finished))

    def _move(self, live: Tensor, total: Tensor, token: Tensor, parent: Tensor) -> Tensor:
        """The live places become the rows of the next step; sentences without any leave. Returns the parent rows."""
        going_on = live.any(dim=1)
        if not bool(going_on.all()):
            live, total, token, parent = live[going_on], total[going_on], token[going_on], parent[going_on]
            self.number, self.limit, self.kept = self.number[going_on], self.limit[going_on], self.kept[going_on]
            self.largest_penalty = self.largest_penalty[going_on]
        sentence, place = live.nonzero(as_tuple=True)
        self.cell = sentence * self.beam.size + place
        self.last, self.total = token[sentence, place], total[sentence, place]
        rows = parent[sentence, place]
        self.history = torch.cat((self.history[rows], self.last[:, None]), dim=1)
        return rows


def _is_identity(rows: Tensor, count: int) -> bool:
    return len(rows) == count and torch.equal(rows, torch.arange(count, device=rows.device))
