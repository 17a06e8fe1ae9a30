"""The Transformer (Vaswani et al. 2017, "Attention is all you need"), top down: encoder, decoder, block, embedding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.masks import length_mask
from regard.attention.memory import KeyValues
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.relative import RELATIVE
from regard.data.tokens import Tokens
from regard.layers.embedding import Embedding
from regard.layers.feed_forward import FeedForward
from regard.layers.norms import NoNorm, Norm, make_norm
from regard.layers.residual import Residual
from regard.models.interface import Costs, Encoder, Memory, ReadoutDecoder, State


@dataclass(frozen=True)
class Shape:
    """The sizes and choices that every block of a stack shares. The paper's base: Shape(512, 8, 2048) (claim N19)."""

    size: int
    heads: int
    inner: int
    norm: str = "layer"
    norm_first: bool = False
    groups: int = 4
    activation: str = "relu"
    gated: bool = False
    positions: str = "sinusoidal"
    longest: int = 1024
    score: str = "scaled_dot"
    bias: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.0
    inner_dropout: float = 0.0


class TransformerEncoder(Encoder):
    """Ids [B, S] to states [B, S, D] through blocks that keep the shape (claim N13)."""

    def __init__(self, vocabulary: int, layers: int, shape: Shape) -> None:
        super().__init__()
        self.size = shape.size
        self.embed = _embedding(vocabulary, shape)
        self.longest = self.embed.longest
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(layers))
        self.norm = _last_norm(shape)

    def forward(self, source: Tokens) -> Memory:
        """A memory as long as the source."""
        x = self.embed(source.ids)
        may_attend = length_mask(source.lengths, source.ids.shape[1])
        for block in self.blocks:
            x = block(x, may_attend, source.is_real)
        return Memory(self.norm(x, source.is_real), source.lengths)

    def costs(self, length: int) -> Costs:
        """Each position looks at each other one: n^2 d, and any two are one step apart."""
        weights = sum(weight.numel() for weight in self.blocks.parameters() if weight.dim() > 1)
        operations = length * weights + len(self.blocks) * 2 * length**2 * self.size
        return Costs(operations, len(self.blocks), 1)


@dataclass(frozen=True)
class BlockState:
    """What a decoder block keeps: its own earlier positions (None before the first) and the source's."""

    own: KeyValues | None
    source: KeyValues

    def select(self, rows: Tensor) -> BlockState:
        """The given rows of the batch."""
        return BlockState(self.own.select(rows) if self.own else None, self.source.select(rows))


@dataclass(frozen=True)
class TransformerState:
    """Keys and values of every block, the source's lengths [B], and how many tokens have been read."""

    blocks: tuple[BlockState, ...]
    source_lengths: Int[Tensor, " B"]
    position: int

    def select(self, rows: Int[Tensor, " R"]) -> TransformerState:
        """The given rows of the batch."""
        blocks = tuple(block.select(rows) for block in self.blocks)
        return TransformerState(blocks, self.source_lengths.index_select(0, rows), self.position)


class TransformerDecoder(ReadoutDecoder):
    """Masked self-attention, attention to the memory, feed-forward, logits (claims N14, N15)."""

    def __init__(
        self, vocabulary: int, layers: int, shape: Shape, *, memory_size: int, share_output: bool = True
    ) -> None:
        super().__init__()
        self.embed = _embedding(vocabulary, shape)
        self.longest = self.embed.longest
        self.blocks = nn.ModuleList(DecoderBlock(shape, memory_size) for _ in range(layers))
        self.norm = _last_norm(shape, causal=True)
        self.output = nn.Linear(shape.size, vocabulary, bias=False)
        nn.init.normal_(self.output.weight, std=shape.size**-0.5)
        if share_output:
            self.output.weight = self.embed.table.weight

    def states(self, previous: Tokens, memory: Memory) -> Float[Tensor, "B T D"]:
        """Teacher forcing. The ids are padded on the right, so looking back never meets padding."""
        x = self.embed(previous.ids)
        may_attend = length_mask(memory.lengths, memory.states.shape[1])
        for block in self.blocks:
            x = block(x, memory.states, may_attend, previous.is_real)
        return self.norm(x, previous.is_real)  # type: ignore[no-any-return]

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The blocks."""
        return tuple(self.blocks)

    def early(self, states: Float[Tensor, "B T D"]) -> Float[Tensor, "B T V"]:
        """Norm and output as after the last block."""
        logits: Tensor = self.output(self.norm(states))
        return logits

    def start(self, memory: Memory) -> TransformerState:
        """Projects the source once; steps only read it."""
        blocks = tuple(BlockState(None, block.look.remember(memory.states)) for block in self._blocks())
        return TransformerState(blocks, memory.lengths, 0)

    def step(self, last_ids: Int[Tensor, " B"], state: State) -> tuple[Float[Tensor, "B V"], TransformerState]:
        """One position; its code is that of the position it really has (fault E1)."""
        assert isinstance(state, TransformerState)
        x = self.embed(last_ids[:, None], first=state.position)
        may_attend = length_mask(state.source_lengths, state.blocks[0].source.key.shape[2]) if state.blocks else None
        blocks = []
        for block, kept in zip(self._blocks(), state.blocks, strict=True):
            x, new = block.step(x, kept, may_attend, state.position)
            blocks.append(new)
        logits = self.output(self.norm(x))[:, 0]
        return logits, TransformerState(tuple(blocks), state.source_lengths, state.position + 1)

    def _blocks(self) -> Iterator[DecoderBlock]:
        return (cast(DecoderBlock, block) for block in self.blocks)


class EncoderBlock(nn.Module):
    """Self-attention, feed-forward; each with add and norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = _self_attention(shape, causal=False)
        self.feed_forward = _feed_forward(shape)
        self.around_attention = _residual(shape)
        self.around_feed_forward = _residual(shape)

    def forward(self, x: Float[Tensor, "B S D"], may_attend: Tensor, is_real: Tensor) -> Float[Tensor, "B S D"]:
        """The same shape."""
        x = self.around_attention(x, lambda y: self.attention.all_at_once(y, may_attend), is_real)
        return self.around_feed_forward(x, self.feed_forward, is_real)  # type: ignore[no-any-return]


class DecoderBlock(nn.Module):
    """Masked self-attention, attention to the memory (`look`), feed-forward; each with add and norm."""

    def __init__(self, shape: Shape, memory_size: int) -> None:
        super().__init__()
        self.attention = _self_attention(shape, causal=True)
        self.look = MultiHeadAttention(
            shape.size,
            shape.heads,
            key_size=memory_size,
            score=shape.score,
            bias=shape.bias,
            weight_dropout=shape.attention_dropout,
        )
        self.feed_forward = _feed_forward(shape)
        self.around_attention = _residual(shape, causal=True)
        self.around_look = _residual(shape, causal=True)
        self.around_feed_forward = _residual(shape, causal=True)

    def forward(
        self, x: Float[Tensor, "B T D"], memory: Float[Tensor, "B S M"], may_attend: Tensor, is_real: Tensor
    ) -> Float[Tensor, "B T D"]:
        """All positions at once, none looking ahead."""
        x = self.around_attention(x, lambda y: self.attention.all_at_once(y, is_causal=True), is_real)
        x = self.around_look(x, lambda y: self.look(y, self.look.remember(memory), may_attend), is_real)
        return self.around_feed_forward(x, self.feed_forward, is_real)  # type: ignore[no-any-return]

    def step(
        self, x: Float[Tensor, "B 1 D"], kept: BlockState, may_attend: Tensor | None, position: int
    ) -> tuple[Float[Tensor, "B 1 D"], BlockState]:
        """One position, with the keys and values of the earlier ones."""
        seen: list[KeyValues] = []

        def attend(y: Tensor) -> Tensor:
            new = self.attention.remember(y, first=position)
            seen.append(kept.own.append(new.key, new.value) if kept.own else new)
            attended: Tensor = self.attention(y, seen[0], first=position)
            return attended

        x = self.around_attention(x, attend)
        x = self.around_look(x, lambda y: self.look(y, kept.source, may_attend, first=position))
        return self.around_feed_forward(x, self.feed_forward), BlockState(seen[0], kept.source)


def _embedding(vocabulary: int, shape: Shape) -> Embedding:
    return Embedding(vocabulary, shape.size, shape.positions, shape.longest, shape.dropout, self_attention=True)


def _self_attention(shape: Shape, causal: bool) -> MultiHeadAttention:
    make = RELATIVE.get(shape.positions)
    relative = make(shape.heads, shape.size // shape.heads, causal) if make else None
    return MultiHeadAttention(
        shape.size,
        shape.heads,
        score=shape.score,
        bias=shape.bias,
        weight_dropout=shape.attention_dropout,
        relative=relative,
    )


def _feed_forward(shape: Shape) -> FeedForward:
    return FeedForward(
        shape.size,
        shape.inner,
        activation=shape.activation,
        gated=shape.gated,
        bias=shape.bias,
        drop=shape.inner_dropout,
    )


def _norm(shape: Shape, causal: bool) -> Norm:
    return make_norm(shape.norm, shape.size, shape.groups, causal)


def _residual(shape: Shape, causal: bool = False) -> Residual:
    return Residual(_norm(shape, causal), shape.dropout, shape.norm_first)


def _last_norm(shape: Shape, causal: bool = False) -> Norm:
    """Pre-norm leaves the sum of all blocks un-normalised, so one norm closes the stack; post-norm needs none."""
    return _norm(shape, causal) if shape.norm_first else NoNorm()
