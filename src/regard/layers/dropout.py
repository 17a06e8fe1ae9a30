"""Dropout whose mask is cheap on a CPU.

`torch.nn.functional.dropout` draws one float a value. Here one 64-bit draw serves eight values, a byte each, so the
rate is a multiple of 1/256 (0.1 becomes 26/256), 255/256 at most. The scale uses the rate that is really applied, so
the expectation is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
    threshold = min(round(rate * 256), 255)
    if threshold == 0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, threshold / 256)
    keep = _bytes(x) >= threshold
    return x * keep.to(x.dtype).mul_(256 / (256 - threshold))


def _bytes(x: Tensor) -> Tensor:
    """A random byte for each value, those of the rows that are here if only a part of a batch is."""
    rows = x.shape[0] if x.dim() else 1
    first, total = _PART.get() or (0, rows)
    row = x.numel() // max(1, rows)
    words = torch.empty((total * row + 7) // 8, dtype=torch.int64)
    words.random_(-(2**63), None)  # from the lowest number to the highest: all 64 bits are random
    return words.view(torch.uint8)[first * row : (first + rows) * row].view(x.shape)


class Dropout(nn.Module):
    """`dropout` in training, nothing in evaluation (claim N21)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The same shape."""
        return dropout(x, self.rate) if self.training else x

    def extra_repr(self) -> str:
        """For `print(model)`."""
        return f"rate={self.rate}"
