"""What may come next: each filter one idea, pure, written once for every strategy.

To add one: write a `Filter` (interface.py) and build it in translator/conditions.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.decoding.interface import Moment, Phrase

NOTHING = -1  # where a sentence's prefix has ended


@dataclass(frozen=True)
class MinimumLength:
    """No eos before `lengths` [B] ids."""

    lengths: Int[Tensor, " B"]
    eos: int

    def __call__(self, values: Float[Tensor, "R V"], moment: Moment) -> Float[Tensor, "R V"]:
        """eos forbidden in the rows that are too short."""
        is_short = self.lengths[moment.sentence] > moment.history.shape[1]
        eos = values[:, self.eos].masked_fill(is_short, -torch.inf)
        return values.index_copy(1, torch.tensor([self.eos], device=values.device), eos[:, None])


@dataclass(frozen=True)
class ForcedPrefix:
    """Answers begin with `prefix` [B, P], filled up with NOTHING. The ids keep the model's probability."""

    prefix: Int[Tensor, "B P"]

    def __call__(self, values: Float[Tensor, "R V"], moment: Moment) -> Float[Tensor, "R V"]:
        """All but the prefix's next id forbidden."""
        wanted = _next(self.prefix, moment)
        if wanted is None:
            return values
        forbidden = torch.ones_like(values, dtype=torch.bool).scatter(1, wanted.clamp(min=0)[:, None], False)
        return values.masked_fill(forbidden & (wanted != NOTHING)[:, None], -torch.inf)


@dataclass(frozen=True)
class BiasedPrefix:
    """Answers that begin like `prefix` [B, P] are made likelier (CTranslate2: biased decoding).

    p becomes (1 - strength) p, + strength for the prefix's next id, as long as a hypothesis keeps to the prefix.
    """

    prefix: Int[Tensor, "B P"]
    strength: float

    def __call__(self, values: Float[Tensor, "R V"], moment: Moment) -> Float[Tensor, "R V"]:
        """Biased log-probabilities."""
        wanted = _next(self.prefix, moment)
        if wanted is None:
            return values
        so_far = self.prefix[moment.sentence, : moment.history.shape[1]]
        keeps_to_it = (wanted != NOTHING) & (so_far == moment.history).all(1)
        biased = values + math.log1p(-self.strength)
        column = wanted.clamp(min=0)[:, None]
        own = torch.logaddexp(
            biased.gather(1, column), torch.full_like(column, math.log(self.strength), dtype=values.dtype)
        )
        return torch.where(keeps_to_it[:, None], biased.scatter(1, column, own), values)


@dataclass(frozen=True)
class NoRepeat:
    """No sequence of `size` ids twice in an answer (Paulus et al. 2018)."""

    size: int

    def __call__(self, values: Float[Tensor, "R V"], moment: Moment) -> Float[Tensor, "R V"]:
        """What would complete a sequence that stands there already is forbidden."""
        history, before = moment.history, self.size - 1
        if history.shape[1] < self.size:
            return values
        windows = history.unfold(1, self.size, 1)  # [R, N, size]
        tail = history[:, history.shape[1] - before :]
        row, window = (windows[:, :, :before] == tail[:, None]).all(2).nonzero(as_tuple=True)
        return values.index_put((row, windows[row, window, -1]), values.new_tensor(-torch.inf))


class Forbidden:
    """No answer of a sentence holds one of its phrases; `phrases` has a list for each sentence.

    `continuing` are the ids that go on with a word: a phrase that one of them follows is another word, and allowed. On
    `device` the search computes.
    """

    def __init__(
        self,
        phrases: Sequence[Sequence[Phrase]],
        continuing: frozenset[int] = frozenset(),
        device: torch.device | None = None,
    ) -> None:
        self.continuing = torch.tensor(sorted(continuing), dtype=torch.int64, device=device)
        self.sentences = {
            phrase: torch.tensor([phrase in own for own in phrases], device=device)
            for phrase in dict.fromkeys(chain(*phrases))
        }

    def __call__(self, values: Float[Tensor, "R V"], moment: Moment) -> Float[Tensor, "R V"]:
        """The last id of a phrase is forbidden after the others; or, after all of it, whatever ends the word."""
        values = values.clone()
        for phrase, sentences in self.sentences.items():
            stands = phrase if len(self.continuing) else phrase[:-1]
            rows = _ends_in(moment.history, stands) & sentences[moment.sentence]
            if not len(self.continuing):
                values[rows, phrase[-1]] = -torch.inf
            elif bool(rows.any()):
                going_on = values[rows][:, self.continuing]
                values[rows] = -torch.inf
                values[rows] = values[rows].index_copy(1, self.continuing, going_on)
        return values


def _ends_in(history: Tensor, phrase: Phrase) -> Tensor:
    """Which rows [R] end in the phrase."""
    if len(phrase) > history.shape[1]:
        return history.new_zeros(len(history), dtype=torch.bool)
    tail = history[:, history.shape[1] - len(phrase) :]
    return (tail == torch.tensor(phrase, dtype=torch.int64, device=history.device)).all(1)


def _next(prefix: Tensor, moment: Moment) -> Tensor | None:
    """The prefix's next id for each row, or NOTHING; None where all prefixes have ended."""
    length = moment.history.shape[1]
    return prefix[moment.sentence, length] if length < prefix.shape[1] else None
