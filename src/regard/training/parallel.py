"""One model in several processes: a copy in each (DDP), or a share in each (FSDP2). The work is torch.distributed's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from regard.config import Training
from regard.errors import RecipeError
from regard.training.recompute import blocks_of
from regard.training.world import World


def check_parallel(model: nn.Module, world: World) -> None:
    """RecipeError for a norm that keeps running statistics, for each process would have its own."""
    if world.size > 1 and any(name.endswith("running_mean") for name, _ in model.named_buffers()):
        raise RecipeError(
            "this norm keeps statistics of the batches it has seen, and each process would see others",
            fix="choose a model.norm without (layer, rms, group, instance), or train in one process",
        )


def in_parallel(loss: nn.Module, training: Training, world: World) -> nn.Module:
    """`loss` (a model and its loss) such that gradients are the mean over processes."""
    if world.size == 1:
        return torch.compile(loss, dynamic=True) if training.compile else loss  # type: ignore[return-value]
    if training.shard:
        return _sharded(loss)
    from torch.nn.parallel import DistributedDataParallel

    device = next(loss.parameters()).device
    here = [device.index] if device.type == "cuda" else None
    copies = DistributedDataParallel(loss, device_ids=here, broadcast_buffers=False)  # no buffer is trained
    return torch.compile(copies, dynamic=True) if training.compile else copies  # type: ignore[return-value]


def _sharded(loss: nn.Module) -> nn.Module:
    """Weights, gradients and optimiser state in shares; a block's weights are put together while it computes."""
    from torch.distributed.fsdp import fully_shard

    for block in blocks_of(loss):
        fully_shard(block)
    return cast(nn.Module, fully_shard(loss))


@contextmanager
def last_of_step(loss: nn.Module, is_last: bool) -> Iterator[None]:
    """Copies exchange gradients once a step: in the last backward pass."""
    no_sync = getattr(loss, "no_sync", None)
    if is_last or no_sync is None:
        yield
        return
    with no_sync():
        yield


def gathered(tensor: Tensor) -> Tensor:
    """A share of a tensor put together with the others'. Every process must ask."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """`gathered`, on the CPU."""
    return gathered(tensor).detach().cpu()


def like(tensor: Tensor, template: Tensor) -> Tensor:
    """A whole tensor in the form of `template`: on its device, and only the share that it holds."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(template, DTensor) and not isinstance(tensor, DTensor):
        return distribute_tensor(tensor.to(template.device), template.device_mesh, template.placements)
    return tensor.to(template.device)


def load_whole(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Loads whole weights into a model that may hold shares."""
    own = model.state_dict()
    model.load_state_dict({name: like(weights[name], own[name]) for name in own})
