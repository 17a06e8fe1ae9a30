"""Sampling: every id is drawn, from the model's probabilities or a part of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.decoding.interface import FREE, Conditions, Found, Moment, State, Step, Vocabulary
from regard.decoding.ranking import GNMT, Ranking
from regard.decoding.walk import walk
from regard.errors import UsageError

EDGE = 1e-5  # probabilities this near to a cut are looked at on both sides of it


@dataclass(frozen=True)
class Sampling:
    """Draws `samples` hypotheses a sentence, in the order drawn; the first is the same however many are asked for.

    At each step: log-probabilities over `temperature`, then `top_k` (0: all), `top_p` (Holtzman et al. 2020) and
    `min_p` (Nguyen et al. 2024: at least that share of the best one's probability) leave what may be drawn. The draws
    come from `seed` and the sentence's key in the conditions alone, so neither batch mates nor order change them.
    Reported log-probabilities are the model's own.

    An id is drawn as the greatest of log-probability + Gumbel noise, which draws from the softmax (Gumbel 1954): how
    far the winner is ahead then tells, as in every other search, how safe the decision is from rounding.
    """

    samples: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 1
    ranking: Ranking = GNMT

    def __post_init__(self) -> None:
        wanted = (
            ("samples", self.samples, self.samples >= 1, "1 or more"),
            ("temperature", self.temperature, 0 < self.temperature < math.inf, "more than 0"),
            ("top_k", self.top_k, self.top_k >= 0, "0 (all) or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "more than 0, at most 1"),
            ("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1"),
        )
        for name, value, is_right, range_ in wanted:
            if not is_right:
                raise UsageError(f"{name} must be {range_}, got {value}", fix="give a number in that range")

    def __call__(
        self,
        step: Step,
        state: State,
        limits: Int[Tensor, " B"],
        vocabulary: Vocabulary,
        conditions: Conditions = FREE,
    ) -> list[Found]:
        """`samples` hypotheses a sentence (see `Strategy`)."""
        keys = conditions.keys or range(len(limits))
        draws = [[_generator(self.seed, key, place) for place in range(self.samples)] for key in keys]

        def pick(values: Float[Tensor, "R V"], moment: Moment) -> tuple[Tensor, Tensor]:
            generators = [draws[sentence] for sentence in moment.sentence[:: self.samples].tolist()]
            noise = torch.stack([_gumbel(values.shape[1], each) for row in generators for each in row])
            return self._draw(values.double(), noise.to(values.device))

        return walk(step, state, limits, vocabulary, conditions, width=self.samples, pick=pick, ranking=self.ranking)

    def _draw(self, values: Float[Tensor, "R V"], noise: Float[Tensor, "R V"]) -> tuple[Tensor, Tensor]:
        """The ids drawn [R], and their lead [R] over all that was, or was nearly, allowed."""
        values = (values / self.temperature).log_softmax(-1).nan_to_num(-torch.inf, neginf=-torch.inf)
        allowed = self._allowed(values, 0.0)
        surely, perhaps = self._allowed(values, -EDGE), self._allowed(values, EDGE)
        drawn = values + noise
        winner, ids = drawn.masked_fill(~allowed, -torch.inf).max(-1)
        rival = drawn.masked_fill(~perhaps, -torch.inf).scatter(1, ids[:, None], -torch.inf).amax(-1)
        lead = ((winner - rival) * self.temperature).nan_to_num(torch.inf)
        return ids, torch.where(surely.gather(1, ids[:, None])[:, 0], lead, 0.0)

    def _allowed(self, values: Float[Tensor, "R V"], slack: float) -> Tensor:
        """What `top_k`, `top_p` and `min_p` leave, if each were wider by `slack`; always the best id."""
        best = values.amax(-1, keepdim=True)
        floor = torch.full_like(best, -torch.inf)
        if 0 < self.top_k < values.shape[1]:
            floor = torch.maximum(floor, values.topk(self.top_k, dim=1).values[:, -1:] - slack)
        if self.top_p < 1:
            ordered = values.sort(-1, descending=True).values
            before = ordered.exp().cumsum(-1) - ordered.exp()  # what the better ones hold together
            inside = before < self.top_p + slack
            floor = torch.maximum(floor, ordered.masked_fill(~inside, torch.inf).amin(-1, keepdim=True))
        if self.min_p > 0:
            floor = torch.maximum(floor, best + math.log(self.min_p) - slack)
        return values >= torch.minimum(floor, best)


def _generator(seed: int, key: int, place: int) -> torch.Generator:
    """Its numbers depend on all three and are as good as independent."""
    return torch.Generator().manual_seed(hash((seed, key, place)) % 2**63)


def _gumbel(count: int, generator: torch.Generator) -> Tensor:
    """-log(-log(u)) of uniform numbers; the same for the same generator, whatever else runs."""
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    return -(-uniform.clamp_min(1e-300).log()).log()
