"""A model as a table: each layer's output, parameters, operations and memory (claim N27).

Operations are counted by torch's own counter (`torch.utils.flop_counter`) while the model runs once: two a
multiply-add, matrix products, convolutions and attention only. Shapes come from hooks that are taken off again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.attention.attend import Attend
from regard.data.tokens import Tokens
from regard.layers.residual import Residual
from regard.look.flops import flop_counter
from regard.models.interface import EncoderDecoder, Memory
from regard.text.tokenizer import BOS


@dataclass(frozen=True)
class Layer:
    """One module: `parameters` of it and all below it, `own_parameters` of it alone (a tied one counts where it stands
    first); `flops` of one forward pass, `memory` the bytes of its parameters and of what it gives out."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    own_parameters: int
    flops: int
    memory: int

    @property
    def depth(self) -> int:
        """How many modules it stands in."""
        return self.name.count(".") + bool(self.name)


def summary(model: EncoderDecoder, source_length: int = 20, target_length: int = 20) -> list[Layer]:
    """The layers that ran, each before what stands in it, for one pair of the given lengths; the whole model first."""
    source = Tokens.of([[BOS] * source_length])
    previous = Tokens.of([[BOS] * target_length])
    training, shapes = model.training, dict[str, tuple[int, ...]]()
    try:
        model.eval()
        with torch.no_grad(), _noted(model, shapes), flop_counter() as counter:
            model(source, previous)
    finally:
        model.train(training)
    counted = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    return list(_layers(model, shapes, _by_place(model, counted)))


def kernels(model: nn.Module) -> dict[str, str]:
    """How each kind of attention score is computed: by the fused kernel, or why not."""
    scores = {type(module.score).__name__: module.score for module in model.modules() if isinstance(module, Attend)}
    fused = "fused for long inputs and on accelerators"
    plain = "plain only: this score is no product of query and key, the fused kernel cannot compute it"
    return {name: plain if score.factor is None else fused for name, score in scores.items()}


def _layers(model: nn.Module, shapes: dict[str, tuple[int, ...]], flops: dict[str, int]) -> Iterator[Layer]:
    seen: set[int] = set()
    for name, module in model.named_modules():
        if name not in shapes:  # it did not run, or gives out no tensor
            continue
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in own}
        parameters = sum(parameter.numel() for parameter in module.parameters())
        memory = sum(parameter.nbytes for parameter in module.parameters()) + 4 * torch.Size(shapes[name]).numel()
        kind = type(module).__name__
        yield Layer(name, kind, shapes[name], parameters, sum(map(torch.numel, own)), flops[name], memory)


def _by_place(model: nn.Module, counted: dict[str, int]) -> dict[str, int]:
    """Operations by where a module stands. The counter goes by what runs while a module runs: to a residual that is
    its sublayer, which stands elsewhere; keys and values are made while their attention does not run."""
    flops: dict[str, int] = {}
    for name, module in reversed(list(model.named_modules())):
        below = [f"{name}.{child}" if name else child for child, _ in module.named_children()]
        within = sum(flops[child] for child in below)
        own = counted.get(".".join(filter(None, (type(model).__name__, name))), 0)
        flops[name] = 0 if isinstance(module, Residual) else max(own, within)
    return flops


@contextmanager
def _noted(model: nn.Module, shapes: dict[str, tuple[int, ...]]) -> Iterator[None]:
    """Fills `shapes` with the output shape of each module that runs."""
    handles = [module.register_forward_hook(_note(shapes, name)) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note(shapes: dict[str, tuple[int, ...]], name: str) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        first = output[0] if isinstance(output, tuple) else output
        tensor = first.states if isinstance(first, Memory) else first
        if isinstance(tensor, Tensor):
            shapes[name] = tuple(tensor.shape)

    return hook
