"""What a search has seen so far: the source's keys and values, and those of everything it has written.

All hypotheses of a sentence share one row of slots, one slot a token that any of them has read. A mask [A, 1, W, slots]
says which slots are a hypothesis's own past. So a beam that keeps, repeats or reorders hypotheses reorders a small mask
and no keys or values; and a step of W hypotheses asks W queries of one set of keys, which is one product.

Shapes: A sentences, W hypotheses of each, R = A W rows sentence by sentence, N slots, L layers, H heads, K head size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.errors import UsageError

BLOCK = 64  # slots at first; then their number doubles when they are full


class Turn:
    """Which state may be used: buffers are written in place, so only the newest one tells the truth."""

    def __init__(self) -> None:
        self.number = 0

    def take(self, number: int) -> int:
        """The number of the state that follows; UsageError unless `number` is the newest."""
        if number != self.number:
            raise UsageError(
                "this state of the engine was used up by a step or select before",
                fix="go on from the state that the last step or select returned",
            )
        self.number += 1
        return self.number


@dataclass(frozen=True)
class Source:
    """Projected once a sentence: keys and values, and a mask to add to scores, None where all sources are as long."""

    pairs: Float[Tensor, "L 2 A H S K"]
    mask: Float[Tensor, "A 1 1 S"] | None

    @staticmethod
    def of(pairs: Float[Tensor, "L 2 A H S K"], lengths: Int[Tensor, " A"]) -> Source:
        """With what is padding masked. An empty source has values of 0, and its mask allows them all."""
        size = pairs.shape[4]
        if bool((lengths == size).all()):
            return Source(pairs, None)
        is_empty = lengths == 0
        forbidden = (torch.arange(size) >= lengths[:, None]) & ~is_empty[:, None]
        mask = torch.zeros(forbidden.shape, dtype=pairs.dtype).masked_fill_(forbidden, -torch.inf)
        pairs[:, 1].masked_fill_(is_empty[:, None, None, None], 0.0)
        return Source(pairs, mask[:, None, None])

    def keep(self, sentences: Int[Tensor, " A2"]) -> Source:
        """Of these sentences. Writes in place."""
        mask = None if self.mask is None else self.mask.index_select(0, sentences)
        return Source(keep(self.pairs, self.pairs, sentences), mask)


@dataclass(frozen=True)
class Written:
    """Keys and values of all slots; `widths` says how many slots each position has, `mask` None that all are one's own.

    `pairs` has room for more slots than are used.
    """

    pairs: Float[Tensor, "L 2 A H room K"]
    widths: tuple[int, ...]
    slots: int
    mask: Float[Tensor, "A 1 W N"] | None

    def grow(self, hypotheses: int) -> Written:
        """With slots for one more position, each of them one hypothesis's own."""
        slots, room = self.slots + hypotheses, self.pairs.shape[4]
        widens = hypotheses > 1 and self.mask is None  # soon full, and there is little to copy yet
        pairs = self._copy(max(2 * room, slots)) if slots > room or widens else self.pairs
        return Written(pairs, (*self.widths, hypotheses), slots, self._grown_mask(hypotheses))

    def _copy(self, room: int) -> Tensor:
        pairs = self.pairs.new_empty(*self.pairs.shape[:4], room, self.pairs.shape[5])
        pairs.narrow(4, 0, self.slots).copy_(self.pairs.narrow(4, 0, self.slots))
        return pairs

    def _grown_mask(self, hypotheses: int) -> Tensor | None:
        if self.mask is None and hypotheses == 1:
            return None
        count = self.pairs.shape[2]
        old = self.pairs.new_zeros(count, 1, hypotheses, self.slots) if self.mask is None else self.mask
        own = old.new_full((hypotheses, hypotheses), -torch.inf).fill_diagonal_(0.0)
        return torch.cat((old, own.expand(count, 1, -1, -1)), dim=3)

    def keep(self, sentences: Int[Tensor, " A2"] | None, rows: Int[Tensor, "A2 W2"]) -> Written:
        """Of these sentences (None: all as they are) and old rows. Writes in place."""
        pairs, mask = self.pairs, self.mask
        if sentences is not None:
            pairs = keep(pairs, pairs.narrow(4, 0, self.slots), sentences)
        if mask is not None:
            mask = mask.flatten(0, 2).index_select(0, rows.flatten()).view(len(rows), 1, rows.shape[1], -1)
        return replace(self, pairs=pairs, mask=mask)

    @property
    def positions(self) -> Int[Tensor, " N"]:
        """Where each slot stands."""
        return torch.arange(len(self.widths)).repeat_interleave(torch.tensor(self.widths))


@dataclass(frozen=True)
class State:
    """What `Engine.start` and `step` give. It is used up by the next `step` or `select`: both write in place.

    `looked` is how the last step spread its attention over the source, the mean over layers and heads, if watched.
    """

    source: Source
    written: Written
    hypotheses: int
    watch: bool
    looked: Float[Tensor, "R S"] | None
    turn: Turn
    number: int

    @property
    def sentences(self) -> int:
        """How many there still are."""
        return self.written.pairs.shape[2]

    def select(self, rows: Int[Tensor, "A2 W2"]) -> State:
        """A line a sentence, in it the rows that its hypotheses go on from: all of one old sentence, repeats allowed.

        Sentences may leave and be reordered, and each may have any number of hypotheses from now on.
        """
        number, chosen = self.turn.take(self.number), rows[:, 0] // self.hypotheses
        stays = len(rows) == self.sentences and torch.equal(chosen, torch.arange(len(rows)))
        return State(
            self.source if stays else self.source.keep(chosen),
            self.written.keep(None if stays else chosen, rows),
            rows.shape[1],
            self.watch,
            None if self.looked is None else self.looked.index_select(0, rows.flatten()),
            self.turn,
            number,
        )


def keep(pairs: Tensor, used: Tensor, sentences: Tensor) -> Tensor:
    """The given sentences (axis 2) of `pairs`, of which only the part `used` is worth copying.

    Those that moved are gathered before any is written, so every order is right, and what stays is not copied.
    """
    if len(sentences) > pairs.shape[2]:
        return pairs.index_select(2, sentences)
    places = (sentences != torch.arange(len(sentences))).nonzero().flatten()
    if len(places):
        used.index_copy_(2, places, used.index_select(2, sentences[places]))
    return pairs.narrow(2, 0, len(sentences))
