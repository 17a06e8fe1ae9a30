"""A second device that every machine has: it computes on the CPU, and its tensors refuse those of the CPU.

    with Accelerator():
        model.to("cuda")  # from here on whatever meets the model's tensors has to be made there or moved there

Stricter than CUDA, which lets a number without dimensions and an index come from the CPU: both make it wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)
MOVES = {Tensor.to, Tensor.cpu, Tensor.copy_}
LEAVES = {Tensor.numpy, Tensor.__array__}


class There(Tensor):
    """A tensor of the second device."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied = self.detach().clone()
            memo[id(self)] = nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied
        found: Tensor = memo[id(self)]
        return found


class Accelerator(TorchFunctionMode):
    """While it is entered, `cuda` is there. RuntimeError where tensors of two devices meet."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        args, named, asked = _without_device(func, args, dict(kwargs or {}))
        met = {isinstance(each, There) for each in tree_leaves((args, named)) if isinstance(each, Tensor)}
        if asked is None and True not in met:
            return func(*args, **named)
        if len(met) > 1 and func is torch._has_compatible_shallow_copy_type:
            return False  # Module.to asks; so it makes a parameter anew where it is moved
        if len(met) > 1 and func not in MOVES:
            raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device, found cuda:0 and cpu")
        if func in LEAVES and True in met:
            raise TypeError("a tensor of cuda:0 is no array")
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **named)
        is_there = asked == "cuda" if asked else True in met
        if func is Tensor.copy_:
            return args[0]
        moves = bool(asked) and met == {not is_there}
        return (
            tree_map_only(Tensor, lambda each: _placed(each, is_there, moves), result) if _has_any(result) else result
        )


def _without_device(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], str | None]:
    """What is computed on the CPU, and the kind of device that was asked for."""
    asked = kwargs.get("device")
    if func is Tensor.cpu:
        asked = "cpu"
    if func is Tensor.to and len(args) > 1 and isinstance(args[1], str | torch.device):
        asked, args = args[1], (args[0], "cpu", *args[2:])
    if asked is None:
        return args, kwargs, None
    if "device" in kwargs:
        kwargs["device"] = "cpu"
    return args, kwargs, torch.device(asked).type


def _has_any(result: Any) -> bool:
    """A torch.Size has no tensor, and would come back as a tuple."""
    return any(isinstance(each, Tensor) for each in tree_leaves(result))


def _placed(tensor: Tensor, is_there: bool, moves: bool) -> Tensor:
    if isinstance(tensor, There) == is_there:
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        own = tensor.clone() if moves else tensor
        return own.as_subclass(There if is_there else Tensor)
