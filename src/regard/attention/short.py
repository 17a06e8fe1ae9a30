"""Attention to few keys in training on a CPU, forward and backward by hand.

`attend_plain` and torch's own derivative of it say what is right. This makes fewer passes over memory: the factor of
the scores is part of the products, heads are laid out once on the way in and once on the way out, and what is added to
forbid a key has no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def attend_by_hand(
    factor: float,
    query: Float[Tensor, "B H T K"],
    key: Float[Tensor, "B H S K"],
    value: Float[Tensor, "B H S W"],
    forbidden: Float[Tensor, "#B #H #T #S"] | None,
) -> Float[Tensor, "B H T W"]:
    """softmax(factor query key^T + forbidden) value; `forbidden` is 0 or -inf. No second derivative."""
    mixed: Tensor = _Attention.apply(query, key, value, forbidden, factor)  # type: ignore[no-untyped-call]
    return mixed


def split_heads(joined: Float[Tensor, "B T M"], parts: int, heads: int) -> tuple[Float[Tensor, "B H T K"], ...]:
    """Several projections side by side to the heads of each, contiguous; the gradient comes back in one piece."""
    split: tuple[Tensor, ...] = _Split.apply(joined, parts, heads)  # type: ignore[no-untyped-call]
    return split


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, forbidden: Tensor | None, factor: float) -> Tensor:
        heads = query.shape[:2]
        query, key, value = (each.flatten(0, 1) for each in (query, key, value))  # [B * H, T or S, K]
        scores = torch.baddbmm(query.new_empty(()), query, key.transpose(1, 2), beta=0, alpha=factor)
        if forbidden is not None:
            scores.view(*heads, *scores.shape[1:]).add_(forbidden)
        weights = scores.softmax(-1)
        ctx.save_for_backward(query, key, value, weights)
        ctx.factor = factor
        return torch.bmm(weights, value).view(*heads, *query.shape[1:-1], value.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_mixed: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        heads, by_mixed = by_mixed.shape[:2], by_mixed.flatten(0, 1)
        by_value = torch.bmm(weights.transpose(1, 2), by_mixed)
        by_weights = torch.bmm(by_mixed, value.transpose(1, 2))
        by_scores = torch._softmax_backward_data(by_weights, weights, -1, weights.dtype)
        nothing = by_scores.new_empty(())
        by_query = torch.baddbmm(nothing, by_scores, key, beta=0, alpha=ctx.factor)
        by_key = torch.baddbmm(nothing, by_scores.transpose(1, 2), query, beta=0, alpha=ctx.factor)
        return *(each.view(*heads, *each.shape[1:]) for each in (by_query, by_key, by_value)), None, None


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, joined: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(True)
        size = joined.shape[2] // (parts * heads)
        split = joined.view(*joined.shape[:2], parts, heads, size).permute(2, 0, 3, 1, 4)  # [P, B, H, T, K]
        return tuple(part.contiguous() for part in split)

    @staticmethod
    def backward(ctx: Any, *by_parts: Tensor) -> tuple[Tensor, None, None]:
        return torch.stack([part.transpose(1, 2) for part in by_parts], dim=2).flatten(2), None, None
