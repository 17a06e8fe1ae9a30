"""How well a query and a key match. A score is a module from (query, key) to scores [B, H, T, S].

A score that is a plain product times a number says so with `factor`, and may then use the fused kernel.
To add one: write the class, add a line to SCORES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Score(Protocol):
    """The interface of an entry of SCORES."""

    @property
    def factor(self) -> float | None:
        """Scores = factor * (query . key). None: the score is no such product, and there is no fused kernel for it."""
        ...

    def __call__(self, query: Float[Tensor, "B H T K"], key: Float[Tensor, "B H S K"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key."""
        ...


class Dot(nn.Module):
    """q . k (Luong et al. 2015). Its variance grows with the size of a head (claim N6)."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.factor = 1.0

    def forward(self, query: Float[Tensor, "B H T K"], key: Float[Tensor, "B H S K"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key."""
        return query @ key.transpose(-2, -1)


class ScaledDot(nn.Module):
    """q . k / sqrt(K) (Vaswani et al. 2017, section 3.2.1): variance 1 whatever the size of a head."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.factor: float = head_size**-0.5

    def forward(self, query: Float[Tensor, "B H T K"], key: Float[Tensor, "B H S K"]) -> Float[Tensor, "B H T S"]:
        """The score of each query with each key."""
        return (query * self.factor) @ key.transpose(-2, -1)


SCORES: dict[str, Callable[[int], Score]] = {  # from the size of a head
    "scaled_dot": ScaledDot,
    "dot": Dot,
}
