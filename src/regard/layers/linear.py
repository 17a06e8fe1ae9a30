"""x W^T + b for training on a CPU, by the faster of the two libraries that torch brings.

torch computes float32 products on a CPU with MKL, though oneDNN, which it uses for other types, was measured to be
faster: by 10 to 30 % for large ones on AMD and on Intel. Of the three products of a layer, oneDNN computes the output
and the gradient of the input; that of the weights would need a copy of its inputs and stays with MKL. A ReLU is part of
the product, as the library offers it.

`plain` is what it computes. It is also what runs for small products, other types and devices, without a gradient, and
where a compiler traces: so nothing but training changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LARGE = 2**23  # multiply-adds from which on the product gains more than a function of ours costs


def linear(
    x: Float[Tensor, "*rows K"], weight: Float[Tensor, "M K"], bias: Float[Tensor, " M"] | None, relu: bool = False
) -> Float[Tensor, "*rows M"]:
    """x W^T + b, then ReLU if asked for."""
    if not _pays(x, weight):
        return plain(x, weight, bias, relu)
    product: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias, relu)  # type: ignore[no-untyped-call]
    return product.view(*x.shape[:-1], len(weight))


class Linear(nn.Linear):
    """`linear` as a module."""

    def forward(self, input: Float[Tensor, "*rows K"], relu: bool = False) -> Float[Tensor, "*rows M"]:
        """x W^T + b, then ReLU if asked for."""
        return linear(input, self.weight, self.bias, relu)


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    """The same as torch has it."""
    product = functional.linear(x, weight, bias)
    return product.relu() if relu else product


def product_with(weight: Float[Tensor, "M K"]) -> Callable[[Tensor], Tensor]:
    """x -> x W^T, for one weight and many x: it is laid out once. No gradient."""
    if not _suits(weight) or torch.compiler.is_compiling():
        return lambda x: x @ weight.T
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
    return lambda x: _product(x, packed, None)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        output = _product(x, weight, bias, relu)
        ctx.save_for_backward(x, weight, output if relu else None)
        return output

    @staticmethod
    def backward(ctx: Any, by_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, output = ctx.saved_tensors
        if output is not None:
            by_output = torch.ops.aten.threshold_backward(by_output, output, 0)
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        again = torch.is_grad_enabled()  # a derivative of this one is asked for: torch knows that of its own product
        return (
            (by_output @ weight if again else _product(by_output, weight.T, None)) if needs_x else None,
            by_output.T @ x if needs_weight else None,
            by_output.sum(0) if needs_bias else None,
            None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")
    return product


def _pays(x: Tensor, weight: Tensor) -> bool:
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    return x.numel() * len(weight) >= LARGE and _suits(x) and _suits(weight)


def _suits(x: Tensor) -> bool:
    """Whether oneDNN is there and knows these numbers."""
    is_plain = type(x) in {Tensor, nn.Parameter}
    return is_plain and x.dtype == torch.float32 and x.device.type == "cpu" and torch._C._has_mkldnn
