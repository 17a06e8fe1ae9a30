"""Optimisers by name, and their state as named tensors. To add one: a function and a line in OPTIMISERS.

torch.optim is imported when one is made: importing it costs seconds that translating must not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.config import Training
from regard.errors import ModelFolderError

if TYPE_CHECKING:
    from torch.optim import Optimizer


def adam(model: nn.Module, training: Training) -> Optimizer:
    """Adam (Kingma and Ba 2015), fused."""
    from torch.optim import Adam

    betas = (training.beta1, training.beta2)
    return Adam(model.parameters(), lr=training.learning_rate, betas=betas, eps=1e-9, fused=True)


def adamw(model: nn.Module, training: Training) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019), fused; matrices decay, biases and norms do not."""
    from torch.optim import AdamW

    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (training.beta1, training.beta2)
    return AdamW(groups, lr=training.learning_rate, betas=betas, eps=1e-9, fused=True)


OPTIMISERS: dict[str, Callable[[nn.Module, Training], Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
}


def optimiser_tensors(optimiser: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state as `parameter.what` -> tensor."""
    return {
        f"{name}.{what}": value
        for name, parameter in model.named_parameters()
        for what, value in optimiser.state[parameter].items()
    }


def restore_optimiser(optimiser: Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Takes back what `optimiser_tensors` gave; ModelFolderError where it does not fit the model."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, what = key.rpartition(".")
        if name not in parameters or (value.dim() and value.shape != parameters[name].shape):
            raise ModelFolderError(f"the optimiser's state {key!r} does not belong to this model")
        on_device = value if what == "step" and not value.is_cuda else value.to(parameters[name].device)
        optimiser.state[parameters[name]][what] = on_device.clone()


def gradients(model: nn.Module) -> Iterator[Tensor]:
    """The gradients there are."""
    return (parameter.grad for parameter in model.parameters() if parameter.grad is not None)


def clip_gradients(model: nn.Module, longest: float | None) -> float:
    """Scales all gradients so that together they are no longer than `longest`; returns the length before."""
    return float(torch.nn.utils.clip_grad_norm_(model.parameters(), longest or float("inf"), foreach=True))
