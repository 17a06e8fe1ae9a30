"""Decoders as the search sees them: a step function and a state of rows in a table. Plain, watched, several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.attend import Attend
from regard.attention.record import recorded
from regard.data.tokens import Tokens
from regard.decoding.ensemble import Average, EnsembleState, ensemble
from regard.decoding.interface import State, Step
from regard.engine import EncoderEngine, Engine, why_not
from regard.models.interface import Decoder, EncoderDecoder, Memory
from regard.models.interface import State as ModelState
from regard.models.transformer import TransformerDecoder, TransformerEncoder

Begin: TypeAlias = Callable[[Tokens], tuple[Step, State]]
"""Sources to a step function and the state before the first step, a row a source."""


@dataclass(frozen=True)
class Rows:
    """A decoder's state, its rows in a table, and what its last step looked at if it is watched."""

    state: ModelState
    looked: Float[Tensor, "R S"] | None = None

    def select(self, rows: Int[Tensor, "A W"]) -> Rows:
        """The rows of the table, line after line."""
        return Rows(self.state.select(rows.flatten()))


Start: TypeAlias = Callable[[bool], Begin]
"""How a model begins: it is told whether to watch where its steps look."""


def plain(model: EncoderDecoder, watch: bool = False, encode: Callable[[Tokens], Memory] | None = None) -> Begin:
    """The model's own modules; `watch` records where each step looks."""
    step = _watched(model.decoder) if watch else _step(model.decoder)
    return lambda sources: (step, Rows(model.decoder.start((encode or model.encode)(sources))))


def fast(model: EncoderDecoder) -> Start:
    """The inference engine on a copy of the weights, for what it knows of; the model's own modules for the rest.

    What comes back begins a search, watched or not.
    """
    encode: Callable[[Tokens], Memory] = model.encode
    if isinstance(model.encoder, TransformerEncoder) and not why_not(model.encoder):
        encode = EncoderEngine(model.encoder)
    if not isinstance(model.decoder, TransformerDecoder) or why_not(model.decoder):
        return lambda watch: plain(model, watch, encode)
    engine = Engine(model.decoder)
    return lambda watch: lambda sources: (cast(Step, engine.step), engine.start(encode(sources), watch))


def fingerprint(models: Sequence[EncoderDecoder]) -> list[object]:
    """Equal for as long as what `fast` makes of the models is right: the weights, and what stands in for attentions."""
    found: list[object] = []
    for module in chain.from_iterable(model.modules() for model in models):  # half the time of state_dict()
        own = chain(module._parameters.values(), module._buffers.values())
        found += [(weight.data_ptr(), weight._version) for weight in own if weight is not None]
        if isinstance(module, Attend):
            found.append(module.patch)
    return found


def together(members: Sequence[Begin], weights: Sequence[float], average: Average) -> Begin:
    """An ensemble."""

    def begin(sources: Tokens) -> tuple[Step, State]:
        begun = [member(sources) for member in members]
        return ensemble([step for step, _ in begun], weights, average), EnsembleState(
            tuple(state for _, state in begun)
        )

    return begin


def _step(decoder: Decoder) -> Step:
    def step(last: Tensor, rows: State) -> tuple[Tensor, State]:
        logits, state = decoder.step(last, cast(Rows, rows).state)
        return logits, Rows(state)

    return step


def _watched(decoder: Decoder) -> Step:
    """Where a step looks: the mean over all heads of all attentions to the source."""

    def step(last: Tensor, rows: State) -> tuple[Tensor, State]:
        with recorded(decoder) as weights:
            logits, state = decoder.step(last, cast(Rows, rows).state)
        looks = [each.mean(1)[:, -1] for name, each in weights.items() if name.rpartition(".")[2] == "look"]
        return logits, Rows(state, torch.stack(looks).mean(0))

    return step
