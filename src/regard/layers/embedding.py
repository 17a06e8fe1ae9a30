"""From ids to features: a table, the scale, the positions, dropout."""

from __future__ import annotations

import math

from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.relative import RELATIVE
from regard.errors import RecipeError
from regard.layers.dropout import Dropout
from regard.layers.positions import POSITIONS


class Embedding(nn.Module):
    """A (vocabulary, D) table times sqrt(D), positions, dropout (Vaswani et al. 2017, 3.4 and 3.5; claims N13, N20).

    Positions that act inside self-attention add nothing here; RecipeError where a model has none (`self_attention`).
    """

    def __init__(
        self,
        vocabulary: int,
        size: int,
        positions: str = "sinusoidal",
        longest: int = 1024,
        drop: float = 0.0,
        self_attention: bool = False,
    ) -> None:
        super().__init__()
        if positions in RELATIVE and not self_attention:
            raise RecipeError(
                f"positions={positions} act inside self-attention, and this encoder or decoder has none",
                fix=f"set model.positions or model.decoder_positions to one of {', '.join(POSITIONS)}",
            )
        self.table = nn.Embedding(vocabulary, size)
        nn.init.normal_(self.table.weight, std=size**-0.5)
        self.positions = POSITIONS["none" if positions in RELATIVE else positions](size, longest)
        self.dropout = Dropout(drop)

    @property
    def longest(self) -> int | None:
        """The most positions there are; None: any number."""
        return self.positions.longest

    def forward(self, ids: Int[Tensor, "B T"], first: int = 0) -> Float[Tensor, "B T D"]:
        """`first` is how many tokens came before these."""
        x = self.table(ids) * math.sqrt(self.table.embedding_dim)
        return self.dropout(self.positions(x, first))  # type: ignore[no-any-return]
