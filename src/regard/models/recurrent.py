"""Recurrent encoder-decoders with attention, the models before the Transformer.

`look="before"` is Bahdanau, Cho and Bengio 2015 ("Neural machine translation by jointly learning to align and
translate"), `look="after"` is Luong, Pham and Manning 2015 ("Effective approaches to attention-based neural machine
translation"), with their input feeding as a choice. In both the context changes at each decoding step (claim N17).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.masks import length_mask
from regard.attention.memory import KeyValues
from regard.attention.multi_head import MultiHeadAttention, initialise
from regard.data.tokens import Tokens
from regard.errors import RecipeError
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.norms import NoNorm, Norm, make_norm
from regard.layers.recurrent import CELLS, BothWays, Cell, CellState, backwards_order
from regard.layers.residual import Residual
from regard.models.interface import Costs, Encoder, Memory, ReadoutDecoder, State


@dataclass(frozen=True)
class Recurrence:
    """The sizes and choices that encoder and decoder share. What is not given is Bahdanau's choice, but for dropout."""

    size: int
    heads: int = 1
    cell: str = "gru"
    bidirectional: bool = True
    look: Literal["before", "after"] = "before"
    input_feeding: bool = False
    score: str = "additive"
    norm: str = "none"
    norm_first: bool = False
    groups: int = 4
    positions: str = "none"
    longest: int = 1024
    bias: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.0
    inner_dropout: float = 0.0


class RecurrentEncoder(Encoder):
    """Ids [B, S] to states [B, S, D]. Layers after the first have residuals; the first is as the papers have it."""

    def __init__(self, vocabulary: int, layers: int, shape: Recurrence) -> None:
        super().__init__()
        self.size = shape.size
        self.embed = _embedding(vocabulary, shape)
        self.longest = self.embed.longest
        self.layers = nn.ModuleList(
            BothWays(shape.size, shape.size, shape.cell, shape.bidirectional, shape.bias) for _ in range(layers)
        )
        self.around = _residuals(layers, shape)
        self.dropout = Dropout(shape.dropout)
        self.norm = _last_norm(shape)

    def forward(self, source: Tokens) -> Memory:
        """A memory as long as the source."""
        turned = backwards_order(source.lengths, source.ids.shape[1])
        first, *others = self.layers
        x = self.dropout(first(self.embed(source.ids), turned))
        for layer, around in zip(others, self.around, strict=True):
            x = around(x, lambda y, layer=layer: layer(y, turned), source.is_real)
        return Memory(self.norm(x, source.is_real), source.lengths)

    def costs(self, length: int) -> Costs:
        """Each position waits for the one before it: n d^2, n steps a layer, and n between the two ends."""
        weights = sum(weight.numel() for weight in self.layers.parameters() if weight.dim() > 1)
        return Costs(length * weights, length * len(self.layers), max(0, length - 1))


@dataclass(frozen=True)
class RecurrentState:
    """What every layer keeps, keys and values of the source, its lengths [B], how many tokens have been read.

    `readout` [B, D] is the last one, for input feeding; None without it.
    """

    layers: tuple[CellState, ...]
    readout: Float[Tensor, "B D"] | None
    source: KeyValues
    source_lengths: Int[Tensor, " B"]
    position: int

    def select(self, rows: Int[Tensor, " R"]) -> RecurrentState:
        """The given rows of the batch."""
        layers = tuple(tuple(one.index_select(0, rows) for one in layer) for layer in self.layers)
        readout = None if self.readout is None else self.readout.index_select(0, rows)
        lengths = self.source_lengths.index_select(0, rows)
        return RecurrentState(layers, readout, self.source.select(rows), lengths, self.position)


class RecurrentDecoder(ReadoutDecoder):
    """Recurrent layers and one attention (`look`) to any encoder's memory, then a readout and logits.

    before: the top layer's last state asks; the cells read [embedding; context]; the readout [top; context; embedding].
    after:  the cells read the embedding (with input feeding the last readout too); the top layer asks; the readout
            [top; context].
    Every layer starts from tanh(W mean of the memory) (Sennrich et al. 2017, Nematus).
    """

    def __init__(
        self, vocabulary: int, layers: int, shape: Recurrence, *, memory_size: int, share_output: bool = True
    ) -> None:
        super().__init__()
        if shape.input_feeding and shape.look == "before":
            raise RecipeError(
                "input feeding gives the cells what was seen; with look=before they read it anyway",
                fix="set model.look=after, or model.input_feeding=false",
            )
        size = shape.size
        self.looks_before, self.feeds = shape.look == "before", shape.input_feeding
        self.embed = _embedding(vocabulary, shape)
        self.longest = self.embed.longest
        inputs = 2 * size if self.looks_before or self.feeds else size
        self.cells = nn.ModuleList(
            CELLS[shape.cell](size if above else inputs, size, shape.bias) for above in range(layers)
        )
        self.around = _residuals(layers, shape, causal=True)
        self.dropout = Dropout(shape.dropout)
        self.norm = _last_norm(shape, causal=True)
        self.look = MultiHeadAttention(
            size,
            shape.heads,
            key_size=memory_size,
            score=shape.score,
            bias=shape.bias,
            weight_dropout=shape.attention_dropout,
        )
        self.initial = nn.ModuleList(
            nn.Linear(memory_size, size, bias=shape.bias) for cell in self._cells() for _ in range(cell.kept)
        )
        self.readout = nn.Linear((3 if self.looks_before else 2) * size, size, bias=shape.bias)
        for linear in (*self.initial, self.readout):
            initialise(cast(nn.Linear, linear))
        self.inner_dropout = Dropout(shape.inner_dropout)
        self.output = nn.Linear(size, vocabulary, bias=False)
        nn.init.normal_(self.output.weight, std=size**-0.5)
        if share_output:
            self.output.weight = self.embed.table.weight

    def states(self, previous: Tokens, memory: Memory) -> Float[Tensor, "B T D"]:
        """Teacher forcing: step by step up to the readouts, or all at once where no step waits for what was seen."""
        state, x = self.start(memory), self.embed(previous.ids)
        may_attend = _may_attend(state)
        if self.looks_before or self.feeds:
            readouts = self._one_by_one(x, state, may_attend)
        else:
            top = self._run(x, state.layers, previous.is_real)
            readouts = self._read(top, self.look(top, state.source, may_attend), x)
        return self.inner_dropout(readouts)  # type: ignore[no-any-return]

    def start(self, memory: Memory) -> RecurrentState:
        """Projects the source once. A source without tokens has mean 0."""
        is_real = torch.arange(memory.states.shape[1], device=memory.lengths.device) < memory.lengths[:, None]
        total = memory.states.masked_fill(~is_real[..., None], 0.0).sum(1)
        mean = total / memory.lengths.clamp(min=1)[:, None].to(total.dtype)
        first = iter([linear(mean).tanh() for linear in self.initial])
        layers = tuple(tuple(islice(first, cell.kept)) for cell in self._cells())
        readout = torch.zeros_like(layers[0][0]) if self.feeds else None
        source = self.look.remember(memory.states)
        source = KeyValues(source.key.contiguous(), source.value.contiguous())  # else each step would copy them
        return RecurrentState(layers, readout, source, memory.lengths, 0)

    def step(self, last_ids: Int[Tensor, " B"], state: State) -> tuple[Float[Tensor, "B V"], RecurrentState]:
        """One position."""
        assert isinstance(state, RecurrentState)
        x = self.embed(last_ids[:, None], first=state.position)[:, 0]
        readout, _, state = self._one(x, state, _may_attend(state))
        return self.output(self.inner_dropout(readout)), state

    def _one(
        self, x: Tensor, state: RecurrentState, may_attend: Tensor | None
    ) -> tuple[Tensor, Tensor, RecurrentState]:
        """(readout [B, D], what asked [B, D], state) after one embedding [B, D]."""
        if self.looks_before:
            query = state.layers[-1][0]
            context = self.look(query[:, None], state.source, may_attend, first=state.position)[:, 0]
            top, layers = self._advance(torch.cat((x, context), dim=-1), state.layers)
        else:
            inputs = x if state.readout is None else torch.cat((x, state.readout), dim=-1)
            query, layers = self._advance(inputs, state.layers)
            top, context = query, self.look(query[:, None], state.source, may_attend, first=state.position)[:, 0]
        readout = self._read(top, context, x)
        fed = readout if self.feeds else None
        return readout, query, replace(state, layers=layers, readout=fed, position=state.position + 1)

    def _one_by_one(self, x: Tensor, state: RecurrentState, may_attend: Tensor | None) -> Tensor:
        """The readouts [B, T, D]."""
        readouts, queries = [], []
        for one in x.unbind(1):
            readout, query, state = self._one(one, state, may_attend)
            readouts.append(readout)
            queries.append(query)
        if self.look.attend.plain:  # somebody records what was looked at: all questions at once, for one picture
            self.look(torch.stack(queries, 1), state.source, may_attend)
        return torch.stack(readouts, 1)

    def _run(self, x: Tensor, states: tuple[CellState, ...], is_real: Tensor) -> Tensor:
        """All positions [B, T, I] through the layers at once: the top [B, T, D]."""
        first, *others = self._cells()
        x = self.dropout(first(x, states[0]))
        for cell, around, state in zip(others, self.around, states[1:], strict=True):
            x = around(x, lambda y, cell=cell, state=state: cell(y, state), is_real)
        top: Tensor = self.norm(x, is_real)
        return top

    def _advance(self, x: Tensor, states: tuple[CellState, ...]) -> tuple[Tensor, tuple[CellState, ...]]:
        """One position [B, I] through the layers: the top [B, D], and their states after it."""
        first, *others = self._cells()
        after = [first.step(x, states[0])]

        def step(y: Tensor, cell: Cell, state: CellState) -> Tensor:
            after.append(cell.step(y[:, 0], state))
            return after[-1][0][:, None]

        x = self.dropout(after[0][0])[:, None]
        for cell, around, state in zip(others, self.around, states[1:], strict=True):
            x = around(x, lambda y, cell=cell, state=state: step(y, cell, state))
        return self.norm(x)[:, 0], tuple(after)

    def _read(self, top: Tensor, context: Tensor, x: Tensor) -> Tensor:
        seen = (top, context, x) if self.looks_before else (top, context)
        readout: Tensor = self.readout(torch.cat(seen, dim=-1)).tanh()
        return readout

    def _cells(self) -> list[Cell]:
        return [cast(Cell, cell) for cell in self.cells]


def _may_attend(state: RecurrentState) -> Tensor | None:
    """The mask of the source; none where all rows are full, as they mostly are in training: steps need not mask."""
    size = state.source.key.shape[2]
    return None if bool((state.source_lengths == size).all()) else length_mask(state.source_lengths, size)


def _embedding(vocabulary: int, shape: Recurrence) -> Embedding:
    return Embedding(vocabulary, shape.size, shape.positions, shape.longest, shape.dropout)


def _norm(shape: Recurrence, causal: bool) -> Norm:
    return make_norm(shape.norm, shape.size, shape.groups, causal)


def _residuals(layers: int, shape: Recurrence, causal: bool = False) -> nn.ModuleList:
    return nn.ModuleList(Residual(_norm(shape, causal), shape.dropout, shape.norm_first) for _ in range(layers - 1))


def _last_norm(shape: Recurrence, causal: bool = False) -> Norm:
    """As in the Transformer: it closes a pre-norm stack."""
    return _norm(shape, causal) if shape.norm_first else NoNorm()
