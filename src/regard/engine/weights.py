"""What the engine takes from the trained modules, and which modules it cannot take anything from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from regard.attention.attend import Attend
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.relative import Relative
from regard.engine.linear import Linear
from regard.layers.embedding import Embedding
from regard.layers.feed_forward import ACTIVATIONS, FeedForward
from regard.layers.norms import EPSILON, LayerNorm, NoNorm, Norm
from regard.layers.positions import POSITIONS
from regard.layers.residual import Residual
from regard.models.interface import Decoder, Encoder
from regard.models.transformer import DecoderBlock, EncoderBlock, TransformerDecoder, TransformerEncoder

Function = Callable[[Tensor], Tensor]
TABULATED = 512  # positions whose codes are computed beforehand


def why_not(model: Encoder | Decoder) -> str | None:
    """Why the engine cannot run this encoder or decoder, in one sentence; None: it can."""
    is_exact = type(model) in {TransformerEncoder, TransformerDecoder}  # what inherits may compute something else
    if not isinstance(model, TransformerEncoder | TransformerDecoder) or not is_exact:
        return f"the engine runs Transformers, and this is a {type(model).__name__}"
    if not len(model.blocks):
        return "the engine needs at least one block"
    weight = model.embed.table.weight
    if weight.device.type != "cpu" or weight.dtype not in {torch.float32, torch.float64}:
        found = f"{weight.dtype} on {weight.device}"
        return f"the engine computes in float32 or float64 on a CPU, and this model is in {found}"
    if type(model.embed.positions) not in POSITIONS.values():
        return f"the engine does not know the positions {type(model.embed.positions).__name__}"
    for module in model.modules():
        if isinstance(module, Attend) and module.patch is not None:
            return "the engine computes its own attention, and another was put in its place"
        if isinstance(module, MultiHeadAttention) and module.attend.score.factor is None:
            return f"the engine needs a score that is a plain product, and {type(module.attend.score).__name__} is none"
        if isinstance(model, TransformerEncoder) and isinstance(module, Norm) and not _per_position(module):
            return f"the engine needs a norm of each position alone, and {type(module).__name__} looks at several"
    return None


def _per_position(norm: Norm) -> bool:
    return not norm.why_not_causal


class Embed:
    """Ids and a position to features: the table times its scale, plus the code of the position."""

    def __init__(self, embed: Embedding) -> None:
        self.table = embed.table.weight.detach()
        self.scale = embed.table.embedding_dim**0.5
        self.positions = embed.positions
        self.codes = self._codes(0, min(TABULATED, embed.longest or TABULATED))

    def __call__(self, ids: Tensor, first: int) -> Tensor:
        """Ids [R] that all stand at position `first`, or [B, T] from there on; features [..., D], a new tensor."""
        last = first + (ids.shape[1] if ids.dim() == 2 else 1)
        codes = self.codes[first:last] if last <= len(self.codes) else self._codes(first, last)
        return torch.add(codes, torch.embedding(self.table, ids), alpha=self.scale)

    def _codes(self, first: int, last: int) -> Tensor:
        codes: Tensor = self.positions(self.table.new_zeros(1, last - first, self.table.shape[1]), first)
        return codes[0].detach()


@dataclass(frozen=True)
class Attention:
    """One multi-head attention. `enter` is all that reads the block's own features: queries, keys and values in one
    product, or the queries alone where keys and values come from a source. Keys are made times the factor of the score,
    once, so that no score has to be."""

    enter: Linear
    leave: Linear
    heads: int
    relative: Relative | None

    @staticmethod
    def of(attention: MultiHeadAttention, to_itself: bool) -> Attention:
        """From the module."""
        reads = (attention.query, attention.key, attention.value)
        enter = Linear(reads, (1.0, factor(attention), 1.0)) if to_itself else Linear((attention.query,))
        return Attention(enter, Linear((attention.output,)), attention.heads, attention.relative)


def factor(attention: MultiHeadAttention) -> float:
    """What a score is the product times."""
    return cast(float, attention.attend.score.factor)


class Inner:
    """The feed-forward network; a gate is computed in the same product as what it gates."""

    def __init__(self, network: FeedForward) -> None:
        self.widen = Linear((network.widen, *([network.gate] if network.gate else [])))
        self.gated = network.gate is not None
        self.is_relu = network.activation == "relu"
        self.activation: Function = ACTIVATIONS[network.activation]
        self.narrow = Linear((network.narrow,))

    def __call__(self, x: Tensor) -> Tensor:
        """Features [R, D] to the inner ones [R, F], which `narrow` reads."""
        if not self.gated:
            return self.widen.relu(x) if self.is_relu else self.activation(self.widen(x))
        inner, gate = self.widen(x).chunk(2, dim=1)
        return self.activation(inner) * gate


class Around:
    """Add and norm: x + leave(part(x)) for x [R, D], with the norm before the part or after the sum."""

    def __init__(self, residual: Residual) -> None:
        self.norm = norm_of(residual.norm)
        self.norm_first = residual.norm_first

    def __call__(self, x: Tensor, part: Function, leave: Linear) -> Tensor:
        """May write in x."""
        if self.norm_first:
            return leave.add_to(x, part(self.norm(x) if self.norm else x))
        x = leave.add_to(x, part(x))
        return self.norm(x) if self.norm else x


def norm_of(norm: Norm) -> Function | None:
    """A norm of rows [R, D]; None: there is none."""
    if isinstance(norm, NoNorm):
        return None
    if type(norm) is LayerNorm:
        weight, bias = norm.weight.detach(), norm.bias.detach()
        return lambda x: torch.layer_norm(x, weight.shape, weight, bias, EPSILON)
    return lambda x: norm(x[:, None])[:, 0]


@dataclass(frozen=True)
class Block:
    """The parts of a block in order; `look` and what is around it are a decoder's."""

    attention: Attention
    inner: Inner
    around_attention: Around
    around_inner: Around
    look: Attention | None = None
    around_look: Around | None = None

    @staticmethod
    def of(block: EncoderBlock | DecoderBlock) -> Block:
        """From the module."""
        parts = Attention.of(block.attention, True), Inner(block.feed_forward)
        around = Around(block.around_attention), Around(block.around_feed_forward)
        if isinstance(block, EncoderBlock):
            return Block(*parts, *around)
        return Block(*parts, *around, Attention.of(block.look, False), Around(block.around_look))
