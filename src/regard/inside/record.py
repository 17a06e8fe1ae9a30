"""One exact pass over a finished answer: every attention, every step's distribution, every layer's states.

Teacher forcing with the plain path gives what the step-by-step search saw, for any search: tests hold that the ids are
equal and the weights within 1e-5. Nothing of it runs unless it is asked for, and nothing is left on the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.record import observed
from regard.data.tokens import Tokens
from regard.decoding.choose import log_probabilities
from regard.device import full_float32
from regard.inside.heads import part_of
from regard.inside.result import Attention, Part
from regard.models.interface import EncoderDecoder, ReadoutDecoder
from regard.text.tokenizer import BOS, EOS, PAD

# What asks, and what is looked at.
SIDES: dict[Part, tuple[str, str]] = {
    "encoder": ("source", "source"),
    "decoder": ("steps", "steps"),
    "cross": ("steps", "source"),
}


@dataclass(frozen=True)
class Answered:
    """Ids of a source and of an answer to it, without bos and eos; `ends`: the answer is followed by eos."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    ends: bool = True

    @property
    def sources(self) -> Tokens:
        """As the encoder reads it [1, S]."""
        return Tokens.of([[*self.source, EOS]])

    @property
    def written(self) -> list[int]:
        """What each step wrote [T]."""
        return [*self.target, *([EOS] if self.ends else [])]

    @property
    def previous(self) -> Tokens:
        """What each step read [1, T]."""
        return Tokens.of([[BOS, *self.written[:-1]]])


@dataclass(frozen=True)
class Recording:
    """What a pass showed. `early` are log-probabilities by the states after each layer but the last; none where the
    decoder does not show its layers.
    """

    answered: Answered
    log_probabilities: Float[Tensor, "T V"]
    attentions: tuple[Attention, ...]
    early: tuple[Float[Tensor, "T V"], ...]


def record(model: EncoderDecoder, answered: Answered) -> Recording:
    """All of a model in evaluation mode, on whatever device; what comes back lies on the CPU.

    The source is padded to a width that no other attention of the decoder can have: so the ones to the source are known
    by their shape, in whatever decoder. Padding changes nothing.
    """
    device = next(model.parameters()).device
    source, previous = answered.sources.to(device), answered.previous.to(device)
    steps = previous.ids.shape[1]
    if not steps:
        return Recording(answered, torch.empty(0, model.decoder(previous, model.encode(source)).shape[-1]), (), ())
    seen = _Seen(model, source.ids.shape[1], steps)
    padded = nn.functional.pad(source.ids, (0, seen.width - seen.length), value=PAD)
    with torch.inference_mode(), full_float32(device), observed(model, seen.take), _layers(model) as (states, read):
        logits = model(Tokens(padded, source.lengths), previous)[0]
        early = tuple(log_probabilities(read(each)[0]).cpu() for each in states[:-1])
    return Recording(answered, log_probabilities(logits).cpu(), tuple(seen.attentions()), early)


class _Seen:
    """The attentions of one pass, in the order in which they happened."""

    def __init__(self, model: EncoderDecoder, length: int, steps: int) -> None:
        self.modules = dict(model.named_modules())
        self.length, self.steps, self.width = length, steps, length + steps + 1
        self.found: dict[tuple[Part, str], tuple[Tensor, Tensor | None]] = {}

    def take(self, name: str, weights: Tensor, value: Tensor) -> None:
        """One attention [1, H, Q, K]; of a module that ran step by step the last, which has all of them."""
        part = part_of(name, weights, self.width)
        queries, keys = SIDES[part]
        padded, real = {"source": self.width, "steps": self.steps}, {"source": self.length, "steps": self.steps}
        if weights.shape[2:] == (padded[queries], padded[keys]):
            cut = weights[0, :, : real[queries], : real[keys]].cpu()
            lengths = value_lengths(self.modules[name], value[0, :, : real[keys]])
            self.found[part, name] = cut, None if lengths is None else cut * lengths.cpu()[:, None]

    def attentions(self) -> Iterator[Attention]:
        """Encoder, decoder, cross; each part's layers counted from 0."""
        for part in SIDES:
            layers = [found for (where, _), found in self.found.items() if where == part]
            yield from (Attention(part, layer, *found) for layer, found in enumerate(layers))


def value_lengths(module: nn.Module, value: Float[Tensor, "*B H K W"]) -> Float[Tensor, "*B H K"] | None:
    """Of each value after its head's part of the output matrix; None without one."""
    output, (heads, width) = getattr(module, "output", None), (value.shape[-3], value.shape[-1])
    if not isinstance(output, nn.Linear) or output.in_features != heads * width:
        return None
    weight = output.weight.view(-1, heads, width)  # [D, H, W]
    lengths: Tensor = torch.linalg.vector_norm(torch.einsum("...hkw,dhw->...hkd", value, weight), dim=-1)
    return lengths


@contextmanager
def _layers(model: EncoderDecoder) -> Iterator[tuple[list[Tensor], Callable[[Tensor], Tensor]]]:
    """A list that fills with the states [1, T, D] after each layer of the decoder, and what reads them as logits."""
    states: list[Tensor] = []
    decoder = model.decoder
    if not isinstance(decoder, ReadoutDecoder):
        yield states, lambda each: each
        return

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        states.append(output)

    handles = [layer.register_forward_hook(keep) for layer in decoder.layers]
    try:
        yield states, decoder.early
    finally:
        for handle in handles:
            handle.remove()
