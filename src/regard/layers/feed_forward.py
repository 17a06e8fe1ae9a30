"""The position-wise feed-forward network, plain and gated. To add an activation: a line in ACTIVATIONS."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.multi_head import initialise
from regard.layers.dropout import Dropout
from regard.layers.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "swish": functional.silu,
}


class FeedForward(nn.Module):
    """The same two-layer network at each position (Vaswani et al. 2017, section 3.3; claim N11).

    With `gated`, the inner layer is activation(x W) * (x V) (Shazeer 2020), at the same inner size.
    """

    def __init__(
        self,
        size: int,
        inner: int,
        *,
        activation: str = "relu",
        gated: bool = False,
        bias: bool = True,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.widen = Linear(size, inner, bias=bias)
        self.gate = Linear(size, inner, bias=bias) if gated else None
        self.narrow = Linear(inner, size, bias=bias)
        self.activation = activation
        self.dropout = Dropout(drop)
        for layer in (self.widen, self.narrow, *([self.gate] if self.gate else [])):
            initialise(layer)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The output at a position depends on that position alone."""
        inner = self._activated(x)
        if self.gate is not None:
            inner = inner * self.gate(x)
        return self.narrow(self.dropout(inner))  # type: ignore[no-any-return]

    def _activated(self, x: Tensor) -> Tensor:
        if self.activation == "relu":  # as part of the product
            return self.widen(x, relu=True)  # type: ignore[no-any-return]
        return ACTIVATIONS[self.activation](self.widen(x))
