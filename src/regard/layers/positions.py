"""Where a token stands. Every entry adds to embeddings [B, T, D], from any first position on.

What knows distances alone acts inside self-attention: attention/relative.py.

`first` is the number of tokens that came before: a cached step passes how many it has seen, so the code of position 0
is not added to every token (fault E1 of the notes). To add one: write the class, add a line to POSITIONS.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import UsageError


def sinusoids(first: int, count: int, size: int, device: torch.device | None = None) -> Float[Tensor, "T D"]:
    """sin and cos of position / 10000^(2j/D), interleaved (Vaswani et al. 2017, section 3.5; claim N9).

    Computed for the positions asked for, so there is no longest sequence. An odd D ends with a sine.
    """
    position = torch.arange(first, first + count, dtype=torch.float32, device=device)[:, None]
    frequency = torch.exp(torch.arange(0, size, 2, dtype=torch.float32, device=device) * (-math.log(10000.0) / size))
    angle = position * frequency
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :size]


class Positions(nn.Module, ABC):
    """The interface of an entry of POSITIONS. `longest` is how many positions there are, None: any number."""

    longest: int | None

    @abstractmethod
    def forward(self, x: Float[Tensor, "B T D"], first: int = 0) -> Float[Tensor, "B T D"]:
        """Embeddings of the positions from `first` on, with their positions added."""


class Sinusoidal(Positions):
    """Fixed waves; no limit to the length, no parameters."""

    def __init__(self, size: int, longest: int) -> None:
        super().__init__()
        self.longest = None

    def forward(self, x: Float[Tensor, "B T D"], first: int = 0) -> Float[Tensor, "B T D"]:
        """Embeddings with their positions added."""
        return x + sinusoids(first, x.shape[1], x.shape[2], x.device).to(x.dtype)


class Learned(Positions):
    """One learned vector a position (Gehring et al. 2017). `longest` positions exist; more is an error that says so."""

    def __init__(self, size: int, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.table = nn.Embedding(longest, size)
        nn.init.normal_(self.table.weight, std=size**-0.5)

    def forward(self, x: Float[Tensor, "B T D"], first: int = 0) -> Float[Tensor, "B T D"]:
        """Embeddings with their positions added; UsageError past the last learned position."""
        rows = self.table.num_embeddings
        if first + x.shape[1] > rows:
            raise UsageError(
                f"position {first + x.shape[1]} was asked for, this model learned {rows} positions",
                fix="split the text, or train with a larger model.longest or with model.positions=sinusoidal",
            )
        return x + self.table.weight[first : first + x.shape[1]]


class NoPositions(Positions):
    """Nothing added: self-attention then reads a bag of tokens (claim N8)."""

    def __init__(self, size: int, longest: int) -> None:
        super().__init__()
        self.longest = None

    def forward(self, x: Float[Tensor, "B T D"], first: int = 0) -> Float[Tensor, "B T D"]:
        """The embeddings as they are."""
        return x


POSITIONS: dict[str, Callable[[int, int], Positions]] = {  # from the number of features and the longest sequence
    "sinusoidal": Sinusoidal,
    "learned": Learned,
    "none": NoPositions,
}
