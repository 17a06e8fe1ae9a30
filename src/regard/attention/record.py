"""Shows what attention looked at, from outside: the plain path is switched on for one model and off again.

    with recorded(model) as weights:
        model(source, previous)
    weights["decoder.blocks.0.look"]        # [B, H, T, S]

The model holds no weights, before, during or after; the answers are the same with and without. `observed` hands over
each attention as it happens, its values too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn

from regard.attention.attend import Attend

See: TypeAlias = Callable[[str, Tensor, Tensor], None]
"""Told the name of the module, the weights [B, H, T, S] and the values [B, H, S, W] of an attention."""


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The weights [B, H, T, S] of every attention of `model` by the name of its module, filled as the model runs.

    A module that runs several times (a step each) keeps its last weights. Undone whatever happens inside.
    """
    weights: dict[str, Tensor] = {}

    def keep(name: str, seen: Tensor, value: Tensor) -> None:
        weights[name] = seen.detach()

    with observed(model, keep):
        yield weights


@contextmanager
def observed(model: nn.Module, see: See) -> Iterator[None]:
    """Calls `see` after every attention of `model`, with the plain path on. Undone whatever happens inside."""
    attends = {name: module for name, module in model.named_modules() if isinstance(module, Attend)}
    before = {name: module.plain for name, module in attends.items()}
    handles = [module.register_forward_hook(_telling(see, name)) for name, module in attends.items()]
    try:
        for module in attends.values():
            module.plain = True
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name, module in attends.items():
            module.plain = before[name]


def _telling(see: See, name: str) -> Callable[[nn.Module, tuple[Any, ...], tuple[Tensor, Tensor]], None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        see(name.removesuffix(".attend"), output[1], inputs[2])

    return hook
