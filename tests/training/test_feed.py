"""What the loop is fed, and how it is prepared ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from regard.data.batches import epoch_batches
from regard.data.corpus import EncodedPairs, FileCorpus, Side
from regard.training.feed import AHEAD, Food, ahead, feed


def corpus(count: int = 37) -> FileCorpus:
    lengths = torch.tensor([2 + row % 5 for row in range(count)])
    side = Side.of(torch.arange(4, 4 + int(lengths.sum())), lengths)
    return FileCorpus(EncodedPairs(side, side))


def places(food: Iterator[Food], count: int) -> list[tuple[int, int, list[list[int]]]]:
    return [(each.epoch, each.batch, [rows.tolist() for rows in each.rows]) for each in islice(food, count)]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_is_the_order_of_each_epoch_and_goes_on_from_any_place(accumulate: int) -> None:
    pairs = corpus()
    order = [[rows.tolist() for rows in epoch_batches(pairs.pairs, 30, 7, epoch)] for epoch in range(2)]
    count = sum(-(-len(each) // accumulate) for each in order)
    whole = places(feed(pairs, 30, accumulate, seed=7, epoch=0, batch=0), count)
    for epoch in range(2):
        assert [rows for at, _, step in whole if at == epoch for rows in step] == order[epoch]
    for place in range(1, count):
        epoch, batch, _ = whole[place - 1]
        rest = places(feed(pairs, 30, accumulate, seed=7, epoch=epoch, batch=batch), count - place)
        assert rest == whole[place:]


def test_real_tokens_are_counted() -> None:
    for food in islice(feed(corpus(), 30, 2, seed=1, epoch=0, batch=0), 5):
        assert food.targets == sum(batch.real_targets for batch in food.batches)
        assert food.tokens == food.targets + sum(int(batch.source.lengths.sum()) for batch in food.batches)


def test_ahead_gives_the_same_and_prepares_only_so_far() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    taken = ahead(numbers())
    assert next(taken) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + AHEAD + 1  # one used, so many ready, one in the hand
    assert list(taken) == list(range(1, 20))


def test_ahead_raises_what_making_raises_and_its_thread_ends_with_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("the disk is gone")

    with pytest.raises(ValueError, match="the disk is gone"):
        list(ahead(broken()))
    taken = ahead(iter(range(1000)))
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 5
    while any(thread.name == "regard-batches" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.05)
