"""Several attentions side by side, each on its own slice of the features."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.attention.attend import Attend
from regard.attention.memory import KeyValues
from regard.attention.relative import Relative
from regard.attention.scores import SCORES
from regard.attention.short import split_heads
from regard.errors import RecipeError
from regard.layers.linear import Linear, linear


class MultiHeadAttention(nn.Module):
    """Heads in parallel by reshaping (Vaswani et al. 2017, section 3.2.2): 4 D^2 parameters whatever their number (N7).

    Queries, keys and values may have sizes of their own (values: that of the keys unless given); all are projected to
    `size`, which the heads share out. `relative` says how far keys stand from queries, for self-attention only.
    RecipeError where `size` cannot be shared out evenly (fault E9).
    """

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        query_size: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        score: str = "scaled_dot",
        bias: bool = True,
        weight_dropout: float = 0.0,
        relative: Relative | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or size % heads:
            raise RecipeError(
                f"{heads} heads cannot share {size} features evenly",
                fix=f"choose a number of heads that divides {size}",
            )
        self.heads = heads
        self.query = nn.Linear(query_size or size, size, bias=bias)
        self.key = nn.Linear(key_size or size, size, bias=bias)
        self.value = nn.Linear(value_size or key_size or size, size, bias=bias)
        self.output = Linear(size, size, bias=bias)
        self.attend = Attend(SCORES[score](size // heads), weight_dropout)
        self.relative = relative
        for layer in (self.query, self.key, self.value, self.output):
            initialise(layer)

    def forward(
        self,
        query: Float[Tensor, "B T Q"],
        memory: KeyValues,
        may_attend: Bool[Tensor, "#B #H #T #S"] | None = None,
        is_causal: bool = False,
        first: int = 0,
    ) -> Float[Tensor, "B T D"]:
        """Queries [B, T, Q] against projected keys and values, as `remember` or `KeyValues.append` made them.

        `first` is the position of the first query (for `relative` and `Attend.patch`); the first key stands at 0.
        """
        (split,) = self._project(query, self.query)
        if self.relative is not None:
            split = self.relative.turn(split, first)
        return self._attend(split, memory, may_attend, is_causal, first)

    def all_at_once(
        self, x: Float[Tensor, "B T D"], may_attend: Bool[Tensor, "#B #H #T #T"] | None = None, is_causal: bool = False
    ) -> Float[Tensor, "B T D"]:
        """Self-attention: `forward(x, remember(x), ...)`, with one product for queries, keys and values."""
        query, key, value = self._project(x, self.query, self.key, self.value)
        if self.relative is not None:
            query, key = self.relative.turn(query), self.relative.turn(key)
        return self._attend(query, KeyValues(key, value), may_attend, is_causal, first=0)

    def remember(
        self, key: Float[Tensor, "B S C"], value: Float[Tensor, "B S U"] | None = None, first: int = 0
    ) -> KeyValues:
        """Projected keys and values of positions [B, S, C], the first of them at `first`.

        The values come from the keys unless given.
        """
        if value is None:
            split, values = self._project(key, self.key, self.value)
        else:
            (split,), (values,) = self._project(key, self.key), self._project(value, self.value)
        return KeyValues(split if self.relative is None else self.relative.turn(split, first), values)

    def _attend(
        self, query: Tensor, memory: KeyValues, may_attend: Tensor | None, is_causal: bool, first: int
    ) -> Tensor:
        """From projected queries [B, H, T, K] to the output [B, T, D]."""
        bias = None if self.relative is None else self.relative.bias(query, first, memory.key.shape[2])
        mixed, _ = self.attend(query, memory.key, memory.value, may_attend, is_causal, bias, first)
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]  # [B, H, T, K] -> [B, T, D]

    def _project(self, x: Float[Tensor, "B S D"], *layers: nn.Linear) -> tuple[Tensor, ...]:
        """Each layer's [B, H, S, K]; in training by one product for all."""
        if not self.training:
            return tuple(self._split(layer(x)) for layer in layers)
        biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        weight = torch.cat([layer.weight for layer in layers])
        return split_heads(linear(x, weight, torch.cat(biases) if biases else None), len(layers), self.heads)

    def _split(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B H S K"]:
        return x.reshape(x.shape[0], x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)


def initialise(linear: nn.Linear) -> None:
    """Xavier weights and no bias at first."""
    torch.nn.init.xavier_uniform_(linear.weight)
    if linear.bias is not None:
        torch.nn.init.zeros_(linear.bias)
