"""Muon (Jordan et al. 2024): the step of a matrix is its momentum made orthogonal, so that all directions move alike.

torch.optim.Muon multiplies in bfloat16 wherever it runs, one matrix at a time. A CPU without units for bfloat16 takes
many times as long for such a product as in float32, and then the optimiser takes longer than the model. Here products
are in the numbers that the device is fast with, and matrices of one shape are multiplied together; benchmarks/muon.py
has both side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from regard.training.parallel import gathered, like

ITERATIONS = 5
# Of the odd polynomial a x + b x^3 + c x^5, which takes singular values near 1 from wherever they are below it: steep
# at 0; what is between 0.005 and 1 is between 0.68 and 1.16 after five times. Jordan et al. 2024.
A, B, C = 3.4445, -4.7750, 2.0315
LEAST = 1e-7  # length of a matrix that is more than nothing
RMS = 0.2  # of a step's numbers, as those of AdamW are: Liu et al. 2025, section 2.2
MOST_AT_ONCE = 2**24  # numbers, that matrices which are multiplied together do not take much memory


class Muon(Optimizer):
    """For parameters that are matrices. `products`: the numbers in which they are multiplied.

    Steps are as long as AdamW's, and weights decay as there.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        products: torch.dtype = torch.float32,
    ) -> None:
        self.products = products
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Moves every matrix that has a gradient."""
        for group in self.param_groups:
            for alike in of_one_shape(p for p in group["params"] if p.grad is not None):
                ahead = torch.stack([gathered(self._ahead(p, group["momentum"])) for p in alike])
                for parameter, direction in zip(alike, orthogonal(ahead, self.products), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    length = RMS * math.sqrt(max(parameter.shape)) * group["lr"]
                    parameter.add_(like(direction, parameter), alpha=-length)

    def _ahead(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """The mean of the gradients so far, a step ahead (Nesterov)."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum_buffer" not in state:  # as torch.optim.Muon calls it, so that its checkpoints go on
            state["momentum_buffer"] = torch.zeros_like(gradient)
        return gradient.lerp(state["momentum_buffer"].lerp_(gradient, 1 - momentum), momentum)


def of_one_shape(matrices: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Matrices that can be multiplied together: of one shape, and not too many."""
    found: dict[torch.Size, list[nn.Parameter]] = {}
    for matrix in matrices:
        found.setdefault(matrix.shape, []).append(matrix)
    for shape, alike in found.items():
        most = max(1, MOST_AT_ONCE // max(1, shape.numel()))
        yield from (alike[start : start + most] for start in range(0, len(alike), most))


def orthogonal(matrices: Float[Tensor, "N A B"], products: torch.dtype) -> Float[Tensor, "N A B"]:
    """Each with its singular vectors and with singular values near 1, by Newton and Schulz's iteration."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if is_tall else matrices
    length = torch.linalg.vector_norm(wide, dim=(1, 2), keepdim=True).clamp(min=LEAST)
    x = (wide / length).to(products)  # no singular value is longer than all of them together
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=B, alpha=C), x, beta=A)
    turned: Tensor = x.to(matrices.dtype)
    return turned.mT if is_tall else turned
