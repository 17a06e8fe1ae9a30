"""score -> mask -> softmax -> mix: the one place where attention happens.

Three ways to the same numbers; tests hold them together:

- the plain path materialises the weights and returns them: it defines what is right;
- short keys on a CPU are faster by two products and a bias than by the fused kernel;
- the fused kernel (`scaled_dot_product_attention`) for long keys and for accelerators: memory linear in the length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.masks import causal_mask, masked_softmax
from regard.attention.scores import Score
from regard.attention.short import attend_by_hand
from regard.layers.dropout import dropout

SHORT = 256  # keys; below this the fused CPU kernel loses to plain products

Patch: TypeAlias = Callable[[Tensor, Tensor, Tensor | None, int], tuple[Tensor, Tensor]]
"""(weights [B, H, T, S], values [B, H, S, W], who may attend, position of the first query) to (mixed [B, H, T, W],
weights) instead."""


class Attend(nn.Module):
    """The weighted mean of values, the weights from queries and keys. No parameters but those of its score.

    `plain = True` makes it return the weights as well; `attention.record` sets that on one instance and takes it back.
    `patch` gives something else in the place of what it computes, without dropout of weights; `inside.interventions`
    sets it and takes it back.
    """

    def __init__(self, score: Score, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.score = score
        self.weight_dropout = weight_dropout
        self.plain = False
        self.patch: Patch | None = None

    def forward(
        self,
        query: Float[Tensor, "B H T K"],
        key: Float[Tensor, "B H S K"],
        value: Float[Tensor, "B H S W"],
        may_attend: Bool[Tensor, "#B #H #T #S"] | None = None,
        is_causal: bool = False,
        bias: Float[Tensor, "#B #H T S"] | None = None,
        first: int = 0,
    ) -> tuple[Float[Tensor, "B H T W"], Float[Tensor, "B H T S"] | None]:
        """(mixed, weights): the weights are None unless `plain` or `patch` is set or the score leaves no other path.

        `is_causal` forbids looking ahead, in addition to what `may_attend` forbids. `bias` is added to the scores.
        `first` is the position of the first query, for `patch`.
        """
        drop = self.weight_dropout if self.training else 0.0
        if self.patch is not None:
            _, weights = attend_plain(self.score, query, key, value, may_attend, is_causal, 0.0, bias)
            return self.patch(weights, value, _join(may_attend, is_causal, query, key), first)
        if self.plain or self.score.factor is None:
            return attend_plain(self.score, query, key, value, may_attend, is_causal, drop, bias)
        if query.device.type == "cpu" and (key.shape[-2] <= SHORT or drop):
            return attend_short(self.score.factor, query, key, value, may_attend, is_causal, drop, bias), None
        return attend_fused(self.score.factor, query, key, value, may_attend, is_causal, drop, bias), None


def attend_plain(
    score: Score,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    may_attend: Tensor | None,
    is_causal: bool = False,
    drop: float = 0.0,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention as the papers write it; returns (mixed [B, H, T, W], weights [B, H, T, S])."""
    scores = score(query, key) if bias is None else score(query, key) + bias
    weights = masked_softmax(scores, _join(may_attend, is_causal, query, key))
    return dropout(weights, drop) @ value, weights


def attend_short(
    factor: float,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    may_attend: Tensor | None,
    is_causal: bool = False,
    drop: float = 0.0,
    bias: Tensor | None = None,
) -> Tensor:
    """The same with one addition to the scores in place of two selections; returns mixed [B, H, T, W]."""
    allowed = _join(may_attend, is_causal, query, key)
    forbidden = sees_something = None
    if allowed is not None and not bool(allowed.all()):
        # The mask has no head axis, so adding it and the look for empty rows are small beside the scores. An empty row
        # is not forbidden anything: a row of -inf has no softmax.
        sees_something = allowed.any(-1, keepdim=True)
        forbidden = torch.zeros(allowed.shape, dtype=query.dtype).masked_fill_(~allowed & sees_something, -torch.inf)
    if torch.is_grad_enabled() and drop == 0 and bias is None and not torch.compiler.is_compiling():
        mixed = attend_by_hand(factor, query, key, value, forbidden)
    else:
        scores = (query * factor) @ key.transpose(-2, -1)
        scores = scores if bias is None else scores + bias
        scores = scores if forbidden is None else scores.add_(forbidden)
        mixed = dropout(scores.softmax(-1), drop) @ value
    return mixed if sees_something is None or bool(sees_something.all()) else mixed * sees_something


def attend_fused(
    factor: float,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    may_attend: Tensor | None,
    is_causal: bool = False,
    drop: float = 0.0,
    bias: Tensor | None = None,
) -> Tensor:
    """The same by the fused kernel; returns mixed [B, H, T, W]."""
    if may_attend is not None or bias is not None:
        may_attend, is_causal = _join(may_attend, is_causal, query, key), False
    elif is_causal and query.shape[-2] != key.shape[-2]:  # the kernel aligns the first query with the first key
        may_attend, is_causal = _join(None, True, query, key), False
    mask = may_attend
    if bias is not None:
        mask = bias if may_attend is None else bias.masked_fill(~may_attend, torch.finfo(bias.dtype).min)
    mixed = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=drop, is_causal=is_causal, scale=factor
    )
    # Some kernels average the values in a row that may attend to nothing; ours gives 0.
    return mixed if may_attend is None else mixed.masked_fill(~may_attend.any(-1, keepdim=True), 0.0)


def _join(may_attend: Tensor | None, is_causal: bool, query: Tensor, key: Tensor) -> Tensor | None:
    """Both masks in one, without a head axis larger than the mask's own."""
    if not is_causal:
        return may_attend
    causal = causal_mask(query.shape[-2], key.shape[-2], query.device)
    return causal if may_attend is None else causal & may_attend
