"""The step of a Transformer's decoder in few and large operations; models/transformer.py says what it computes.

Nothing is a module here: all weights stand where `Engine` put them once, and a step calls torch's functions on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from regard.attention.attend import SHORT
from regard.engine.cache import BLOCK, Source, State, Turn, Written
from regard.engine.linear import Linear
from regard.engine.weights import Attention, Block, Embed, factor, norm_of, why_not
from regard.errors import UsageError
from regard.models.interface import Memory
from regard.models.transformer import DecoderBlock, TransformerDecoder

MANY = 64  # queries of a head from which on two products were measured to beat the fused kernel, up to 1.13 times


class Kept(NamedTuple):
    """What one block attends to in one step: the slots to fill, all slots, and the source."""

    new: Float[Tensor, "2 A H W K"]
    own: tuple[Float[Tensor, "A H N K"], Float[Tensor, "A H N K"]]
    source: tuple[Float[Tensor, "A H S K"], Float[Tensor, "A H S K"]]


class Engine:
    """Runs a trained decoder; made anew when its weights change. UsageError for what `why_not` refuses.

    The caller chooses `torch.inference_mode`.
    """

    def __init__(self, decoder: TransformerDecoder) -> None:
        reason = why_not(decoder)
        if reason:
            raise UsageError(reason, fix="use the decoder itself")
        modules = [cast(DecoderBlock, block) for block in decoder.blocks]
        self.embed = Embed(decoder.embed)
        self.blocks = [Block.of(block) for block in modules]
        self.heads = modules[0].attention.heads
        self.head_size = decoder.output.in_features // self.heads
        looks = [block.look for block in modules]
        scales = [scale for look in looks for scale in (factor(look), 1.0)]
        self.source = Linear([layer for look in looks for layer in (look.key, look.value)], scales)
        self.norm = norm_of(decoder.norm)
        self.output = Linear((decoder.output,))

    def start(self, memory: Memory, watch: bool = False) -> State:
        """The state before any token: one row a sentence. `watch` makes each step say where it looked."""
        states = memory.states if memory.states.shape[1] else functional.pad(memory.states, (0, 0, 0, 1))
        count, size, _ = states.shape
        projected = self.source(states.flatten(0, 1)).view(count, size, len(self.blocks), 2, self.heads, self.head_size)
        source = Source.of(projected.permute(2, 3, 0, 4, 1, 5).contiguous(), memory.lengths)
        pairs = projected.new_empty(len(self.blocks), 2, count, self.heads, BLOCK, self.head_size)
        return State(source, Written(pairs, (), 0, None), 1, watch, None, Turn(), 0)

    def step(self, last_ids: Int[Tensor, " R"], state: State) -> tuple[Float[Tensor, "R V"], State]:
        """Logits after `last_ids`, a tensor that is the caller's to write in, and the state that includes them."""
        number, position = state.turn.take(state.number), len(state.written.widths)
        x = self.embed(last_ids, position)
        step = _Step(state.source, state.written.grow(state.hypotheses), state.hypotheses, state.watch)
        for block, kept in zip(self.blocks, step.kept(), strict=True):
            x = step.run(block, x, kept)
        logits = self.output(self.norm(x) if self.norm else x)
        return logits, replace(state, written=step.written, looked=step.looked(), number=number)


class _Step:
    """One position of all rows: what its blocks share."""

    def __init__(self, source: Source, written: Written, hypotheses: int, watch: bool) -> None:
        self.source, self.written, self.hypotheses, self.watch = source, written, hypotheses, watch
        self.sentences, self.heads = written.pairs.shape[2:4]
        self.position = len(written.widths) - 1
        self.weights: list[Tensor] = []

    def kept(self) -> Iterator[Kept]:
        """For each block."""
        filled = self.written.pairs.narrow(4, 0, self.written.slots)
        new = filled.narrow(4, self.written.slots - self.hypotheses, self.hypotheses)
        return map(Kept, new.unbind(0), in_pairs(filled), in_pairs(self.source.pairs))

    def run(self, block: Block, x: Tensor, kept: Kept) -> Tensor:
        """Self-attention, attention to the source, feed-forward."""
        x = block.around_attention(x, lambda y: self._attend(block.attention, y, kept), block.attention.leave)
        if block.look is not None and block.around_look is not None:
            look = block.look
            x = block.around_look(x, lambda y: self._look(look, y, kept), look.leave)
        return block.around_inner(x, block.inner, block.inner.narrow)

    def looked(self) -> Tensor | None:
        """The mean over blocks and heads of the attention to the source, [R, S]."""
        return torch.stack(self.weights).mean((0, 2)).flatten(0, 1) if self.watch else None

    def _attend(self, attention: Attention, y: Tensor, kept: Kept) -> Tensor:
        """Each hypothesis to its own past, itself included."""
        entered, mask = attention.enter(y), self.written.mask
        if attention.relative is not None:
            entered = turn(attention, entered, self.position)
            mask = self._with_distances(attention, entered, mask)
        split = entered.view(self.sentences, self.hypotheses, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        kept.new.copy_(split[1:])
        return self._join(attend(split[0], *kept.own, mask))

    def _look(self, attention: Attention, y: Tensor, kept: Kept) -> Tensor:
        """The hypotheses of a sentence to its source."""
        query = attention.enter(y).view(self.sentences, self.hypotheses, self.heads, -1).transpose(1, 2)
        if not self.watch:
            return self._join(attend(query, *kept.source, self.source.mask))
        mixed, weights = attend_watched(query, *kept.source, self.source.mask)
        self.weights.append(weights)
        return self._join(mixed)

    def _with_distances(self, attention: Attention, entered: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask and what the distance of each slot adds to the scores."""
        assert attention.relative is not None
        query = entered.view(len(entered), 3, attention.heads, 1, -1)[:, 0]  # [R, H, 1, K]
        bias: Tensor | None = attention.relative.bias(query, self.position, self.position + 1)  # [R or 1, H, 1, T]
        if bias is None:
            return mask
        bias = bias.index_select(3, self.written.positions).expand(len(entered), attention.heads, 1, -1)
        bias = bias.reshape(self.sentences, self.hypotheses, attention.heads, -1).transpose(1, 2)  # [A, H, W, N]
        return bias if mask is None else bias + mask

    def _join(self, mixed: Float[Tensor, "A H W K"]) -> Float[Tensor, "R D"]:
        return mixed.transpose(1, 2).reshape(self.sentences * self.hypotheses, -1)


def in_pairs(pairs: Float[Tensor, "L 2 A H S K"]) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values of each block."""
    flat = pairs.flatten(0, 1).unbind(0)
    return zip(flat[::2], flat[1::2], strict=True)


def turn(attention: Attention, entered: Float[Tensor, "R D3"], position: int) -> Float[Tensor, "R D3"]:
    """With queries and keys turned as they stand at `position`."""
    assert attention.relative is not None
    query, key, value = entered.view(len(entered), 3, attention.heads, 1, -1).unbind(1)  # [R, H, 1, K]
    turned = (attention.relative.turn(query, position), attention.relative.turn(key, position), value)
    return torch.stack(turned, 1).view_as(entered)


def attend(
    query: Float[Tensor, "A H W K"],
    key: Float[Tensor, "A H S K"],
    value: Float[Tensor, "A H S K"],
    mask: Tensor | None,
) -> Float[Tensor, "A H W K"]:
    """The mean of the values: one call for few queries, or many keys; else two products, which were measured faster."""
    if len(query) * query.shape[2] >= MANY and key.shape[2] <= SHORT:
        return attend_watched(query, key, value, mask)[0]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)


def attend_watched(
    query: Float[Tensor, "A H W K"],
    key: Float[Tensor, "A H S K"],
    value: Float[Tensor, "A H S K"],
    mask: Tensor | None,
) -> tuple[Float[Tensor, "A H W K"], Float[Tensor, "A H W S"]]:
    """The same, with its weights."""
    scores = query @ key.transpose(2, 3)
    weights = (scores if mask is None else scores.add_(mask)).softmax(3)
    return weights @ value, weights
