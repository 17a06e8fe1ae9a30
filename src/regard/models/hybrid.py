"""An encoder that convolves first and attends then (as CoAtNet does with images: Dai et al. 2021; Xiao et al. 2021)."""

from __future__ import annotations

from torch import nn

from regard.attention.masks import length_mask
from regard.data.tokens import Tokens
from regard.models import convolutional, transformer
from regard.models.interface import Costs, Encoder, Memory


class HybridEncoder(Encoder):
    """Ids [B, S] to states [B, S, D]. What self-attention has to learn about neighbours, gated convolutions know.

    Of `layers` blocks the first half, rounded down, are a ConvolutionalEncoder's, the others a TransformerEncoder's.
    """

    def __init__(self, vocabulary: int, layers: int, near: convolutional.Convolution, far: transformer.Shape) -> None:
        super().__init__()
        first = layers // 2
        attending = transformer.TransformerEncoder(vocabulary, layers - first, far)
        self.size, self.longest, self.embed = attending.size, attending.longest, attending.embed
        self.near_blocks = nn.ModuleList(convolutional.EncoderBlock(near, layer) for layer in range(first))
        self.blocks, self.norm = attending.blocks, attending.norm

    def forward(self, source: Tokens) -> Memory:
        """A memory as long as the source."""
        x, is_real = self.embed(source.ids), source.is_real
        for block in self.near_blocks:
            x = block(x, is_real)
        may_attend = length_mask(source.lengths, source.ids.shape[1])
        for block in self.blocks:
            x = block(x, may_attend, is_real)
        return Memory(self.norm(x, is_real), source.lengths)

    def costs(self, length: int) -> Costs:
        """Those of its blocks; from one end to the other an attention leads at once."""
        parts = (*self.near_blocks.parameters(), *self.blocks.parameters())
        weights = sum(weight.numel() for weight in parts if weight.dim() > 1)
        operations = length * weights + len(self.blocks) * 2 * length**2 * self.size
        return Costs(operations, len(self.near_blocks) + len(self.blocks), 1)
