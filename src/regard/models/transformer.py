"""The Transformer (Vaswani et al. 2017, "Attention is all you need"), top down: encoder, decoder, block, embedding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.masks import length_mask
from regard.attention.memory import KeyValues
from regard.attention.multi_head import MultiHeadAttention, initialise
from regard.data.tokens import Tokens
from regard.layers.dropout import Dropout
from regard.layers.feed_forward import FeedForward
from regard.layers.norms import NORMS
from regard.layers.positions import POSITIONS
from regard.layers.residual import Residual
from regard.models.interface import Decoder, Encoder, Memory, State


@dataclass(frozen=True)
class Shape:
    """The sizes and choices that every block of a stack shares. The paper's base: Shape(512, 8, 2048) (claim N19)."""

    size: int
    heads: int
    inner: int
    norm: str = "layer"
    norm_first: bool = False
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
        self.embed = Embedding(vocabulary, shape)
        self.longest = self.embed.positions.longest
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(layers))
        self.norm = _last_norm(shape)

    def forward(self, source: Tokens) -> Memory:
        """A memory as long as the source."""
        x = self.embed(source.ids)
        may_attend = length_mask(source.lengths, source.ids.shape[1])
        for block in self.blocks:
            x = block(x, may_attend)
        return Memory(self.norm(x), source.lengths)


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


class TransformerDecoder(Decoder):
    """Masked self-attention, attention to the memory, feed-forward, logits (claims N14, N15)."""

    def __init__(
        self, vocabulary: int, layers: int, shape: Shape, *, memory_size: int, share_output: bool = True
    ) -> None:
        super().__init__()
        self.embed = Embedding(vocabulary, shape)
        self.longest = self.embed.positions.longest
        self.blocks = nn.ModuleList(DecoderBlock(shape, memory_size) for _ in range(layers))
        self.norm = _last_norm(shape)
        self.output = nn.Linear(shape.size, vocabulary, bias=False)
        nn.init.normal_(self.output.weight, std=shape.size**-0.5)
        if share_output:
            self.output.weight = self.embed.table.weight

    def forward(self, previous: Tokens, memory: Memory) -> Float[Tensor, "B T V"]:
        """Teacher forcing. The ids are padded on the right, so looking back never meets padding."""
        x = self.embed(previous.ids)
        may_attend = length_mask(memory.lengths, memory.states.shape[1])
        for block in self.blocks:
            x = block(x, memory.states, may_attend)
        return self.output(self.norm(x))  # type: ignore[no-any-return]

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
            x, new = block.step(x, kept, may_attend)
            blocks.append(new)
        logits = self.output(self.norm(x))[:, 0]
        return logits, TransformerState(tuple(blocks), state.source_lengths, state.position + 1)

    def _blocks(self) -> Iterator[DecoderBlock]:
        return (cast(DecoderBlock, block) for block in self.blocks)


class EncoderBlock(nn.Module):
    """Self-attention, feed-forward; each with add and norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = _attention(shape, shape.size)
        self.feed_forward = _feed_forward(shape)
        self.around_attention = _residual(shape)
        self.around_feed_forward = _residual(shape)

    def forward(self, x: Float[Tensor, "B S D"], may_attend: Tensor) -> Float[Tensor, "B S D"]:
        """The same shape."""
        x = self.around_attention(x, lambda y: self.attention(y, self.attention.remember(y), may_attend))
        return self.around_feed_forward(x, self.feed_forward)  # type: ignore[no-any-return]


class DecoderBlock(nn.Module):
    """Masked self-attention, attention to the memory (`look`), feed-forward; each with add and norm."""

    def __init__(self, shape: Shape, memory_size: int) -> None:
        super().__init__()
        self.attention = _attention(shape, shape.size)
        self.look = _attention(shape, memory_size)
        self.feed_forward = _feed_forward(shape)
        self.around_attention = _residual(shape)
        self.around_look = _residual(shape)
        self.around_feed_forward = _residual(shape)

    def forward(
        self, x: Float[Tensor, "B T D"], memory: Float[Tensor, "B S M"], may_attend: Tensor
    ) -> Float[Tensor, "B T D"]:
        """All positions at once, none looking ahead."""
        x = self.around_attention(x, lambda y: self.attention(y, self.attention.remember(y), is_causal=True))
        x = self.around_look(x, lambda y: self.look(y, self.look.remember(memory), may_attend))
        return self.around_feed_forward(x, self.feed_forward)  # type: ignore[no-any-return]

    def step(
        self, x: Float[Tensor, "B 1 D"], kept: BlockState, may_attend: Tensor | None
    ) -> tuple[Float[Tensor, "B 1 D"], BlockState]:
        """One position, with the keys and values of the earlier ones."""
        seen: list[KeyValues] = []

        def attend(y: Tensor) -> Tensor:
            new = self.attention.remember(y)
            seen.append(kept.own.append(new.key, new.value) if kept.own else new)
            attended: Tensor = self.attention(y, seen[0])
            return attended

        x = self.around_attention(x, attend)
        x = self.around_look(x, lambda y: self.look(y, kept.source, may_attend))
        return self.around_feed_forward(x, self.feed_forward), BlockState(seen[0], kept.source)


class Embedding(nn.Module):
    """A (vocabulary, D) table times sqrt(D), positions, dropout (sections 3.4, 3.5; claims N13, N20)."""

    def __init__(self, vocabulary: int, shape: Shape) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, shape.size)
        nn.init.normal_(self.table.weight, std=shape.size**-0.5)
        self.positions = POSITIONS[shape.positions](shape.size, shape.longest)
        self.dropout = Dropout(shape.dropout)

    def forward(self, ids: Int[Tensor, "B T"], first: int = 0) -> Float[Tensor, "B T D"]:
        """`first` is how many tokens came before these."""
        x = self.table(ids) * math.sqrt(self.table.embedding_dim)
        return self.dropout(self.positions(x, first))  # type: ignore[no-any-return]


def _attention(shape: Shape, looked_at: int) -> MultiHeadAttention:
    attention = MultiHeadAttention(
        shape.size,
        shape.heads,
        key_size=looked_at,
        value_size=looked_at,
        score=shape.score,
        bias=shape.bias,
        weight_dropout=shape.attention_dropout,
    )
    initialise(attention)
    return attention


def _feed_forward(shape: Shape) -> FeedForward:
    network = FeedForward(
        shape.size,
        shape.inner,
        activation=shape.activation,
        gated=shape.gated,
        bias=shape.bias,
        drop=shape.inner_dropout,
    )
    for parameter in network.parameters():
        torch.nn.init.xavier_uniform_(parameter) if parameter.dim() > 1 else torch.nn.init.zeros_(parameter)
    return network


def _residual(shape: Shape) -> Residual:
    return Residual(NORMS[shape.norm](shape.size), shape.dropout, shape.norm_first)


def _last_norm(shape: Shape) -> nn.Module:
    """Pre-norm leaves the sum of all blocks un-normalised, so one norm closes the stack; post-norm needs none."""
    return NORMS[shape.norm](shape.size) if shape.norm_first else nn.Identity()
