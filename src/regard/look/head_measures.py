"""What a head does, by where its weight lies on the average: a few numbers of each head, and a short name from them.

To the means of inside/statistics.py some are added that need the whole sentence: the diagonal of two texts of unequal
lengths and the keys beside it, the same from the other end, and the rarest symbol that a row may attend to (Voita et
al. 2019, section 5).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regard.inside.record import Answered, Recording
from regard.inside.result import Attention, Part
from regard.inside.statistics import Totals
from regard.text.tokenizer import BOS, EOS

MAIN, PARTLY, BROAD = 0.5, 0.25, 0.8  # the least mean weight that names a head, or partly; the least spread of broad
NAMES: dict[Part, dict[str, str]] = {  # in this order, where two are equal
    "encoder": {
        "previous": "previous token",
        "same": "same token",
        "next": "next token",
        "first": "first token",
        "last": "end",
        "reversed": "reversed",
        "rare": "rare symbol",
    },
    "decoder": {"same": "same token", "previous": "previous token", "first": "start", "rare": "rare symbol"},
    "cross": {
        "diagonal": "diagonal",
        "reversed": "reversed",
        "before": "before diagonal",
        "after": "after diagonal",
        "first": "first token",
        "last": "end",
        "rare": "rare symbol",
    },
}


def short_name(part: Part, measured: Mapping[str, float | None]) -> str:
    """Where most of its weight lies, if that is MAIN of it or more; else the first that is true of: broad, near a
    diagonal, partly where PARTLY or more of it lies; else mixed."""
    found = {name: measured[measure] or 0.0 for measure, name in NAMES[part].items()}
    best = max(found, key=lambda name: found[name])
    if found[best] >= MAIN:
        return best
    if (measured["spread"] or 0.0) >= BROAD:
        return "broad"
    beside = {name: measured[f"near_{name}"] or 0.0 for name in ("diagonal", "reversed")} if part == "cross" else {}
    close = max(beside, key=lambda name: beside[name], default="")
    if close and beside[close] >= MAIN:
        return f"near {close}"
    return f"partly {best.split()[0]}" if found[best] >= PARTLY else "mixed"


class Measured:
    """Sums over recorded pairs; `counts`: how often each id stands in the sources and in the targets."""

    def __init__(self, sources: Counter[int], targets: Counter[int]) -> None:
        self.counts: dict[Part, Counter[int]] = {"encoder": sources, "decoder": targets, "cross": sources}
        self.totals = Totals()
        self.sums: dict[str, Float[Tensor, "H M"]] = {}
        self.rows: dict[str, Int[Tensor, " M"]] = {}

    def add(self, recording: Recording) -> None:
        """One more pair."""
        self.totals.add(recording.attentions)
        for attention in recording.attentions:
            sums, rows = self._extra(attention, recording.answered)
            name = attention.name
            self.sums[name] = self.sums[name] + sums if name in self.sums else sums
            self.rows[name] = self.rows[name] + rows if name in self.rows else rows

    def heads(self) -> dict[str, dict[str, float | None]]:
        """By the name of the head: each measure as a mean over rows; None where no row has such a key."""
        return dict(self._heads())

    def _heads(self) -> Iterator[tuple[str, dict[str, float | None]]]:
        for head in self.totals.heads():
            known = {key: value for key, value in asdict(head).items() if key not in {"part", "layer", "head", "rows"}}
            site = f"{head.part}.{head.layer}"
            pairs = zip(EXTRA, self.sums[site][head.head].tolist(), self.rows[site].tolist(), strict=True)
            yield head.name, known | {name: total / count if count else None for name, total, count in pairs}

    def _extra(self, attention: Attention, answered: Answered) -> tuple[Tensor, Tensor]:
        """Sums over rows [H, M] of each of EXTRA, and how many rows have such a key [M]."""
        is_causal = attention.part == "decoder"
        keys = [BOS, *answered.written[:-1]] if is_causal else [*answered.source, EOS]
        weights, queries = attention.weights.double(), attention.weights.shape[1]
        found = [_at(weights, rarest(keys, self.counts[attention.part], queries, is_causal))]
        for places in (diagonal(queries, len(keys)), mirrored(queries, len(keys))):
            # A decoder never sees the whole of what it writes, so nothing in it is a diagonal.
            middle = torch.full_like(places, NOWHERE) if is_causal else places
            before, after = middle - 1, (middle + 1).where((middle >= 0) & (middle + 1 < len(keys)), NOWHERE)
            each = [_at(weights, one) for one in (before.clamp(min=NOWHERE), middle, after)]
            found += [*each, (torch.stack([weight for weight, _ in each]).sum(0), middle != NOWHERE)]
        return torch.stack([row.sum(-1) for row, _ in found], -1), torch.stack([has.sum() for _, has in found])


EXTRA = (
    "rare",
    *("before", "diagonal", "after", "near_diagonal"),
    *("before_reversed", "reversed", "after_reversed", "near_reversed"),
)
NOWHERE = -1


def _at(weights: Float[Tensor, "H Q K"], places: Int[Tensor, " Q"]) -> tuple[Float[Tensor, "H Q"], Bool[Tensor, " Q"]]:
    """The weight of each query on a key of its own, 0 where there is none; which queries have one."""
    has = places != NOWHERE
    found = weights.gather(-1, places.clamp(min=0).expand(len(weights), -1)[..., None])[..., 0]
    return found * has, has


def diagonal(queries: int, keys: int) -> Int[Tensor, " Q"]:
    """Key i * s / t for query i of t, rounded down, and the end for the end; both sequences have an end."""
    return torch.arange(queries) * (keys - 1) // max(1, queries - 1)


def mirrored(queries: int, keys: int) -> Int[Tensor, " Q"]:
    """The same from the last key before the end on backwards; NOWHERE for the end."""
    places = keys - 2 - diagonal(queries, keys)
    return places.where((places >= 0) & (torch.arange(queries) < queries - 1), NOWHERE)


def rarest(keys: Sequence[int], counts: Mapping[int, int], queries: int, is_causal: bool) -> Int[Tensor, " Q"]:
    """For each query the key with the fewest `counts` among those it may attend to, the leftmost of equal ones.

    The start and the end are no symbols. NOWHERE while there are not two symbols to choose from.
    """
    symbols = [place for place, id in enumerate(keys) if id not in {BOS, EOS}]

    def rarer(left: int, right: int) -> int:
        return right if counts[keys[right]] < counts[keys[left]] else left

    best = list(accumulate(symbols, rarer))
    seen = [bisect_right(symbols, query) if is_causal else len(symbols) for query in range(queries)]
    return torch.tensor([best[count - 1] if count > 1 else NOWHERE for count in seen])
