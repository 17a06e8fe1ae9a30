"""The encoder's whole pass with the engine's products: all positions of all sentences are rows."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.data.tokens import Tokens
from regard.engine.transformer import attend
from regard.engine.weights import Attention, Block, Embed, norm_of, why_not
from regard.errors import UsageError
from regard.models.interface import Memory
from regard.models.transformer import TransformerEncoder


class EncoderEngine:
    """Runs a trained encoder; made anew when its weights change. UsageError for what `why_not` refuses."""

    def __init__(self, encoder: TransformerEncoder) -> None:
        reason = why_not(encoder)
        if reason:
            raise UsageError(reason, fix="use the encoder itself")
        self.embed = Embed(encoder.embed)
        self.blocks = [Block.of(block) for block in encoder.blocks]  # type: ignore[arg-type]
        self.norm = norm_of(encoder.norm)

    def __call__(self, source: Tokens) -> Memory:
        """A memory as long as the source."""
        shape = source.ids.shape
        x = self.embed(source.ids, 0).flatten(0, 1)
        mask = _mask(source, x.dtype)
        for block in self.blocks:
            x = _run(block, x, shape, mask)
        x = self.norm(x) if self.norm else x
        return Memory(x.view(*shape, -1), source.lengths)


def _run(block: Block, x: Tensor, shape: torch.Size, mask: Tensor | None) -> Tensor:
    x = block.around_attention(x, lambda y: _attend(block.attention, y, shape, mask), block.attention.leave)
    return block.around_inner(x, block.inner, block.inner.narrow)


def _attend(attention: Attention, y: Tensor, shape: torch.Size, mask: Tensor | None) -> Tensor:
    split = attention.enter(y).view(*shape, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)  # [3, B, H, S, K]
    query, key, value = split.unbind(0)
    if attention.relative is not None:
        query, key = attention.relative.turn(query), attention.relative.turn(key)
        bias = attention.relative.bias(query, 0, shape[1])
        mask = mask if bias is None else bias if mask is None else bias + mask
    mixed = attend(query, key, value, mask)
    return mixed.transpose(1, 2).reshape(len(y), -1)


def _mask(source: Tokens, dtype: torch.dtype) -> Tensor | None:
    """What is added to scores, [B, 1, 1, S]; None where nothing is padding. Of an empty source all is."""
    if bool((source.lengths == source.ids.shape[1]).all()):
        return None
    lengths = source.lengths.where(source.lengths > 0, source.ids.shape[1])  # no row without anything to attend to
    forbidden = torch.arange(source.ids.shape[1]) >= lengths[:, None]
    return torch.zeros(forbidden.shape, dtype=dtype).masked_fill_(forbidden, -torch.inf)[:, None, None]
