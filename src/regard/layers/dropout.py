"""Dropout whose mask is cheap on a CPU.

`torch.nn.functional.dropout` draws one float a value. Here one 64-bit draw serves eight values, a byte each, so the
rate is a multiple of 1/256 (0.1 becomes 26/256), 255/256 at most. The scale uses the rate that is really applied, so
the expectation is exact.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def dropout(x: Float[Tensor, "*shape"], rate: float) -> Float[Tensor, "*shape"]:
    """Zeroes each value with probability `rate` and scales the others by 1 / (1 - rate)."""
    threshold = min(round(rate * 256), 255)
    if threshold == 0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, threshold / 256)
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64)
    words.random_(-(2**63), None)  # from the lowest number to the highest: all 64 bits are random
    keep = words.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
    return x * keep.to(x.dtype).mul_(256 / (256 - threshold))


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
