"""What may stand in for what one head computes: where it looks, or all that it mixed in another run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from regard.attention.attend import Patch
from regard.attention.record import observed
from regard.device import full_float32
from regard.errors import UsageError
from regard.inside.heads import evaluating, heads
from regard.inside.record import Answered
from regard.inside.result import Part
from regard.models.interface import EncoderDecoder

Pattern: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]
"""(a head's own weights [B, Q, K], who may attend [B, Q, K], position of the first query) to weights [B, Q, K].

What is below 0 or may not be attended to is taken out of what it gives, and rows are made to sum to 1; a row that has
nothing left stays the head's own."""


@dataclass(frozen=True, eq=False)
class Taken:
    """What a head did in another run: its weights [Q, K], and what it mixed by them [Q, W]."""

    part: Part
    weights: Float[Tensor, "Q K"]
    mixed: Float[Tensor, "Q W"]

    def put(self, own: Tensor, mixed: Tensor, may_attend: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """(weights [B, T, S], mixed [B, T, W]) for the queries from `first` on; those past the other run's keep theirs.

        UsageError where the source has another length than in the other run.
        """
        if self.part != "decoder":
            self._check(may_attend)
        rows, columns = min(own.shape[1], max(0, len(self.weights) - first)), min(own.shape[2], self.weights.shape[1])
        taken = slice(first, first + rows)
        weights = functional.pad(self.weights[taken, :columns].to(own), (0, own.shape[2] - columns))
        return _above(weights, own), _above(self.mixed[taken].to(mixed), mixed)

    def _check(self, may_attend: Tensor) -> None:
        wanted, lengths = self.weights.shape[1], may_attend.sum(-1)
        if bool((lengths != wanted).any()):
            found = ", ".join(map(str, sorted(set(lengths.flatten().tolist()))))
            raise UsageError(
                f"what was taken comes from a source of {wanted} tokens with its end, this one has {found}",
                fix="take it from a sentence of as many tokens, and ask for sentences of one length",
            )


def taken(model: EncoderDecoder, names: Sequence[str], answered: Answered) -> dict[str, Taken]:
    """What the named heads do on the way to an answer, by the name of each head, as changes of another answer
    (interchange interventions: Geiger et al. 2021, "Causal abstractions of neural networks")."""
    there = heads(model)
    chosen = {head.name: head for name in names for head in there.named(name)}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    device = next(model.parameters()).device

    def see(path: str, weights: Tensor, value: Tensor) -> None:
        seen[path] = weights[0], (weights @ value)[0]  # of a module that runs step by step the last, which has all

    with torch.no_grad(), full_float32(device), evaluating(model), observed(model, see):
        model(answered.sources.to(device), answered.previous.to(device))
    return {
        name: Taken(head.site.part, *(each[head.number].clone() for each in seen[head.site.path]))
        for name, head in chosen.items()
    }


@dataclass(frozen=True, eq=False)
class OneHead:
    """A `Patch` that changes one head and leaves the others to the patch before it."""

    number: int
    change: Pattern | Taken
    before: Patch | None

    def __call__(self, weights: Tensor, value: Tensor, may_attend: Tensor | None, first: int) -> tuple[Tensor, Tensor]:
        """(mixed, weights) with one head's replaced: 0 where nothing may be attended to, rows that sum to 1."""
        if self.before is None:
            mixed = weights @ value
        else:
            mixed, weights = self.before(weights, value, may_attend, first)
        own = weights[:, self.number]
        allowed = _of_head(may_attend, self.number, own)
        if isinstance(self.change, Taken):
            rows, output = self.change.put(own, mixed[:, self.number], allowed, first)
        else:
            rows = _kept_to(allowed, self.change(own, allowed, first).to(own), own)
            output = rows @ value[:, self.number]
        return self._with(mixed, output), self._with(weights, rows)

    def _with(self, all_heads: Tensor, one: Tensor) -> Tensor:
        return torch.cat((all_heads[:, : self.number], one[:, None], all_heads[:, self.number + 1 :]), dim=1)


def _of_head(may_attend: Tensor | None, number: int, own: Float[Tensor, "B Q K"]) -> Bool[Tensor, "B Q K"]:
    """Masks mostly have one head for all."""
    if may_attend is None:
        return torch.ones_like(own, dtype=torch.bool)
    return may_attend[:, number % may_attend.shape[1]].expand_as(own)


def _kept_to(allowed: Bool[Tensor, "B Q K"], wanted: Tensor, own: Tensor) -> Float[Tensor, "B Q K"]:
    """Weights from whatever a pattern gives."""
    wanted = wanted.clamp(min=0).masked_fill(~allowed, 0.0)
    total = wanted.sum(-1, keepdim=True)
    return torch.where(total > 0, wanted / total.where(total > 0, 1.0), own)


def _above(first: Float[Tensor, "R K"], own: Float[Tensor, "B Q K"]) -> Float[Tensor, "B Q K"]:
    """`own` with its first R rows replaced, in every batch row."""
    return torch.cat((first.expand(len(own), -1, -1), own[:, len(first) :]), dim=1)


@dataclass(frozen=True, eq=False)
class Given:
    """A `Pattern` of given weights [Q, K]: for a query and a key past them, nothing."""

    weights: Float[Tensor, "Q K"]

    def __call__(self, own: Tensor, may_attend: Tensor, first: int) -> Tensor:
        """The rows from `first` on, as wide as `own`."""
        rows = self.weights[first : first + own.shape[1], : own.shape[2]].to(own)
        missing = (0, own.shape[2] - rows.shape[1], 0, own.shape[1] - rows.shape[0])
        return functional.pad(rows, missing).expand_as(own)


def _uniform(own: Tensor, may_attend: Tensor, first: int) -> Tensor:
    return may_attend.to(own.dtype)


def _first(own: Tensor, may_attend: Tensor, first: int) -> Tensor:
    return _at(torch.zeros(own.shape[1], dtype=torch.int64, device=own.device), own, may_attend)


def _diagonal(own: Tensor, may_attend: Tensor, first: int) -> Tensor:
    return _at(torch.arange(first, first + own.shape[1], device=own.device), own, may_attend)


def _previous(own: Tensor, may_attend: Tensor, first: int) -> Tensor:
    return _at(torch.arange(first - 1, first - 1 + own.shape[1], device=own.device), own, may_attend)


def _at(keys: Tensor, own: Float[Tensor, "B Q K"], may_attend: Bool[Tensor, "B Q K"]) -> Float[Tensor, "B Q K"]:
    """All weight on one key a query, kept within those from the first to the last that may be attended to."""
    places = torch.arange(own.shape[2], device=own.device)
    last = (places * may_attend).amax(-1)  # [B, Q]
    keys = keys.clamp(min=0).minimum(last)
    return torch.zeros_like(own).scatter_(-1, keys[..., None], 1.0)


PATTERNS: dict[str, Pattern] = {
    "uniform": _uniform,  # all that may be attended to, alike
    "previous": _previous,  # query i looks at key i - 1, the first query at key 0
    "diagonal": _diagonal,  # query i looks at key i; at the last one where there are fewer keys
    "first": _first,  # key 0
}
