"""Greedy search: the best next id at every step."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from regard.decoding.choose import best
from regard.decoding.interface import FREE, Conditions, Found, Moment, State, Step, Vocabulary
from regard.decoding.ranking import GNMT, Ranking
from regard.decoding.walk import walk


@dataclass(frozen=True)
class Greedy:
    """Takes the best id until eos or the limit; of equals, the lower id. The same answers as `Beam(1)`.

    There is nothing to rank: `ranking` only puts the reported score on the scale of a beam with that ranking.
    """

    ranking: Ranking = GNMT

    def __call__(
        self,
        step: Step,
        state: State,
        limits: Int[Tensor, " B"],
        vocabulary: Vocabulary,
        conditions: Conditions = FREE,
    ) -> list[Found]:
        """One hypothesis a sentence (see `Strategy`)."""
        return walk(step, state, limits, vocabulary, conditions, width=1, pick=_pick, ranking=self.ranking)


def _pick(values: Float[Tensor, "R V"], moment: Moment) -> tuple[Tensor, Tensor]:
    top, ids = best(values, 2)
    return ids[:, 0], (top[:, 0] - top[:, -1]).double()
