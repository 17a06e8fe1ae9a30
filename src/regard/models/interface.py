"""Read this first: what an encoder, a decoder, a memory and a state are. Any encoder works with any decoder.

    memory = encoder(source)                       # once a sentence
    logits = decoder(previous, memory)             # training: all target positions at once (teacher forcing)
    state = decoder.start(memory)                  # prediction: one position a step, from bos on
    logits, state = decoder.step(last_ids, state)
    state = state.select(rows)                     # all that a beam needs: keep, repeat, reorder rows

State goes in and comes out. No module remembers anything between calls (fault E3 of the notes).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.data.tokens import Tokens


@dataclass(frozen=True)
class Memory:
    """What an encoder says about its source: states [B, S, D] and how many of each row are real [B]."""

    states: Float[Tensor, "B S D"]
    lengths: Int[Tensor, " B"]


@runtime_checkable
class State(Protocol):
    """What a decoder knows after some steps, one row a hypothesis."""

    def select(self, rows: Int[Tensor, " R"]) -> State:
        """The given rows in the given order, repeats allowed."""
        ...


@dataclass(frozen=True)
class Costs:
    """What an encoder's layers cost for one sequence (claim N10).

    `operations`: multiply-adds; `sequential_steps`: operations that must wait for each other, layers and positions
    counted; `longest_path`: steps between the two ends of the sequence, None where the last never hears of the first.
    """

    operations: int
    sequential_steps: int
    longest_path: int | None


class Encoder(nn.Module, ABC):
    """Source tokens to a memory.

    `size` is the D of its states; `longest` the most tokens it can read, None: any number.
    """

    size: int
    longest: int | None

    @abstractmethod
    def forward(self, source: Tokens) -> Memory:
        """Ids [B, S] to states [B, S, D]; padding changes nothing in the real positions."""

    def costs(self, length: int) -> Costs | None:
        """What reading a sequence of `length` tokens costs; None: not said."""
        return None


class Decoder(nn.Module, ABC):
    """Earlier target tokens and a memory to logits for the next token. `longest` as for an encoder."""

    longest: int | None

    @abstractmethod
    def forward(self, previous: Tokens, memory: Memory) -> Float[Tensor, "B T V"]:
        """Logits [B, T, V] for the token after each of the previous ones; none depends on a later one."""

    @abstractmethod
    def start(self, memory: Memory) -> State:
        """The state before any token."""

    @abstractmethod
    def step(self, last_ids: Int[Tensor, " B"], state: State) -> tuple[Float[Tensor, "B V"], State]:
        """Logits [B, V] for the token after `last_ids`, and the state that includes them."""


class ReadoutDecoder(Decoder):
    """A decoder whose logits are one product of its last states: a loss may then be had without all of the logits.

    `output` maps states to logits. Where each of the modules of `layers` gives states of all positions, `early` says
    what the output layer would make of them; there are none where states do not grow layer by layer.
    """

    output: nn.Linear

    @property
    def layers(self) -> Sequence[nn.Module]:
        """Whose outputs are states [B, T, D], from the first to the last."""
        return ()

    def early(self, states: Float[Tensor, "B T D"]) -> Float[Tensor, "B T V"]:
        """The logits of states as one of `layers` gives them (nostalgebraist 2020, "the logit lens")."""
        logits: Tensor = self.output(states)
        return logits

    @abstractmethod
    def states(self, previous: Tokens, memory: Memory) -> Float[Tensor, "B T D"]:
        """What `output` is applied to, for the token after each of the previous ones; none depends on a later one."""

    def forward(self, previous: Tokens, memory: Memory) -> Float[Tensor, "B T V"]:
        """Teacher forcing: `output` of the states."""
        logits: Tensor = self.output(self.states(previous, memory))
        return logits


class EncoderDecoder(nn.Module):
    """An encoder and a decoder that reads its memory (claim N16)."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, source: Tokens, previous: Tokens) -> Float[Tensor, "B T V"]:
        """Teacher forcing: logits [B, T, V] for all target positions at once."""
        logits: Tensor = self.decoder(previous, self.encoder(source))
        return logits

    def encode(self, source: Tokens) -> Memory:
        """The source's latent vectors (claim N20)."""
        memory: Memory = self.encoder(source)
        return memory
