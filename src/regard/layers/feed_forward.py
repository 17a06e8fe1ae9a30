"""The position-wise feed-forward network, plain and gated. To add an activation: a line in ACTIVATIONS."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.multi_head import initialise
from regard.layers.dropout import Dropout
from regard.layers.linear import linear

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
        self.widen = nn.Linear(size, inner, bias=bias)
        self.gate = nn.Linear(size, inner, bias=bias) if gated else None
        self.narrow = nn.Linear(inner, size, bias=bias)
        self.activation = activation
        self.dropout = Dropout(drop)
        for layer in (self.widen, self.narrow, *([self.gate] if self.gate else [])):
            initialise(layer)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The output at a position depends on that position alone."""
        if self.activation == "relu":
            inner = linear(x, self.widen.weight, self.widen.bias, relu=True)
        else:
            inner = ACTIVATIONS[self.activation](linear(x, self.widen.weight, self.widen.bias))
        if self.gate is not None:
            inner = inner * linear(x, self.gate.weight, self.gate.bias)
        return linear(self.dropout(inner), self.narrow.weight, self.narrow.bias)
