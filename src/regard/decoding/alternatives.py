"""Alternatives at a position: what else could stand there, and how each goes on (CTranslate2 calls it so)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.decoding.choose import best
from regard.decoding.interface import FREE, Conditions, Found, Moment, State, Step, Vocabulary
from regard.decoding.ranking import GNMT, Ranking
from regard.decoding.walk import walk
from regard.errors import UsageError


@dataclass(frozen=True)
class Alternatives:
    """The `count` best ids at the `positions` [B] of each sentence, the best first, each continued greedily.

    Before the position all go the same way: where a prefix ends, for one that is forced. Where the model allows fewer
    ids, there are fewer.
    """

    count: int
    positions: Int[Tensor, " B"]
    ranking: Ranking = GNMT

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"wanted 1 alternative or more, got {self.count}", fix="give a larger number")

    def __call__(
        self,
        step: Step,
        state: State,
        limits: Int[Tensor, " B"],
        vocabulary: Vocabulary,
        conditions: Conditions = FREE,
    ) -> list[Found]:
        """`count` hypotheses a sentence, or as many as there are (see `Strategy`)."""
        found = walk(
            step, state, limits, vocabulary, conditions, width=self.count, pick=self._pick, ranking=self.ranking
        )
        return [_that_went_on(each, position) for each, position in zip(found, self.positions.tolist(), strict=True)]

    def _pick(self, values: Float[Tensor, "R V"], moment: Moment) -> tuple[Tensor, Tensor]:
        """The best id; at the position, a place's own: the first, the second, ..."""
        top, ids = best(values, self.count + 1)
        is_here = self.positions[moment.sentence] == moment.history.shape[1]
        place = torch.arange(len(values), device=values.device) % self.count
        chosen = torch.where(is_here, place, 0).clamp(max=ids.shape[1] - 1)[:, None]
        lead = (top[:, :-1] - top[:, 1:]).double().nan_to_num(torch.inf)  # [R, N]: each before the next
        lead = (
            torch.where(is_here, lead.amin(1), lead[:, 0]) if lead.shape[1] else lead.new_full((len(lead),), torch.inf)
        )
        return ids.gather(1, chosen)[:, 0], lead


def _that_went_on(found: Found, position: int) -> Found:
    """Without the hypotheses for which there was no id at the position; one stays in any case."""
    went_on = [each for each in found.hypotheses if each.finished or len(each.ids) > position]
    return replace(found, hypotheses=went_on or found.hypotheses[:1])
