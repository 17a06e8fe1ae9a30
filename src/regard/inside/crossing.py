"""The attentions to the source of many answers at once, and nothing else: `record` is for one answer and everything."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.record import observed
from regard.data.tokens import Tokens
from regard.device import full_float32
from regard.inside.record import value_lengths
from regard.models.crossing import cross_attentions
from regard.models.interface import EncoderDecoder, ReadoutDecoder


@dataclass(frozen=True)
class Crossing:
    """The heads of one layer's attention to the source; `norms` as in `regard.inside.result.Attention`."""

    weights: Float[Tensor, "*B H T S"]
    norms: Float[Tensor, "*B H T S"] | None = None


def crossings(
    model: EncoderDecoder, source: Tokens, previous: Tokens, layers: Collection[int] | None = None
) -> dict[int, Crossing]:
    """By layer, of a model in evaluation mode: rows for each of the `previous` tokens, columns for the source's.

    `layers`: None is all. Other attentions go their fast way. What comes back lies where the model lies.
    """
    device, found = next(model.parameters()).device, dict[int, Crossing]()

    def keep(layer: int, module: nn.Module, name: str, weights: Tensor, value: Tensor) -> None:
        lengths = value_lengths(module, value)  # a module that runs step by step does all steps at once in the end
        found[layer] = Crossing(weights, None if lengths is None else weights * lengths[..., None, :])

    with torch.inference_mode(), full_float32(device), ExitStack() as watched:
        for layer, name in enumerate(cross_attentions(model)):
            if layers is None or layer in layers:
                module = model.get_submodule(name)
                watched.enter_context(observed(module, partial(keep, layer, module)))
        memory, decoder = model.encode(source.to(device)), model.decoder
        # states are enough, and spare the product with the vocabulary
        (decoder.states if isinstance(decoder, ReadoutDecoder) else decoder)(previous.to(device), memory)
    return found
