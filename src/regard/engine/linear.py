"""One product with a matrix that never changes again, laid out as the number of rows wants it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Numbers in a matrix from which on oneDNN's own layout was measured to be faster for two rows or more: 1.1 to 3.6 times
# (its call alone costs 12 us more). One row is a matter of memory alone, and there the transposed matrix is faster.
LARGE = 2**18
# A smaller matrix gains by it, 1.05 to 1.15 times, from these sizes on.
MEDIUM, MANY = 2**16, 64  # numbers in it, rows of x


class Linear:
    """x W^T + b, as `nn.Linear` computes it.

    Several layers that read the same x may be joined: their outputs then stand side by side, each times its scale.
    """

    def __init__(self, layers: Sequence[nn.Linear], scales: Sequence[float] | None = None) -> None:
        scaled = list(zip(layers, scales or [1.0] * len(layers), strict=True))
        weight = torch.cat([layer.weight.detach() * scale for layer, scale in scaled])  # [N, K]
        biases = [layer.bias.detach() * scale for layer, scale in scaled if layer.bias is not None]
        self.bias = torch.cat(biases) if biases else None
        self.transposed = weight.t().contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, None) if _packs(weight) else None
        self.enough = 2 if weight.numel() >= LARGE else MANY  # rows for the packed matrix

    def __call__(self, x: Float[Tensor, "R K"]) -> Float[Tensor, "R N"]:
        """The product, a new tensor."""
        if self.packed is not None and len(x) >= self.enough:
            return self._packed(x, "none")
        return torch.mm(x, self.transposed) if self.bias is None else torch.addmm(self.bias, x, self.transposed)

    def relu(self, x: Float[Tensor, "R K"]) -> Float[Tensor, "R N"]:
        """The product, a new tensor, with 0 for what is negative."""
        if self.packed is not None and len(x) >= self.enough:
            return self._packed(x, "relu")
        return self(x).relu_()

    def add_to(self, x: Float[Tensor, "R N"], y: Float[Tensor, "R K"]) -> Float[Tensor, "R N"]:
        """x + the product of y; x may be written in."""
        if self.packed is not None and len(y) >= self.enough:
            total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(y, x, self.packed, self.bias, "add")
            return total
        if self.bias is not None:
            x.add_(self.bias)
        return x.addmm_(y, self.transposed)

    def _packed(self, x: Tensor, then: str) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "")
        return product


def _packs(weight: Tensor) -> bool:
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32 and torch._C._has_mkldnn
    return on_cpu and weight.numel() >= MEDIUM
