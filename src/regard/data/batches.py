"""The order of training: which pairs stand together in a batch, and which batch comes when.

Both depend on (seed, epoch) alone, so a resumed run needs to know only how many batches of the epoch are done, and
every process that takes part knows the same order without being told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import overload

import torch
from jaxtyping import Int
from torch import Tensor

from regard.data.corpus import EncodedPairs


def mix(*numbers: int) -> int:
    """A seed of 63 bits from several numbers; near numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


# In a small corpus few pairs share a source length, and a batch spans several: then it pays to sort within strips that
# are that many lengths wide. In a larger one a batch lies inside one length; in one of more than a block it depends on
# the batch, which many processes may share.
STRIPS = (1, 2, 4, 8)
LARGE = 100_000  # pairs

WIDE = 1 << 21  # more than twice the most tokens a side may have

# A corpus of more than a block is cut into blocks, and what follows is done in each as if it were all: so the first
# batch comes at once, and memory does not grow with the corpus.
BLOCK = 1 << 20  # pairs, or more where a batch is so large that a block would hold less than so many of them:
BATCHES = 200
CHUNK = 256  # neighbours that stay in one block: a disk is read in stretches


def epoch_batches(pairs: EncodedPairs, tokens_per_batch: int, seed: int, epoch: int) -> Order:
    """Rows of every batch of an epoch, in order; each pair stands in exactly one.

    Pairs of like lengths stand together (about 95 % of the tokens are then real, 90 % where there are only some dozens
    of batches), ties and batches in random order. A batch holds at most `tokens_per_batch` padded source and target
    tokens, or a single pair.
    """
    return Order(pairs, tokens_per_batch, seed, epoch)


class Order(Sequence[Tensor]):
    """The batches of an epoch, as rows; those of a block are made when it is reached, and dropped at the next.

    Which pairs are in which block, and which block comes when, is drawn from (seed, epoch): chunks of neighbours are
    dealt to blocks at random.
    """

    def __init__(self, pairs: EncodedPairs, tokens_per_batch: int, seed: int, epoch: int) -> None:
        self.pairs, self.budget, self.seeds = pairs, tokens_per_batch, (seed, epoch)
        self._is_small = len(pairs) <= BLOCK
        self._chunks = self._dealt()
        self._shapes: dict[int, Int[Tensor, "n 2"]] = {}
        self._made: tuple[int, list[Tensor]] = (-1, [])

    def _dealt(self) -> tuple[Tensor, ...]:
        """The chunks of each block; no block for no pairs."""
        count = len(self.pairs)
        if not count:
            return ()
        chunks = -(-count // CHUNK)
        tokens = sum(int(side.offsets[-1] + side.lengths[-1]) for side in (self.pairs.source, self.pairs.target))
        most = max(BLOCK, BATCHES * self.budget * count // tokens)
        if count <= most:
            return (torch.arange(chunks),)
        generator = torch.Generator().manual_seed(mix(*self.seeds))
        return torch.randperm(chunks, generator=generator).tensor_split(-(-count // most))

    def __len__(self) -> int:
        """How many batches. Those of blocks not reached are counted: 2 seconds for 10 million pairs."""
        return sum(len(self._counted(block)) for block in range(len(self._chunks)))

    @overload
    def __getitem__(self, place: int) -> Tensor: ...
    @overload
    def __getitem__(self, place: slice) -> list[Tensor]: ...
    def __getitem__(self, place: int | slice) -> Tensor | list[Tensor]:
        """One batch, or some. IndexError past the end."""
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        batch = next(self.after(place if place >= 0 else place + len(self)), None)
        if batch is None:
            raise IndexError(f"batch {place} of {len(self)}")
        return batch

    def __iter__(self) -> Iterator[Tensor]:
        """All batches."""
        return self.after(0)

    def after(self, done: int) -> Iterator[Int[Tensor, " B"]]:
        """The batches that follow the first `done`; of the blocks these fill, the batches are counted and not made."""
        for block in range(len(self._chunks)):
            if done and done >= len(self._counted(block)):
                done -= len(self._counted(block))
                continue
            yield from islice(self._batches(block), done, None)
            done = 0

    def shapes(self) -> Int[Tensor, "n 2"]:
        """Rows and width (source and target together) of all batches, not in their order, and without making them."""
        found = [self._counted(block) for block in range(len(self._chunks))]
        return torch.cat(found) if found else torch.empty(0, 2, dtype=torch.int64)

    def _counted(self, block: int) -> Int[Tensor, "n 2"]:
        if block not in self._shapes and self._is_small:
            self._batches(block)
        elif block not in self._shapes:
            _, self._shapes[block] = self._best(block)
        return self._shapes[block]

    def _best(self, block: int) -> tuple[int, Int[Tensor, "n 2"]]:
        """The strip with least padding, and the shapes it makes: for these, pairs of the same two lengths are alike."""
        sources, targets = self._lengths(self._rows(block))
        kinds, counts = torch.unique(sources * WIDE + targets, return_counts=True)
        sources, targets = kinds // WIDE, kinds % WIDE
        found = []
        for strip in STRIPS:
            places = _key(sources, targets, strip).argsort(stable=True)
            found.append((strip, _fill(sources[places], targets[places], counts[places], self.budget)))
        return min(found, key=lambda each: _padded(each[1]))

    def _batches(self, block: int) -> list[Tensor]:
        if self._made[0] != block:
            generator = torch.Generator().manual_seed(mix(*self.seeds, *([] if len(self._chunks) == 1 else [block])))
            rows = self._rows(block)
            shuffled = rows[torch.randperm(len(rows), generator=generator)]
            self._shapes[block], order = self._cut(shuffled) if self._is_small else self._cut_large(shuffled, block)
            pieces = torch.split(order, self._shapes[block][:, 0].tolist())
            self._made = block, [pieces[place] for place in torch.randperm(len(pieces), generator=generator).tolist()]
        return self._made[1]

    def _rows(self, block: int) -> Int[Tensor, " n"]:
        rows = (self._chunks[block][:, None] * CHUNK + torch.arange(CHUNK)).flatten()
        return rows[rows < len(self.pairs)]

    def _cut(self, rows: Tensor) -> tuple[Int[Tensor, "n 2"], Tensor]:
        """The shapes of the batches that rows make when they are sorted by length, and the rows in that order."""
        found, (sources, targets) = [], self._lengths(rows)
        for strip in STRIPS if len(rows) < LARGE else STRIPS[:1]:
            places = _key(sources, targets, strip).argsort(stable=True)
            kinds, counts = torch.unique_consecutive((sources * WIDE + targets)[places], return_counts=True)
            found.append((_fill(kinds // WIDE, kinds % WIDE, counts, self.budget), rows[places]))
        return min(found, key=lambda each: _padded(each[0]))

    def _cut_large(self, rows: Tensor, block: int) -> tuple[Int[Tensor, "n 2"], Tensor]:
        """The same. Pairs alike in strip and target are sorted by source, so that the shapes are those counted."""
        strip, shapes = self._best(block)
        sources, targets = self._lengths(rows)
        return shapes, rows[(_key(sources, targets, strip) * WIDE + sources).argsort(stable=True)]

    def _lengths(self, rows: Tensor) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        source, target = self.pairs.source.lengths[rows], self.pairs.target.lengths[rows]
        return source.to(torch.int64), target.to(torch.int64)


def _key(sources: Tensor, targets: Tensor, strip: int) -> Tensor:
    """Sorts by strips of source lengths and, inside, by target length: up in one strip and down in the next.

    So neighbours are alike in both lengths where two strips meet as well.
    """
    strips = sources // strip
    return strips * WIDE + targets * (1 - 2 * (strips % 2))


def _padded(shapes: Tensor) -> int:
    return int(shapes.prod(1).sum())


def _fill(sources: Tensor, targets: Tensor, counts: Tensor, budget: int) -> Int[Tensor, "n 2"]:
    """Cuts runs of pairs of the same lengths where one more row would pass the budget; rows and width of each piece."""
    shapes, rows, widest_source, widest_target = [], 0, 0, 0
    for source, target, left in zip(sources.tolist(), targets.tolist(), counts.tolist(), strict=True):
        while left:
            wide_source, wide_target = max(widest_source, source), max(widest_target, target)
            room = min(left, budget // (wide_source + wide_target) - rows)
            if room <= 0 and rows:
                shapes.append((rows, widest_source + widest_target))
                rows, widest_source, widest_target = 0, 0, 0
                continue
            taken = max(1, room)
            rows, left, widest_source, widest_target = rows + taken, left - taken, wide_source, wide_target
    return torch.tensor([*shapes, (rows, widest_source + widest_target)])


def real_share(pairs: EncodedPairs, batches: Order | list[Tensor]) -> float:
    """Real tokens / padded tokens over the batches of an epoch; 1.0 for no pairs."""
    real = int(pairs.source.lengths.sum() + pairs.target.lengths.sum())
    if isinstance(batches, Order):
        padded = _padded(batches.shapes())
    else:
        widths = (int(pairs.source.lengths[rows].max() + pairs.target.lengths[rows].max()) for rows in batches)
        padded = sum(len(rows) * width for rows, width in zip(batches, widths, strict=True))
    return real / padded if padded else 1.0
