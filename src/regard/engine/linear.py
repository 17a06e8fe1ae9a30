"""One product with a matrix that never changes again, laid out as the number of rows wants it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Numbers in a matrix from which on oneDNN's own layout was measured to be faster for two rows or more: 1.1 to 3.6 times
# (its call alone costs 12 us more). One row is a matter of memory alone, and there the transposed matrix is faster.
LARGE = 2**18


class Linear:
    """x W^T + b, as `nn.Linear` computes it.

    Several layers that read the same x may be joined: their outputs then stand side by side.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        weight = torch.cat([layer.weight.detach() for layer in layers])  # [N, K]
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = torch.cat(biases) if biases else None
        self.transposed = weight.t().contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, None) if _packs(weight) else None

    def __call__(self, x: Float[Tensor, "R K"]) -> Float[Tensor, "R N"]:
        """The product, a new tensor."""
        if self.packed is not None and len(x) > 1:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
            return product
        return torch.mm(x, self.transposed) if self.bias is None else torch.addmm(self.bias, x, self.transposed)

    def add_to(self, x: Float[Tensor, "R N"], y: Float[Tensor, "R K"]) -> Float[Tensor, "R N"]:
        """x + the product of y, in place: the product itself is stored nowhere where it need not be."""
        if self.packed is not None and len(y) > 1:
            return x.add_(self(y))
        if self.bias is not None:
            x.add_(self.bias)
        return x.addmm_(y, self.transposed)


def _packs(weight: Tensor) -> bool:
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32 and torch._C._has_mkldnn
    return on_cpu and weight.numel() >= LARGE
