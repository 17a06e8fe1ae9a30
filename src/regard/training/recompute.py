"""Gradient checkpointing (Chen et al. 2016): a block keeps its input alone, and is computed again for its gradient."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from regard.errors import RecipeError


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The blocks of its stacks: the parts that are computed one after another."""
    return [part for name, part in module.named_modules() if name.rpartition(".")[0].endswith("blocks")]


def recompute_blocks(model: nn.Module) -> None:
    """From now on its blocks do so, with equal gradients; RecipeError if it has none, as recurrent models."""
    blocks = blocks_of(model)
    if not blocks:
        raise RecipeError("training.recompute: the model has no blocks", fix="set training.recompute=false")
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
