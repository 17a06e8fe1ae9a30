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


# In a small corpus few pairs share a source length, and a batch spans several: then it pays to sort within strips that
# are that many lengths wide. In a large one a batch lies inside one length.
STRIPS = (1, 2, 4, 8)
LARGE = 100_000  # pairs


def epoch_batches(pairs: EncodedPairs, tokens_per_batch: int, seed: int, epoch: int) -> list[Int[Tensor, " B"]]:
    """Rows of every batch of an epoch, in order; each pair stands in exactly one.

    Pairs of like lengths stand together (about 95 % of the tokens are then real, 90 % where there are only some dozens
    of batches), ties and batches in random order. A batch holds at most `tokens_per_batch` padded source and target
    tokens, or a single pair.
    """
    if len(pairs) == 0:
        return []
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    shuffled = torch.randperm(len(pairs), generator=generator)
    strips = STRIPS if len(pairs) < LARGE else STRIPS[:1]
    candidates = [_fill(pairs, shuffled[_by_length(pairs, shuffled, strip)], tokens_per_batch) for strip in strips]
    _, batches = min(candidates, key=lambda candidate: candidate[0])
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def _by_length(pairs: EncodedPairs, order: Tensor, strip: int) -> Tensor:
    """Sorts by strips of source lengths and, inside, by target length: up in one strip and down in the next.

    So neighbours are alike in both lengths where two strips meet as well.
    """
    strips, targets = pairs.source.lengths[order] // strip, pairs.target.lengths[order]
    return (strips * (2 * int(targets.max()) + 1) + targets * (1 - 2 * (strips % 2))).argsort(stable=True)


def _fill(pairs: EncodedPairs, order: Tensor, budget: int) -> tuple[int, list[Tensor]]:
    """Cuts `order` where one more row would pass the budget; how many tokens, padding included, and the pieces."""
    cuts, padded, start, widest_source, widest_target = [], 0, 0, 0, 0
    lengths = (side.lengths[order].tolist() for side in (pairs.source, pairs.target))
    for place, (source, target) in enumerate(zip(*lengths, strict=True)):
        width = widest_source + widest_target
        widest_source, widest_target = max(widest_source, source), max(widest_target, target)
        if place > start and (place - start + 1) * (widest_source + widest_target) > budget:
            cuts.append(place)
            padded += (place - start) * width
            start, widest_source, widest_target = place, source, target
    padded += (len(order) - start) * (widest_source + widest_target)
    return padded, list(order.tensor_split(cuts))


def real_share(pairs: EncodedPairs, batches: list[Tensor]) -> float:
    """Real tokens / padded tokens over the batches of an epoch; 1.0 for no pairs."""
    real = int(pairs.source.lengths.sum() + pairs.target.lengths.sum())
    padded = sum(
        len(rows) * int(pairs.source.lengths[rows].max() + pairs.target.lengths[rows].max()) for rows in batches
    )
    return real / padded if padded else 1.0
