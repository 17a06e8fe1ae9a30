"""How far a key stands from a query, told to the attention itself and not to the embeddings.

A rotation or a bias that knows only distances, so a model may be asked for lengths it has not seen. To add one: write
a `Relative`, add a line to RELATIVE. (What is added to embeddings is in layers/positions.py.)
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.errors import RecipeError


class Relative(nn.Module, ABC):
    """The interface of an entry of RELATIVE, for one self-attention. An entry overrides one of the two or both."""

    def turn(self, x: Float[Tensor, "B H T K"], first: int = 0) -> Float[Tensor, "B H T K"]:
        """Queries or keys that stand at the positions from `first` on, as they are compared."""
        return x

    def bias(self, query: Float[Tensor, "B H T K"], first: int, keys: int) -> Float[Tensor, "#B H T S"] | None:
        """What is added to the scores of queries from position `first` on with keys at 0 to `keys` - 1."""
        return None


class Rotary(Relative):
    """Each pair of features turns by a fixed angle a position (Su et al. 2021): q . k then knows their distance alone.

    RecipeError for an odd head size.
    """

    def __init__(self, heads: int, head_size: int, causal: bool) -> None:
        super().__init__()
        if head_size % 2:
            raise RecipeError(
                f"rotary positions turn pairs of features, and a head has {head_size}",
                fix="choose model.size and model.heads so that size / heads is even",
            )
        self.head_size = head_size

    def turn(self, x: Float[Tensor, "B H T K"], first: int = 0) -> Float[Tensor, "B H T K"]:
        """Features 2j and 2j+1 turned by position / 10000^(2j/K)."""
        position = torch.arange(first, first + x.shape[2], dtype=torch.float32, device=x.device)[:, None]
        exponent = torch.arange(0, self.head_size, 2, dtype=torch.float32, device=x.device) / self.head_size
        angle = position * torch.exp(-math.log(10000.0) * exponent)  # [T, K/2]
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class RelativeKeys(Relative):
    """A learned vector for each distance, added to the key: q . (k + a) (Shaw et al. 2018).

    Distances beyond `REACH` are alike. Of the paper's two kinds of vector those of the values are left out: it found no
    gain in them (its table 3).
    """

    REACH = 16

    def __init__(self, heads: int, head_size: int, causal: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(2 * self.REACH + 1, head_size))
        nn.init.normal_(self.table, std=head_size**-0.5)

    def bias(self, query: Float[Tensor, "B H T K"], first: int, keys: int) -> Float[Tensor, "#B H T S"] | None:
        """q . a / sqrt(K), a being the vector of the distance."""
        by_distance = (query * query.shape[-1] ** -0.5) @ self.table.T  # [B, H, T, R]
        distance = _distances(first, query.shape[2], keys, query.device)
        index = distance.clamp(-self.REACH, self.REACH) + self.REACH
        return torch.gather(by_distance, -1, index.expand(*by_distance.shape[:2], -1, -1))


class RelativeBias(Relative):
    """A learned number for each head and bucket of distances (Raffel et al. 2020, T5), here for each layer.

    Half of the buckets are single distances, the others grow by a factor up to `REACH`. A decoder looks back only and
    has all buckets for that.
    """

    BUCKETS, REACH = 32, 128

    def __init__(self, heads: int, head_size: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.table = nn.Parameter(torch.empty(self.BUCKETS, heads))
        nn.init.normal_(self.table, std=0.1)

    def bias(self, query: Float[Tensor, "B H T K"], first: int, keys: int) -> Float[Tensor, "#B H T S"] | None:
        """One number a head and distance."""
        distance = _distances(first, query.shape[2], keys, query.device)
        biases: Tensor = self.table[self.bucket(distance)]  # [T, S, H]
        return biases.permute(2, 0, 1)[None]

    def bucket(self, distance: Int[Tensor, "T S"]) -> Int[Tensor, "T S"]:
        """The row of the table for key position - query position."""
        if self.causal:
            return self._one_way(-distance.clamp(max=0), self.BUCKETS)
        half = self.BUCKETS // 2
        return self._one_way(distance.abs(), half) + half * (distance > 0)

    def _one_way(self, far: Int[Tensor, "T S"], buckets: int) -> Int[Tensor, "T S"]:
        exact = buckets // 2
        growth = torch.log(far.clamp(min=exact) / exact) / math.log(self.REACH / exact)
        large = exact + (growth * (buckets - exact)).to(torch.int64)
        return torch.where(far < exact, far, large.clamp(max=buckets - 1))


RELATIVE: dict[str, Callable[[int, int, bool], Relative]] = {  # from heads, head size, whether it only looks back
    "rotary": Rotary,
    "relative": RelativeKeys,
    "relative_bias": RelativeBias,
}


def _distances(first: int, queries: int, keys: int, device: torch.device) -> Int[Tensor, "T S"]:
    """Key position - query position."""
    return torch.arange(keys, device=device) - torch.arange(first, first + queries, device=device)[:, None]
