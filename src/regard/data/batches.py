"""The order of training: which pairs stand together in a batch, and which batch comes when.

Both depend on (seed, epoch) alone, so a resumed run needs to know only how many batches of the epoch are done.
"""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Int
from torch import Tensor

from regard.data.corpus import EncodedPairs


def mix(*numbers: int) -> int:
    """A seed of 63 bits from several numbers; near numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def epoch_batches(pairs: EncodedPairs, tokens_per_batch: int, seed: int, epoch: int) -> list[Int[Tensor, " B"]]:
    """Rows of every batch of an epoch, in order; each pair stands in exactly one.

    Pairs of like lengths stand together (about 95 % of the tokens are then real), ties and batches in random order. A
    batch holds at most `tokens_per_batch` padded source and target tokens, or a single pair.
    """
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    order = torch.randperm(len(pairs), generator=generator)
    for side in (pairs.target, pairs.source):  # stable: by source length, then target length, then chance
        order = order[side.lengths[order].argsort(stable=True)]
    batches = _fill(order, pairs.source.lengths[order], pairs.target.lengths[order], tokens_per_batch)
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def _fill(order: Tensor, sources: Tensor, targets: Tensor, budget: int) -> list[Tensor]:
    """Cuts `order` where one more row would pass the budget."""
    cuts, start, widest_source, widest_target = [], 0, 0, 0
    for place, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        widest_source, widest_target = max(widest_source, source), max(widest_target, target)
        if place > start and (place - start + 1) * (widest_source + widest_target) > budget:
            cuts.append(place)
            start, widest_source, widest_target = place, source, target
    return list(order.tensor_split(cuts))


def real_share(pairs: EncodedPairs, batches: list[Tensor]) -> float:
    """Real tokens / padded tokens over batches."""
    real = int(pairs.source.lengths.sum() + pairs.target.lengths.sum())
    padded = sum(
        len(rows) * int(pairs.source.lengths[rows].max() + pairs.target.lengths[rows].max()) for rows in batches
    )
    return real / padded
