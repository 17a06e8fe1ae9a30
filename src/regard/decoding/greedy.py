"""Greedy search: the best next id at every step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from regard.decoding.choose import forbid, log_probabilities
from regard.decoding.interface import Hypothesis, State, Step, Vocabulary, check_limits
from regard.decoding.ranking import check_alpha, score


@dataclass(frozen=True)
class Greedy:
    """Takes the best id until eos or the limit; of equals, the lower id. The same answers as `Beam(1)`.

    There is nothing to rank: `length_penalty` only puts the reported score on the scale of a beam with that penalty.
    """

    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.length_penalty)

    def __call__(
        self, step: Step, state: State, limits: Int[Tensor, " B"], vocabulary: Vocabulary
    ) -> list[list[Hypothesis]]:
        """One hypothesis a sentence (see `Strategy`).

        At the limit the model may still end the sentence: it is finished if eos is then the best id, else truncated.
        With a limit of 0 there is one possible answer: empty, scored with its eos, truncated only if eos is impossible.
        """
        check_limits(limits)
        forbidden = torch.tensor(vocabulary.forbidden, dtype=torch.int64, device=limits.device)
        numbers = torch.arange(len(limits), device=limits.device)  # [R] which sentence a row is
        last = torch.full_like(numbers, vocabulary.bos)
        history = last.new_empty(len(limits), 0)  # [R, T] the ids so far
        total = torch.zeros(len(limits), dtype=torch.float64, device=limits.device)  # [R]
        found: dict[int, Hypothesis] = {}
        while len(numbers):
            logits, state = step(last, state)
            value, last = _choose(forbid(log_probabilities(logits), forbidden), limits, vocabulary.eos)
            ends = (last == vocabulary.eos) & (value > -torch.inf)
            leaves = ends | (limits == history.shape[1]) | (value == -torch.inf)
            before, total = total, total + value
            if bool(leaves.any()):
                gone = leaves.nonzero().view(-1)
                scored = torch.where(ends, total, before)
                found |= self._harvest(numbers[gone], history[gone], scored[gone], ends[gone])
                stay = (~leaves).nonzero().view(-1)
                numbers, limits, last = numbers[stay], limits[stay], last[stay]
                history, total = history[stay], total[stay]
                if len(stay):
                    state = state.select(stay)
            history = torch.cat((history, last[:, None]), dim=1)
        return [[found[number]] for number in range(len(found))]

    def _harvest(self, numbers: Tensor, history: Tensor, totals: Tensor, ends: Tensor) -> dict[int, Hypothesis]:
        rows = zip(numbers.tolist(), history.tolist(), totals.tolist(), ends.tolist(), strict=True)
        return {
            number: Hypothesis(ids, total, score(total, float(len(ids) + end), self.length_penalty), end)
            for number, ids, total, end in rows
        }


def _choose(log_probabilities: Tensor, limits: Tensor, eos: int) -> tuple[Tensor, Tensor]:
    """The best log-probability [R] and its id [R], the lowest of equals; eos where nothing else fits in."""
    value, chosen = log_probabilities.max(dim=1)
    empty = limits == 0
    return torch.where(empty, log_probabilities[:, eos], value), torch.where(empty, eos, chosen)
