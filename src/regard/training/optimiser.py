"""Optimisers by name, and their state as named tensors. To add one: a function and a line in OPTIMISERS.

torch.optim is imported when one is made: importing it costs seconds that translating must not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.config import Training
from regard.device import has_bfloat16
from regard.errors import ModelFolderError
from regard.models.interface import ReadoutDecoder

if TYPE_CHECKING:
    from torch.optim import Optimizer


def adam(model: nn.Module, training: Training) -> Optimizer:
    """Adam (Kingma and Ba 2015), fused."""
    from torch.optim import Adam

    betas = (training.beta1, training.beta2)
    return Adam(model.parameters(), lr=training.learning_rate, betas=betas, eps=1e-9, fused=True)


def adamw(model: nn.Module, training: Training) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019), fused; matrices decay, biases and norms do not."""
    return _adamw(model.parameters(), training)


def _adamw(parameters: Iterable[nn.Parameter], training: Training) -> Optimizer:
    from torch.optim import AdamW

    given = list(parameters)
    matrices = [p for p in given if p.dim() > 1]
    others = [p for p in given if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (training.beta1, training.beta2)
    return AdamW(groups, lr=training.learning_rate, betas=betas, eps=1e-9, fused=True)


def muon(model: nn.Module, training: Training) -> Optimizer:
    """Muon (Jordan et al. 2024) for the matrices between layers; AdamW for the others: embeddings, output, biases,
    norms. Its steps are as long as Adam's (Liu et al. 2025, section 2.2), so one learning rate serves both.
    """
    from regard.training.muon import Muon

    chosen = {id(p) for p in hidden_matrices(model)}
    matrices, others = ([p for p in model.parameters() if (id(p) in chosen) == hidden] for hidden in (True, False))
    products = torch.bfloat16 if has_bfloat16(others[0].device) else torch.float32
    first = Muon(matrices, training.learning_rate, training.weight_decay, products=products)
    return _both(first, _adamw(others, training))


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights of linear layers and of recurrent cells, but for those with a row a token: the output's."""
    layers = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.RNNBase))]
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    tables |= {id(module.output.weight) for module in model.modules() if isinstance(module, ReadoutDecoder)}
    return [p for layer in layers for p in layer.parameters(recurse=False) if p.dim() == 2 and id(p) not in tables]


def _both(first: Optimizer, second: Optimizer) -> Optimizer:
    """Two optimisers of different parameters as one."""
    from torch.optim import Optimizer

    class Both(Optimizer):
        def __init__(self) -> None:
            super().__init__([*first.param_groups, *second.param_groups], {})
            first.state = second.state = self.state

        def step(self, closure: Any = None) -> Any:
            first.step()
            second.step()

    return Both()


OPTIMISERS: dict[str, Callable[[nn.Module, Training], Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "muon": muon,
}


def state_bytes(model: nn.Module, optimiser: str) -> int:
    """Of what an optimiser keeps from step to step: two moments a weight, for the matrices of Muon one."""
    single = hidden_matrices(model) if optimiser == "muon" else []
    return 2 * sum(p.nbytes for p in model.parameters()) - sum(p.nbytes for p in single)


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
