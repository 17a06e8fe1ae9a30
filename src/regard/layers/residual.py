"""Add and norm: what surrounds each sublayer of a block."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.layers.dropout import Dropout
from regard.layers.norms import Norm


class Residual(nn.Module):
    """x + sublayer(x) with a norm before the sublayer or after the sum (claim N12).

    pre:   x + dropout(sublayer(norm(x)))      post (the paper):   norm(x + dropout(sublayer(x)))
    """

    def __init__(self, norm: Norm, drop: float, norm_first: bool) -> None:
        super().__init__()
        self.norm = norm
        self.norm_first = norm_first
        self.dropout = Dropout(drop)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        sublayer: Callable[[Tensor], Tensor],
        is_real: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The same shape. `is_real` is for norms that look further than one position; None: all are real."""
        if self.norm_first:
            return self.dropout.add(x, sublayer(self.norm(x, is_real)))
        return self.norm(self.dropout.add(x, sublayer(x)), is_real)  # type: ignore[no-any-return]
