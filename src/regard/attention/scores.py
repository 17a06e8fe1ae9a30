"""How well a query and a key match. A score is a module from (query, key) to scores [B, H, T, S].

A score that is a plain product times a number says so with `factor`, and may then use the fused kernel. The parameters
of the others are one set for all heads of an attention.
To add one: write the class, add a line to SCORES.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from regard.errors import UsageError

MOST_AT_ONCE = 2**24  # numbers between a query and all keys that Additive holds at one time; 64 MiB in float32
FEW = 4  # features; up to here a distance is the exact difference of each


@runtime_checkable
class Score(Protocol):
    """The interface of an entry of SCORES. In a model Q = C = K, the size of a head; alone they may differ (N5)."""

    @property
    def factor(self) -> float | None:
        """Scores = factor * (query . key). None: the score is no such product, and there is no fused kernel for it."""
        ...

    def __call__(self, query: Float[Tensor, "B H T Q"], key: Float[Tensor, "B H S C"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key."""
        ...


class Dot(nn.Module):
    """q . k (Luong et al. 2015). Its variance grows with the size of a head (claim N6)."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.factor = 1.0

    def forward(self, query: Float[Tensor, "B H T Q"], key: Float[Tensor, "B H S C"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key. UsageError where their sizes differ."""
        _same_size(query, key)
        return query @ key.transpose(-2, -1)


class ScaledDot(nn.Module):
    """q . k / sqrt(K) (Vaswani et al. 2017, section 3.2.1): variance 1 whatever the size of a head."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.factor: float = head_size**-0.5

    def forward(self, query: Float[Tensor, "B H T Q"], key: Float[Tensor, "B H S C"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key. UsageError where their sizes differ."""
        _same_size(query, key)
        return (query * self.factor) @ key.transpose(-2, -1)


class Additive(nn.Module):
    """w_v . tanh(W_q q + W_k k) (Bahdanau et al. 2015, section A.1.2; claim N5).

    Alone: `query_size` and `key_size` features, which may differ, are projected to `hidden`. Without a size there is no
    projection and `hidden` features are expected: in multi-head attention W_q and W_k are its own projections.
    Each pair of a query and a key has a tanh of `hidden` numbers, B H T S hidden in all. Above MOST_AT_ONCE they are
    computed for some queries at a time, and in training once more in the backward pass instead of being kept.
    """

    def __init__(self, hidden: int, query_size: int | None = None, key_size: int | None = None) -> None:
        super().__init__()
        self.factor: float | None = None
        self.sizes = query_size or hidden, key_size or hidden
        self.query = nn.Identity() if query_size is None else nn.Linear(query_size, hidden, bias=False)
        self.key = nn.Identity() if key_size is None else nn.Linear(key_size, hidden, bias=False)
        # The squares of `hidden` tanhs sum to `hidden` at most, so the scores have a variance below 1.
        self.weight = nn.Parameter(torch.empty(hidden))
        nn.init.normal_(self.weight, std=hidden**-0.5)

    def forward(self, query: Float[Tensor, "B H T Q"], key: Float[Tensor, "B H S C"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key. UsageError where a size is not the one it was made for."""
        _sizes_are(query, key, *self.sizes)
        query, key = self.query(query), self.key(key)
        pieces = torch.split(query, max(1, MOST_AT_ONCE // max(1, key.numel())), dim=-2)
        if len(pieces) == 1:
            return self._score(query, key)
        if not torch.is_grad_enabled():
            return torch.cat([self._score(piece, key) for piece in pieces], dim=-2)
        kept = [checkpoint(self._score, piece, key, use_reentrant=False) for piece in pieces]
        return torch.cat(kept, dim=-2)

    def _score(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.unsqueeze(-2) + key.unsqueeze(-3)).tanh_() @ self.weight


class Bilinear(nn.Module):
    """q . W k (Luong et al. 2015, "general"); queries and keys may have sizes of their own.

    For equal sizes W starts as I / sqrt(K), which is the scaled dot product. Nothing is drawn: the projections before
    it are random, so no two entries of W have the same gradient. For different sizes W is drawn such that scores of
    unit-variance queries and keys have variance 1 as well (claim N6).
    """

    def __init__(self, query_size: int, key_size: int | None = None) -> None:
        super().__init__()
        self.factor: float | None = None
        self.weight = nn.Parameter(torch.empty(query_size, key_size or query_size))
        if key_size is None or key_size == query_size:
            nn.init.zeros_(self.weight)
            with torch.no_grad():
                self.weight.fill_diagonal_(query_size**-0.5)
        else:
            nn.init.normal_(self.weight, std=(query_size * key_size) ** -0.5)

    def forward(self, query: Float[Tensor, "B H T Q"], key: Float[Tensor, "B H S C"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key. UsageError where a size is not the one it was made for."""
        _sizes_are(query, key, *self.weight.shape)
        return (query @ self.weight) @ key.transpose(-2, -1)


class Gaussian(nn.Module):
    """-(w ||q - k||)^2 / 2 with one learned width w (claims N2, N3): the softmax of it is a Gaussian kernel.

    w starts as K^(-1/4): for keys of equal length the softmax is then that of the scaled dot product.
    """

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.factor: float | None = None
        self.width = nn.Parameter(torch.tensor(head_size**-0.25))

    def forward(self, query: Float[Tensor, "B H T Q"], key: Float[Tensor, "B H S C"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key. UsageError where their sizes differ."""
        return gaussian(query, key, self.width)


def gaussian(query: Tensor, key: Tensor, width: Tensor | float) -> Tensor:
    """-(width ||q - k||)^2 / 2 of queries [..., T, K] and keys [..., S, K], as [..., T, S], never above 0.

    From products as ||q||^2 + ||k||^2 - 2 q . k, so that there is no [T, S, K]. For few features, where what is left
    of large numbers would be noise and the tensor is small, from differences. There is no root anywhere: its slope at
    distance 0 is infinite.
    """
    _same_size(query, key)
    if key.shape[-1] <= FEW:
        return ((query.unsqueeze(-2) - key.unsqueeze(-3)) * (width * math.sqrt(0.5))).square().sum(-1).neg()
    query, key = query * width, key * width
    lengths = query.square().sum(-1, keepdim=True) + key.square().sum(-1).unsqueeze(-2)
    return (query @ key.transpose(-2, -1) - lengths / 2).clamp(max=0)


def _same_size(query: Tensor, key: Tensor) -> None:
    if query.shape[-1] != key.shape[-1]:
        raise UsageError(
            f"this score needs queries and keys of one size, found {query.shape[-1]} and {key.shape[-1]} features",
            fix="give both the same number of features, or use Additive or Bilinear with both sizes",
        )


def _sizes_are(query: Tensor, key: Tensor, query_size: int, key_size: int) -> None:
    found = query.shape[-1], key.shape[-1]
    if found != (query_size, key_size):
        raise UsageError(
            f"this score was made for queries of {query_size} and keys of {key_size} features, found {found[0]} and "
            f"{found[1]}",
            fix="make it with the sizes of the queries and keys it gets",
        )


SCORES: dict[str, Callable[[int], Score]] = {  # from the size of a head
    "scaled_dot": ScaledDot,
    "dot": Dot,
    "additive": Additive,
    "bilinear": Bilinear,
    "gaussian": Gaussian,
}
