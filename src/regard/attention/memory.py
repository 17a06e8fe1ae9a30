"""Keys and values kept over steps, so that a step costs one query and not the whole prefix (faults E1-E3).

A value goes in and a new value comes out; nothing is remembered by a module.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class KeyValues:
    """Keys [B, H, S, K] and values [B, H, S, W] of the positions seen so far."""

    key: Float[Tensor, "B H S K"]
    value: Float[Tensor, "B H S W"]

    def append(self, key: Float[Tensor, "B H 1 K"], value: Float[Tensor, "B H 1 W"]) -> KeyValues:
        """With one more position at the end."""
        return KeyValues(torch.cat((self.key, key), dim=2), torch.cat((self.value, value), dim=2))

    def select(self, rows: Int[Tensor, " R"]) -> KeyValues:
        """The given rows of the batch, in the given order, repeats allowed."""
        return KeyValues(self.key.index_select(0, rows), self.value.index_select(0, rows))

    def limit(self, positions: int) -> KeyValues:
        """The last `positions` positions: a window for models that look back a bounded way."""
        start = max(0, self.key.shape[2] - positions)
        return KeyValues(self.key[:, :, start:], self.value[:, :, start:])
