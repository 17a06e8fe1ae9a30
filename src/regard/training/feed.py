"""What the loop is fed: the batches of one step after another, prepared while the step before runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from regard.data.batches import epoch_batches
from regard.data.corpus import Corpus, EncodedPairs
from regard.data.tokens import Batch

AHEAD = 2  # steps that are prepared before they are asked for
Item = TypeVar("Item")


@dataclass(frozen=True)
class Food:
    """The pairs of one step: `rows` of `pairs`, a tensor a batch. After it, `batch` batches of `epoch` are done.

    `targets` and `tokens` are real target tokens, and real tokens of both sides.
    """

    epoch: int
    batch: int
    pairs: EncodedPairs
    rows: tuple[Int[Tensor, " _"], ...]
    batches: tuple[Batch, ...]
    targets: int
    tokens: int


def feed(corpus: Corpus, tokens_per_batch: int, accumulate: int, seed: int, epoch: int, batch: int) -> Iterator[Food]:
    """Without end, from the place where `batch` batches of `epoch` are done: a pure function of its arguments."""
    while True:
        pairs = corpus.epoch(epoch)
        coming = epoch_batches(pairs, tokens_per_batch, seed, epoch).after(batch)
        while rows := tuple(islice(coming, accumulate)):
            batch += len(rows)
            yield _food(epoch, batch, pairs, rows)
        epoch, batch = epoch + 1, 0


def _food(epoch: int, batch: int, pairs: EncodedPairs, rows: tuple[Tensor, ...]) -> Food:
    together = torch.cat(rows)
    targets = int(pairs.target.lengths[together].sum()) - len(together)  # bos is given, not predicted
    tokens = targets + int(pairs.source.lengths[together].sum())
    return Food(epoch, batch, pairs, rows, tuple(pairs.batch(each) for each in rows), targets, tokens)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made by a thread while the one before is used. What making them raises is raised here."""
    ready: queue.Queue[Item | BaseException | None] = queue.Queue(AHEAD)
    stop = threading.Event()
    threading.Thread(target=_make, args=(items, ready, stop), name="regard-batches", daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()


def _make(items: Iterator[Item], ready: queue.Queue[Item | BaseException | None], stop: threading.Event) -> None:
    try:
        for item in items:
            if not _put(ready, item, stop):
                return
        _put(ready, None, stop)
    except BaseException as error:
        _put(ready, error, stop)


def _put(
    ready: queue.Queue[Item | BaseException | None], item: Item | BaseException | None, stop: threading.Event
) -> bool:
    """Waits for room, but not for ever for somebody who has gone."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.2)
        except queue.Full:
            continue
        return True
    return False
