"""What each head does, as numbers: how spread its weights are, and how much of them lies on a few fixed places.

    totals = Totals()
    for recording in recordings:                    # one sentence, or a test set: only sums are kept
        totals.add(recording.attentions)
    for head in totals.heads():
        print(head.name, head.entropy, head.previous)

Each measure is a mean over rows (a query of a sentence each), over those rows alone that have such a key: the first
query has no previous one. Positions are counted in each sequence for itself, so in cross attention `same` is the
diagonal: step i to source token i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.inside.result import Attention, Part


@dataclass(frozen=True)
class HeadStatistics:
    """Means over the `rows` of one head; None where no row has such a key (in the decoder nothing sees the next one).

    `entropy` in nats; `spread`, its share of the largest possible, 0: one key has it all, 1: all that may be attended
    to weigh the same; `peak`, the largest weight of a row. The others are the weight on the key before the query's
    place, at it and after it, on the first key (in the decoder the start) and on the last that may be attended to (of
    a source its end, in the decoder the query's own place).
    """

    part: Part
    layer: int
    head: int
    rows: int
    entropy: float | None
    spread: float | None
    peak: float | None
    previous: float | None
    same: float | None
    next: float | None
    first: float | None
    last: float | None

    @property
    def name(self) -> str:
        """Such as `encoder.2.5`."""
        return f"{self.part}.{self.layer}.{self.head}"


class Totals:
    """Sums over rows, from which the means come; sentences may be added one after another."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Part, int], Float[Tensor, "M H"]] = {}
        self._rows: dict[tuple[Part, int], Int[Tensor, "M H"]] = {}

    def add(self, attentions: Sequence[Attention]) -> None:
        """Those of one sentence."""
        for attention in attentions:
            measured = measures(attention)  # [M, H, Q]
            sums, rows = measured.nansum(-1), (~measured.isnan()).sum(-1)
            place = attention.part, attention.layer
            self._sums[place] = self._sums[place] + sums if place in self._sums else sums
            self._rows[place] = self._rows[place] + rows if place in self._rows else rows

    def heads(self) -> tuple[HeadStatistics, ...]:
        """Of every head that was seen, in the order in which they were."""
        return tuple(
            _of_head(part, layer, head, sums[:, head].tolist(), self._rows[part, layer][:, head].tolist())
            for (part, layer), sums in self._sums.items()
            for head in range(sums.shape[1])
        )


def head_statistics(attentions: Sequence[Attention]) -> tuple[HeadStatistics, ...]:
    """Of one answer's heads."""
    totals = Totals()
    totals.add(attentions)
    return totals.heads()


def measures(attention: Attention) -> Float[Tensor, "M H Q"]:
    """Each of MEASURES of each row, float64; NaN where a row has no such key, or no weights at all."""
    weights = attention.weights.double()
    _, queries, keys = weights.shape
    seen = torch.arange(1, queries + 1).clamp(max=keys) if attention.part == "decoder" else torch.tensor([keys])
    measured = torch.stack([measure(weights, seen.expand(queries)) for measure in MEASURES.values()])
    return measured.masked_fill(weights.sum(-1) == 0, torch.nan)


def _entropy(weights: Float[Tensor, "H Q K"], seen: Int[Tensor, " Q"]) -> Float[Tensor, "H Q"]:
    entropy: Tensor = torch.special.entr(weights).sum(-1)
    return entropy


def _spread(weights: Float[Tensor, "H Q K"], seen: Int[Tensor, " Q"]) -> Float[Tensor, "H Q"]:
    """Of a row that may attend to one key alone there is nothing to say: 0 / 0."""
    return _entropy(weights, seen) / seen.double().log()


def _peak(weights: Float[Tensor, "H Q K"], seen: Int[Tensor, " Q"]) -> Float[Tensor, "H Q"]:
    return weights.amax(-1)


def _on(place: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The weight on a key, from each query's place and how many keys it may attend to."""

    def weight(weights: Float[Tensor, "H Q K"], seen: Int[Tensor, " Q"]) -> Float[Tensor, "H Q"]:
        heads, queries, _ = weights.shape
        at = place(torch.arange(queries), seen).expand(queries)
        found = weights.gather(-1, at.clamp(min=0).minimum(seen - 1).expand(heads, queries)[..., None])[..., 0]
        return found.masked_fill((at < 0) | (at >= seen), torch.nan)

    return weight


MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "entropy": _entropy,
    "spread": _spread,
    "peak": _peak,
    "previous": _on(lambda query, seen: query - 1),
    "same": _on(lambda query, seen: query),
    "next": _on(lambda query, seen: query + 1),
    "first": _on(lambda query, seen: torch.zeros_like(query)),
    "last": _on(lambda query, seen: seen - 1),
}


def _of_head(part: Part, layer: int, head: int, sums: list[float], rows: list[int]) -> HeadStatistics:
    entropy, spread, peak, previous, same, following, first, last = (
        total / count if count else None for total, count in zip(sums, rows, strict=True)
    )
    return HeadStatistics(part, layer, head, rows[0], entropy, spread, peak, previous, same, following, first, last)
