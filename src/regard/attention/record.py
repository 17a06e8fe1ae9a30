"""Shows what attention looked at, from outside: the plain path is switched on for one model and off again.

    with recorded(model) as weights:
        model(source, previous)
    weights["decoder.blocks.0.look"]        # [B, H, T, S]

The model holds no weights, before, during or after; the answers are the same with and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from regard.attention.attend import Attend


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The weights [B, H, T, S] of every attention of `model` by the name of its module, filled as the model runs.

    A module that runs several times (a step each) keeps its last weights. Undone whatever happens inside.
    """
    weights: dict[str, Tensor] = {}
    attends = {name: module for name, module in model.named_modules() if isinstance(module, Attend)}
    before = {name: module.plain for name, module in attends.items()}
    handles = [module.register_forward_hook(_keep(weights, name)) for name, module in attends.items()]
    try:
        for module in attends.values():
            module.plain = True
        yield weights
    finally:
        for handle in handles:
            handle.remove()
        for name, module in attends.items():
            module.plain = before[name]


def _keep(weights: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, tuple[Tensor, Tensor]], None]:
    def hook(module: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> None:
        weights[name.removesuffix(".attend")] = output[1].detach()

    return hook
