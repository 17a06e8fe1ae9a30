"""The hypotheses that are still alive: a table [A, W] of A sentences with W places each, and what each place holds."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regard.decoding.interface import Conditions, Hypothesis, Moment, Vocabulary
from regard.decoding.ranking import Ranking


class Table:
    """One search's bookkeeping. A place whose total is -inf is empty: its row goes on, and nothing comes of it.

    `sentence` [A] is which sentence of the call a line is; `limit` [A]; `last` [A, W] ids; `total` [A, W] what the
    search ranks by; `history` [A, W, T] ids and `values` [A, W, T] the model's log-probabilities of them; `covered`
    [A, W, S] and `attended` [A, W, T] only if the state watches.
    """

    def __init__(self, limits: Int[Tensor, " B"], width: int, vocabulary: Vocabulary, conditions: Conditions) -> None:
        count, device = len(limits), limits.device
        self.eos, self.source_lengths = vocabulary.eos, conditions.source_lengths
        self.sentence, self.limit = torch.arange(count, device=device), limits
        self.last = torch.full((count, width), vocabulary.bos, dtype=torch.int64, device=device)
        self.total = torch.zeros(count, width, dtype=torch.float64, device=device)
        self.history = self.last.new_empty(count, width, 0)
        self.values = self.total.new_empty(count, width, 0)
        self.covered: Tensor | None = None
        self.attended: Tensor | None = None

    @property
    def length(self) -> int:
        """How many ids every hypothesis has."""
        return self.history.shape[2]

    @property
    def moment(self) -> Moment:
        """The table as rows, for filters."""
        width = self.total.shape[1]
        return Moment(self.history.flatten(0, 1), self.sentence.repeat_interleave(width))

    def look(self, looked: Float[Tensor, "R S"] | None) -> None:
        """Takes in what the step that has just been made looked at: where the id it leads to comes from."""
        if looked is None:
            return
        looked = looked.view(*self.last.shape, -1)
        self.covered = looked.double() if self.covered is None else self.covered + looked
        most = looked.argmax(-1, keepdim=True)
        self.attended = most if self.attended is None else torch.cat((self.attended, most), dim=2)

    def extend(
        self,
        parent: Int[Tensor, "A K"],
        token: Int[Tensor, "A K"],
        total: Float[Tensor, "A K"],
        values: Float[Tensor, "R V"],
    ) -> Int[Tensor, "A K"]:
        """Every line gets K new places, grown from `parent` places. Returns the rows they come from."""
        rows = parent + torch.arange(len(parent), device=parent.device)[:, None] * self.last.shape[1]
        gained = values[rows, token].double()
        self.history = torch.cat((self.history.flatten(0, 1)[rows], token[:, :, None]), dim=2)
        self.values = torch.cat((self.values.flatten(0, 1)[rows], gained[:, :, None]), dim=2)
        if self.covered is not None and self.attended is not None:
            self.covered = self.covered.flatten(0, 1)[rows]
            self.attended = self.attended.flatten(0, 1)[rows]
        self.last, self.total = token, total
        return rows

    def keep(self, going_on: Bool[Tensor, " A"]) -> Int[Tensor, " A2"]:
        """The other sentences leave, and the last lines take the places of theirs. Returns each line's old place.

        So a state that goes along moves at most one sentence for each that leaves.
        """
        staying = going_on.nonzero().view(-1)
        order = torch.arange(len(staying), device=going_on.device)
        order[~going_on[: len(order)]] = staying[staying >= len(order)]
        for name in ("sentence", "limit", "last", "total", "history", "values", "covered", "attended"):
            column = getattr(self, name)
            if column is not None:
                setattr(self, name, column[order])
        return order

    def hypotheses(
        self, line: Int[Tensor, " N"], place: Int[Tensor, " N"], ranking: Ranking, eos: Float[Tensor, " N"] | None
    ) -> list[tuple[int, Hypothesis]]:
        """(sentence, hypothesis) of the given places, finished by an eos of these log-probabilities, or cut (None)."""
        values = self.values[line, place]
        if eos is not None:
            values = torch.cat((values, eos.double()[:, None]), dim=1)
        total, length = values.sum(1), max(values.shape[1], 1)
        penalty = ranking.length_penalty(float(length))
        coverage = self._coverage(line, place, ranking)
        ids, attended = self.history[line, place].tolist(), self._attended(line, place)
        columns = zip(
            self.sentence[line].tolist(), ids, values.tolist(), total.tolist(), coverage, attended, strict=True
        )
        return [
            (sentence, Hypothesis(ids, each, sum_, sum_ / penalty + more, penalty, more, eos is not None, True, where))
            for sentence, ids, each, sum_, more, where in columns
        ]

    def _coverage(self, line: Tensor, place: Tensor, ranking: Ranking) -> list[float]:
        if self.covered is None or self.source_lengths is None or not ranking.coverage:
            return [0.0] * len(line)
        covered = self.covered[line, place]
        padding = (
            torch.arange(covered.shape[1], device=line.device) >= self.source_lengths[self.sentence[line]][:, None]
        )
        return ranking.coverage_penalty(covered.masked_fill(padding, 1.0)).tolist()

    def _attended(self, line: Tensor, place: Tensor) -> list[list[int]] | list[None]:
        """Without the source position of the eos."""
        if self.attended is None:
            return [None] * len(line)
        return self.attended[line, place, : self.length].tolist()
