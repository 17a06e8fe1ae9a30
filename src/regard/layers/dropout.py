"""Dropout whose mask is cheap on a CPU.

`torch.nn.functional.dropout` draws one float a value. Here one 64-bit draw serves eight values, a byte each, so the
rate is a multiple of 1/256 (0.1 becomes 26/256), 255/256 at most. The scale uses the rate that is really applied, so
the expectation is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# (first row, rows of the whole batch) while only some rows of a batch are computed
_PART: ContextVar[tuple[int, int] | None] = ContextVar("part", default=None)


@contextmanager
def part_of_batch(first: int, total: int) -> Iterator[None]:
    """Inside, tensors hold the rows of a batch of `total` from `first` on, and get the masks they have in the whole.

    So a batch that is computed in pieces, one after another or by several processes, drops what it drops in one piece.
    For that each piece draws the masks of all rows; a CPU draws a row in a small part of the time of computing it.
    """
    token = _PART.set((first, total))
    try:
        yield
    finally:
        _PART.reset(token)


def dropout(x: Float[Tensor, "*shape"], rate: float) -> Float[Tensor, "*shape"]:
    """Zeroes each value with probability `rate` and scales the others by 1 / (1 - rate)."""
    threshold = _threshold(rate)
    if threshold == 0:
        return x
    if not _ours(x):
        return functional.dropout(x, threshold / 256)
    dropped: Tensor = _Dropout.apply(x, None, threshold)  # type: ignore[no-untyped-call]
    return dropped


def add_dropped(x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"], rate: float) -> Float[Tensor, "*shape"]:
    """x + dropout(y), the same numbers in one pass less."""
    threshold = _threshold(rate)
    if threshold == 0 or not _ours(y) or x.dtype != y.dtype:
        return x + dropout(y, rate)
    total: Tensor = _Dropout.apply(y, x, threshold)  # type: ignore[no-untyped-call]
    return total


class _Dropout(torch.autograd.Function):
    """Keeps the bytes for the backward pass, a quarter of what a mask of floats takes; making one again is cheap.

    A comparison that writes floats is several times as fast as one that writes booleans, and their conversion.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor | None, threshold: int) -> Tensor:
        drawn = _bytes(x)
        ctx.save_for_backward(drawn)
        ctx.threshold = threshold
        kept = torch.ge(drawn, threshold, out=torch.empty_like(x))
        scale = 256 / (256 - threshold)
        return kept.mul_(x).mul_(scale) if other is None else torch.addcmul(other, x, kept, value=scale, out=kept)

    @staticmethod
    def backward(ctx: Any, by_output: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (drawn,) = ctx.saved_tensors
        kept = torch.ge(drawn, ctx.threshold, out=torch.empty_like(by_output, requires_grad=False))
        # Not in place: a derivative of this one may be asked for, and it is linear in by_output.
        by_x = (by_output * kept).mul_(256 / (256 - ctx.threshold))
        return by_x, by_output if ctx.needs_input_grad[1] else None, None


def _bytes(x: Tensor) -> Tensor:
    """A random byte for each value, those of the rows that are here if only a part of a batch is."""
    rows = x.shape[0] if x.dim() else 1
    first, total = _PART.get() or (0, rows)
    row = x.numel() // max(1, rows)
    words = torch.empty((total * row + 7) // 8, dtype=torch.int64)
    words.random_(-(2**63), None)  # from the lowest number to the highest: all 64 bits are random
    drawn = words.view(torch.uint8)[first * row : (first + rows) * row].view(x.shape)
    return drawn if rows == total else drawn.clone()  # kept until the backward pass: not the rows of others as well


def _threshold(rate: float) -> int:
    """Of the 256 values of a byte, how many drop a number."""
    return min(round(rate * 256), 255)


def _ours(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class Dropout(nn.Module):
    """`dropout` in training, nothing in evaluation (claim N21)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The same shape."""
        return dropout(x, self.rate) if self.training else x

    def add(self, x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """x + what `forward` makes of y."""
        return add_dropped(x, y, self.rate) if self.training else x + y

    def extra_repr(self) -> str:
        """For `print(model)`."""
        return f"rate={self.rate}"
