"""Convolutions with gates, and attention in each decoder layer (Gehring et al. 2017, "Convolutional sequence to
sequence learning"), top down: encoder, decoder, block, gated convolution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.masks import length_mask
from regard.attention.memory import KeyValues
from regard.attention.multi_head import MultiHeadAttention
from regard.data.tokens import Tokens
from regard.layers.convolution import CONVOLUTIONS
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.norms import NoNorm, Norm, make_norm
from regard.layers.residual import Residual
from regard.models.interface import Costs, Encoder, Memory, ReadoutDecoder, State

HALF = math.sqrt(0.5)  # keeps the variance of a sum of two


@dataclass(frozen=True)
class Convolution:
    """The sizes and choices that every block of a stack shares.

    `groups` are those of the group norm and of grouped convolutions. `inner_dropout` is on the input of a convolution.
    With norm="none" each sum is scaled by sqrt(0.5), as in the paper; `norm_first` then makes no difference.
    """

    size: int
    heads: int = 1
    kernel: int = 3
    convolution: str = "plain"
    norm: str = "layer"
    norm_first: bool = False
    groups: int = 4
    positions: str = "sinusoidal"
    longest: int = 1024
    score: str = "scaled_dot"
    bias: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.0
    inner_dropout: float = 0.0


class ConvolutionalEncoder(Encoder):
    """Ids [B, S] to states [B, S, D]. A state knows of as many neighbours as its layers reach.

    Where the paper's attention takes states as keys and states + embeddings as values, a memory holds one thing for
    both: the scaled sum with norm="none", where it helped, and states alone with a norm, where it did not. Gradients
    are not divided by the number of attentions: Adam divides by their size anyway.
    """

    def __init__(self, vocabulary: int, layers: int, shape: Convolution) -> None:
        super().__init__()
        self.size = shape.size
        self.embed = _embedding(vocabulary, shape)
        self.longest = self.embed.longest
        self.blocks = nn.ModuleList(EncoderBlock(shape, layer) for layer in range(layers))
        self.norm = _last_norm(shape)
        self.adds_embedded = shape.norm == "none"

    def forward(self, source: Tokens) -> Memory:
        """A memory as long as the source."""
        x = embedded = self.embed(source.ids)
        is_real = source.is_real
        for block in self.blocks:
            x = block(x, is_real)
        x = self.norm(x, is_real)
        return Memory((x + embedded) * HALF if self.adds_embedded else x, source.lengths)

    def costs(self, length: int) -> Costs:
        """A layer carries as far as its kernel reaches: k n d^2, and n/k layers from one end to the other."""
        weights = sum(weight.numel() for weight in self.blocks.parameters() if weight.dim() > 1)
        spans = (cast(EncoderBlock, block).gated.convolution.span for block in self.blocks)
        reaches = sorted(((span - 1) // 2 for span in spans), reverse=True)
        enough = (layers for layers in range(len(reaches) + 1) if sum(reaches[:layers]) >= length - 1)
        return Costs(length * weights, len(self.blocks), next(enough, None))


@dataclass(frozen=True)
class BlockState:
    """What a decoder block keeps: the last inputs of its convolution, [B, span - 1, D], and the source's keys."""

    window: Float[Tensor, "B W D"]
    source: KeyValues

    def select(self, rows: Tensor) -> BlockState:
        """The given rows of the batch."""
        return BlockState(self.window.index_select(0, rows), self.source.select(rows))


@dataclass(frozen=True)
class ConvolutionalState:
    """What every block keeps, the source's lengths [B], and how many tokens have been read."""

    blocks: tuple[BlockState, ...]
    source_lengths: Int[Tensor, " B"]
    position: int

    def select(self, rows: Int[Tensor, " R"]) -> ConvolutionalState:
        """The given rows of the batch."""
        blocks = tuple(block.select(rows) for block in self.blocks)
        return ConvolutionalState(blocks, self.source_lengths.index_select(0, rows), self.position)


class ConvolutionalDecoder(ReadoutDecoder):
    """Gated convolutions that look back, each followed by a look at the memory; logits.

    A step computes one position from a window a layer: as much work at the end of a long text as at its start.
    """

    def __init__(
        self, vocabulary: int, layers: int, shape: Convolution, *, memory_size: int, share_output: bool = True
    ) -> None:
        super().__init__()
        self.embed = _embedding(vocabulary, shape)
        self.longest = self.embed.longest
        self.blocks = nn.ModuleList(DecoderBlock(shape, layer, memory_size) for layer in range(layers))
        self.norm = _last_norm(shape, causal=True)
        self.output = nn.Linear(shape.size, vocabulary, bias=False)
        nn.init.normal_(self.output.weight, std=shape.size**-0.5)
        if share_output:
            self.output.weight = self.embed.table.weight

    def states(self, previous: Tokens, memory: Memory) -> Float[Tensor, "B T D"]:
        """Teacher forcing. The ids are padded on the right, so looking back never meets padding."""
        x = embedded = self.embed(previous.ids)
        may_attend = length_mask(memory.lengths, memory.states.shape[1])
        for block in self.blocks:
            x = block(x, embedded, memory.states, may_attend, previous.is_real)
        return self.norm(x, previous.is_real)  # type: ignore[no-any-return]

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The blocks."""
        return tuple(self.blocks)

    def early(self, states: Float[Tensor, "B T D"]) -> Float[Tensor, "B T V"]:
        """Norm and output as after the last block."""
        logits: Tensor = self.output(self.norm(states))
        return logits

    def start(self, memory: Memory) -> ConvolutionalState:
        """Projects the source once; steps only read it."""
        return ConvolutionalState(tuple(block.start(memory.states) for block in self._blocks()), memory.lengths, 0)

    def step(self, last_ids: Int[Tensor, " B"], state: State) -> tuple[Float[Tensor, "B V"], ConvolutionalState]:
        """One position; its code is that of the position it really has (fault E1)."""
        assert isinstance(state, ConvolutionalState)
        x = embedded = self.embed(last_ids[:, None], first=state.position)
        may_attend = length_mask(state.source_lengths, state.blocks[0].source.key.shape[2]) if state.blocks else None
        blocks = []
        for block, kept in zip(self._blocks(), state.blocks, strict=True):
            x, new = block.step(x, embedded, kept, may_attend, state.position)
            blocks.append(new)
        logits = self.output(self.norm(x))[:, 0]
        return logits, ConvolutionalState(tuple(blocks), state.source_lengths, state.position + 1)

    def _blocks(self) -> Iterator[DecoderBlock]:
        return (cast(DecoderBlock, block) for block in self.blocks)


class EncoderBlock(nn.Module):
    """A gated convolution to both sides, with add and norm."""

    def __init__(self, shape: Convolution, layer: int) -> None:
        super().__init__()
        self.gated = GatedConvolution(shape, layer)
        self.around = _residual(shape)

    def forward(self, x: Float[Tensor, "B S D"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """The same shape."""
        return self.around(x, lambda y: self.gated(y, is_real), is_real)  # type: ignore[no-any-return]


class DecoderBlock(nn.Module):
    """A gated convolution that looks back, and what it finds in the memory (`look`); add and norm around both."""

    def __init__(self, shape: Convolution, layer: int, memory_size: int) -> None:
        super().__init__()
        self.gated = GatedConvolution(shape, layer)
        self.look = MultiHeadAttention(
            shape.size,
            shape.heads,
            key_size=memory_size,
            value_size=memory_size,
            score=shape.score,
            bias=shape.bias,
            weight_dropout=shape.attention_dropout,
        )
        self.around = _residual(shape, causal=True)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        embedded: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S M"],
        may_attend: Tensor,
        is_real: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "B T D"]:
        """All positions at once, none looking ahead."""
        source = self.look.remember(memory)

        def sublayer(y: Tensor) -> Tensor:
            return self._look(self.gated(y, causal=True), embedded, source, may_attend)

        return self.around(x, sublayer, is_real)  # type: ignore[no-any-return]

    def start(self, memory: Float[Tensor, "B S M"]) -> BlockState:
        """Nothing read so far."""
        return BlockState(self.gated.convolution.first_window(memory), self.look.remember(memory))

    def step(
        self,
        x: Float[Tensor, "B 1 D"],
        embedded: Float[Tensor, "B 1 D"],
        kept: BlockState,
        may_attend: Tensor | None,
        position: int,
    ) -> tuple[Float[Tensor, "B 1 D"], BlockState]:
        """One position, with the last inputs of the convolution."""
        windows: list[Tensor] = []

        def sublayer(y: Tensor) -> Tensor:
            gated, window = self.gated.step(y, kept.window)
            windows.append(window)
            return self._look(gated, embedded, kept.source, may_attend, position)

        x = self.around(x, sublayer)
        return x, BlockState(windows[0], kept.source)

    def _look(
        self, gated: Tensor, embedded: Tensor, source: KeyValues, may_attend: Tensor | None, first: int = 0
    ) -> Tensor:
        """The layer asks with its output and the token it stands at, and adds what it is told (section 3.3)."""
        found: Tensor = self.look((gated + embedded) * HALF, source, may_attend, first=first)
        return gated + found


class GatedConvolution(nn.Module):
    """Dropout, a convolution to twice the features, one half gated by the sigmoid of the other (section 3.2)."""

    def __init__(self, shape: Convolution, layer: int) -> None:
        super().__init__()
        self.dropout = Dropout(shape.inner_dropout)
        make = CONVOLUTIONS[shape.convolution]
        self.convolution = make(shape.size, 2 * shape.size, shape.kernel, layer, shape.groups, shape.bias)
        _make_up_for_gates(self.convolution, 1 - shape.inner_dropout)

    def forward(
        self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None, causal: bool = False
    ) -> Float[Tensor, "B T D"]:
        """The same shape."""
        return functional.glu(self.convolution(self.dropout(x), is_real, causal))

    def step(
        self, x: Float[Tensor, "B 1 D"], window: Float[Tensor, "B W D"]
    ) -> tuple[Float[Tensor, "B 1 D"], Float[Tensor, "B W D"]]:
        """One position, and the window that includes it."""
        output, window = self.convolution.step(self.dropout(x), window)
        return functional.glu(output), window


def _make_up_for_gates(convolution: nn.Module, kept: float) -> None:
    """Four times the variance, for a gate takes about as much away, less what dropout adds (section 3.5)."""
    weights = [weight for weight in convolution.parameters() if weight.dim() > 1]
    with torch.no_grad():
        for weight in weights:
            weight.mul_((4 * kept) ** (0.5 / len(weights)))


def _embedding(vocabulary: int, shape: Convolution) -> Embedding:
    return Embedding(vocabulary, shape.size, shape.positions, shape.longest, shape.dropout)


class _Halved(Norm):
    """No norm: the scale that keeps the variance of a residual sum (section 3.5)."""

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape; `is_real` makes no difference."""
        return x * HALF


def _residual(shape: Convolution, causal: bool = False) -> Residual:
    if shape.norm == "none":
        return Residual(_Halved(), shape.dropout, norm_first=False)
    return Residual(make_norm(shape.norm, shape.size, shape.groups, causal), shape.dropout, shape.norm_first)


def _last_norm(shape: Convolution, causal: bool = False) -> Norm:
    """Pre-norm leaves the sum of all blocks un-normalised, so one norm closes the stack; post-norm needs none."""
    return make_norm(shape.norm, shape.size, shape.groups, causal) if shape.norm_first else NoNorm()
