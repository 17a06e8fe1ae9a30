"""Who may look at whom. True means "may attend", everywhere in this package.

A mask is broadcast against scores [B, H, T, S]: T positions that ask, S positions that are looked at.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def length_mask(lengths: Int[Tensor, "B ..."], size: int) -> Bool[Tensor, "B 1 _ S"]:
    """Positions below a length may be attended.

    `lengths` is [B], one length a sequence, or [B, T], one length for each asking position (claim N4).
    """
    per_query = lengths[:, None, None, None] if lengths.dim() == 1 else lengths[:, None, :, None]
    return torch.arange(size, device=lengths.device) < per_query


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Bool[Tensor, "1 1 T S"]:
    """Position i may attend to positions up to i; the last query stands at the last key."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)[None, None]


def masked_softmax(
    scores: Float[Tensor, "*rows S"], may_attend: Bool[Tensor, "*#rows #S"] | None
) -> Float[Tensor, "*rows S"]:
    """Softmax over the last axis: exactly 0 where attending is forbidden, 1 in sum elsewhere.

    A row that may attend to nothing is all 0. (The notes put -1e6 there: uniform weights on padding, fault E5.)
    """
    if may_attend is None:
        return scores.softmax(-1)
    lowest = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(~may_attend, lowest).softmax(-1)
    return weights.masked_fill(~may_attend, 0.0)
