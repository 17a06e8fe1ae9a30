"""How the threads that torch may use share out the work of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from regard.models.interface import EncoderDecoder

FEW = 2**25  # multiply-adds of a step: below, a second thread was measured to slow it down
Item = TypeVar("Item")
Result = TypeVar("Result")


def work_of_a_row(models: Sequence[EncoderDecoder]) -> int:
    """Multiply-adds of one step of one hypothesis: each number of each matrix of the decoders once."""
    weights = (weight for model in models for weight in model.decoder.parameters() if weight.dim() > 1)
    return sum(weight.numel() for weight in weights)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for torch's operations, and as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def share_out(
    batches: Sequence[Sequence[Item]], rows: int, work: int, device: torch.device
) -> tuple[list[Sequence[Item]], int]:
    """Parts to search side by side, and how many threads each part's operations get.

    `rows` hypotheses a sentence, of `work` multiply-adds a step each. Threads that each search a part of their own wait
    for each other once; threads that share each operation wait at every one. So there is a part for each thread, as
    long as a part is worth a thread; a few large rows share their operations; small ones get one thread in all.
    A GPU shares out each operation itself, and gets the batches whole, one after another.
    """
    if device.type != "cpu":
        return list(batches), torch.get_num_threads()
    workers = torch.get_num_threads()
    parts = list(batches)
    if len(parts) == 1 and len(parts[0]) * rows * work >= workers * FEW:
        share = -(-len(parts[0]) // workers)
        parts = [parts[0][start : start + share] for start in range(0, len(parts[0]), share)]
    largest = max((len(part) for part in parts), default=0) * rows * work
    return parts, workers if len(parts) == 1 and largest >= FEW else 1


def side_by_side(search: Callable[[Item], Result], parts: Sequence[Item], each: int) -> list[Result]:
    """The results of all parts, in order, each part on a thread of its own whose operations take `each` threads."""
    workers = min(torch.get_num_threads(), len(parts)) if each == 1 else 1
    with threads(each):
        if workers <= 1:
            return [search(part) for part in parts]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(search, parts))
