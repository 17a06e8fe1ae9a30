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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from regard.attention.attend import Attend
from regard.errors import UsageError
from regard.inside.heads import Head, heads
from regard.inside.patterns import PATTERNS, Given, OneHead, Pattern, Taken
from regard.models.interface import EncoderDecoder

Change: TypeAlias = float | str | Tensor | Pattern | Taken
"""What becomes of a head: a number scales its output (0: off); a name of PATTERNS, a `Pattern`, or weights [Q, K] from
the first query and key on replace where it looks; `taken` gives what it did in another run. Queries past the given ones
do what they would."""


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
            stack.enter_context(_scaled(head, change) if isinstance(change, float) else _patched(head, change))
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
    if isinstance(change, Taken):
        return "= as in another answer"
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


def _checked(model: EncoderDecoder, changes: Mapping[str, Change]) -> list[tuple[Head, float | Pattern | Taken]]:
    """Each head once with what becomes of it."""
    there, wanted, seen = heads(model), list[tuple[Head, float | Pattern | Taken]](), set[str]()
    for name, change in changes.items():
        meant = _number(name, change) if isinstance(change, int | float) else _pattern(name, change)
        for head in there.named(name):
            if head.name in seen:
                raise _twice(head.name)
            if isinstance(meant, float) and head.site.output is None:
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


def _pattern(name: str, change: str | Tensor | Pattern | Taken) -> Pattern | Taken:
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
def _patched(head: Head, change: Pattern | Taken) -> Iterator[None]:
    attend: Attend = head.site.attend
    before = attend.patch
    try:
        attend.patch = OneHead(head.number, change, before)
        yield
    finally:
        attend.patch = before
