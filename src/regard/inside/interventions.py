"""Heads switched off, scaled, or made to look elsewhere, for as long as a `with` lasts.

    with changed(translator, {"encoder.2.5": 0, "cross.1": 0.5, "cross.0.3": "uniform"}):
        print(next(translator.translate(["hello"])).text)

A number scales what a head adds to its layer: the head's columns of the output matrix are multiplied, so every way to
compute the model obeys, the fast engine too. A pattern stands in for where a head looks: its own weights are computed,
then replaced, and the engine, which could not know of that, steps aside. Step by step gives what all at once gives.
Afterwards the model is as before, bit for bit, whatever happened; changes may be nested.

While it lasts, the model is changed for everybody who uses it, in all threads. Answers come when they are asked for, so
ask within the `with`. Modules or matrices that a model uses in several places change in all of them. The names are one
model's: of an ensemble, give the model that shall change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regard.attention.attend import Attend, Patch
from regard.errors import UsageError
from regard.inside.heads import Head, heads
from regard.models.interface import EncoderDecoder

Pattern: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]
"""(a head's own weights [B, Q, K], who may attend [B, Q, K], position of the first query) to weights [B, Q, K].

What is below 0 or may not be attended to is taken out of what it gives, and rows are made to sum to 1; a row that has
nothing left stays the head's own.
"""
Change: TypeAlias = float | str | Tensor | Pattern
"""What becomes of a head: a number scales its output (0: off); a name of PATTERNS, a `Pattern`, or weights [Q, K] from
the first query and key on replace where it looks. Queries past the given ones look where they would."""


@runtime_checkable
class HasModel(Protocol):
    """A `Translator`; `mates` are the other models of an ensemble."""

    model: EncoderDecoder
    mates: Any


@contextmanager
def changed(where: EncoderDecoder | HasModel, changes: Mapping[str, Change]) -> Iterator[None]:
    """The model, or the translator's, with these heads changed; names as in inside/heads.py.

    UsageError, before anything is changed: for an ensemble, an unknown name or pattern, a head that is named twice, a
    scale that is no finite number, weights that are no matrix of numbers from 0 on, or an attention without an output
    matrix that should be scaled.
    """
    wanted = _checked(_model_of(where), changes)
    with ExitStack() as stack:
        for head, change in wanted:
            stack.enter_context(_patched(head, change) if callable(change) else _scaled(head, change))
        yield


def parse(texts: Sequence[str]) -> dict[str, Change]:
    """Of a command line: `encoder.2.5` (off), `encoder.2.5=0.5` (scaled), `cross.1=uniform` (a pattern); several with
    commas. UsageError for another form, or a name given twice."""
    changes: dict[str, Change] = {}
    for text in (each.strip() for given in texts for each in given.split(",")):
        name, equals, value = (each.strip() for each in text.partition("="))
        if name in changes:
            raise _twice(name)
        changes[name] = _value(text, value) if equals else 0.0
    return changes


def describe(changes: Mapping[str, Change]) -> tuple[str, ...]:
    """In words, such as `encoder.2.5 x 0` and `cross.1.3 = uniform`."""
    return tuple(f"{name} {_in_words(change)}" for name, change in changes.items())


def _in_words(change: Change) -> str:
    if isinstance(change, int | float):
        return f"x {change:g}"
    return f"= {change if isinstance(change, str) else 'a given pattern'}"


def _value(text: str, value: str) -> float | str:
    if value in PATTERNS:
        return value
    try:
        return float(value)
    except ValueError:
        fix = f"write a number as in encoder.0.1=0.5, or one of {', '.join(PATTERNS)}"
        raise UsageError(f"wanted a number or a pattern in {text!r}, found {value!r}", fix=fix) from None


def _model_of(where: EncoderDecoder | HasModel) -> EncoderDecoder:
    if isinstance(where, EncoderDecoder):
        return where
    if where.mates is not None:
        fix = "give the one that shall change: changed(translator.model, ...), or one of translator.mates.models"
        raise UsageError("an ensemble has several models, and a head is one model's", fix=fix)
    return where.model


def _checked(model: EncoderDecoder, changes: Mapping[str, Change]) -> list[tuple[Head, float | Pattern]]:
    """Each head once with what becomes of it."""
    there, wanted, seen = heads(model), list[tuple[Head, float | Pattern]](), set[str]()
    for name, change in changes.items():
        meant = _number(name, change) if isinstance(change, int | float) else _pattern(name, change)
        for head in there.named(name):
            if head.name in seen:
                raise _twice(head.name)
            if not callable(meant) and head.site.output is None:
                message = f"{name} cannot be scaled: {head.site.path} has no output matrix with columns for its heads"
                raise UsageError(message, fix="give it a pattern, such as uniform")
            seen.add(head.name)
            wanted.append((head, meant))
    return wanted


def _twice(name: str) -> UsageError:
    return UsageError(f"{name} is named twice", fix="say once what shall become of it")


def _number(name: str, change: float) -> float:
    if not math.isfinite(change):
        raise UsageError(f"wanted a finite number for {name}, found {change}", fix="give 0 to switch it off")
    return float(change)


def _pattern(name: str, change: str | Tensor | Pattern) -> Pattern:
    if isinstance(change, str):
        if change not in PATTERNS:
            raise UsageError(f"wanted one of {', '.join(PATTERNS)} for {name}, found {change!r}", fix="choose one")
        return PATTERNS[change]
    if isinstance(change, Tensor):
        if change.dim() != 2 or not change.is_floating_point() or not bool((change.isfinite() & (change >= 0)).all()):
            message = f"wanted weights [queries, keys] of numbers from 0 on for {name}, found {tuple(change.shape)}"
            raise UsageError(f"{message} of {change.dtype}", fix="give attention weights as a recording has them")
        return Given(change.detach().clone())
    return change


@contextmanager
def _scaled(head: Head, factor: float) -> Iterator[None]:
    """The head's columns of the output matrix times `factor`; afterwards their bits are back."""
    output = head.site.output
    assert output is not None
    size = output.in_features // head.site.heads
    columns = output.weight.detach()[:, head.number * size : (head.number + 1) * size]
    before = columns.clone()
    try:
        with torch.no_grad():
            columns.mul_(factor)
        yield
    finally:
        with torch.no_grad():
            columns.copy_(before)


@contextmanager
def _patched(head: Head, pattern: Pattern) -> Iterator[None]:
    attend: Attend = head.site.attend
    before = attend.patch
    try:
        attend.patch = _OneHead(head.number, pattern, before)
        yield
    finally:
        attend.patch = before


@dataclass(frozen=True, eq=False)
class _OneHead:
    """A `Patch` that changes one head and leaves the others to the patch before it."""

    number: int
    pattern: Pattern
    before: Patch | None

    def __call__(self, weights: Tensor, may_attend: Tensor | None, first: int) -> Tensor:
        """Weights [B, H, T, S] with one head's replaced: 0 where nothing may be attended to, rows that sum to 1."""
        weights = weights if self.before is None else self.before(weights, may_attend, first)
        own = weights[:, self.number]
        allowed = (
            own.new_ones(1, dtype=torch.bool)
            if may_attend is None
            else may_attend[:, self.number % may_attend.shape[1]]
        )
        allowed = allowed.expand_as(own)
        wanted = self.pattern(own, allowed, first).to(own).clamp(min=0).masked_fill(~allowed, 0.0)
        total = wanted.sum(-1, keepdim=True)
        rows = torch.where(total > 0, wanted / total.where(total > 0, 1.0), own)
        before, after = weights[:, : self.number], weights[:, self.number + 1 :]
        return torch.cat((before, rows[:, None], after), dim=1)


@dataclass(frozen=True, eq=False)
class Given:
    """A `Pattern` of given weights [Q, K]: for a query and a key past them, nothing."""

    weights: Float[Tensor, "Q K"]

    def __call__(self, own: Tensor, may_attend: Tensor, first: int) -> Tensor:
        """The rows from `first` on, as wide as `own`."""
        rows = self.weights[first : first + own.shape[1], : own.shape[2]].to(own)
        return torch.nn.functional.pad(
            rows, (0, own.shape[2] - rows.shape[1], 0, own.shape[1] - rows.shape[0])
        ).expand_as(own)


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
