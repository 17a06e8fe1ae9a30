"""What a model reads: padded ids with their lengths, and pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.text.tokenizer import PAD


@dataclass(frozen=True)
class Tokens:
    """Ids [B, T], padded on the right, and how many of each row are real [B].

    The lengths travel with the ids, so no layer has to guess what is padding from the value of an id.
    """

    ids: Int[Tensor, "B T"]
    lengths: Int[Tensor, " B"]

    @staticmethod
    def of(rows: Sequence[Sequence[int]]) -> Tokens:
        """Pads rows of ids to the longest. An empty row has length 0."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        width = max((len(row) for row in rows), default=0)
        ids = torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows], dtype=torch.int64)
        return Tokens(ids.reshape(len(rows), width), lengths)

    @property
    def is_real(self) -> Bool[Tensor, "B T"]:
        """True where an id is text, False where it is padding."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]

    def rows(self, which: slice) -> Tokens:
        """Some of the rows, padded as before."""
        return Tokens(self.ids[which], self.lengths[which])

    def to(self, device: torch.device) -> Tokens:
        """The same on another device."""
        return Tokens(self.ids.to(device), self.lengths.to(device))


@dataclass(frozen=True)
class Batch:
    """Pairs that are trained on together; `target` starts with bos and ends with eos.

    `links`, where they are given, are the places of linked tokens, flat: target token, source token, target token ...,
    the target's counted without bos.
    """

    source: Tokens
    target: Tokens
    links: Tokens | None = None

    @property
    def previous(self) -> Tokens:
        """What the decoder reads: the target without its last id, [B, T]."""
        target, lengths = self.target, self.target.lengths - 1
        is_real = target.is_real[:, 1:]  # one less in each row, so that a shorter row loses its eos too
        return Tokens(target.ids[:, :-1].where(is_real, PAD), lengths)

    @property
    def gold(self) -> Tokens:
        """What the decoder must say: the target without bos, [B, T]."""
        return Tokens(self.target.ids[:, 1:], self.target.lengths - 1)

    @property
    def real_targets(self) -> int:
        """Ids to be predicted, eos included, padding not."""
        return int(self.gold.lengths.sum())

    def rows(self, which: slice) -> Batch:
        """Some of the pairs, padded as before."""
        return Batch(self.source.rows(which), self.target.rows(which), self.links and self.links.rows(which))

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(self.source.to(device), self.target.to(device), self.links and self.links.to(device))
