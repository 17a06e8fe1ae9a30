"""What the loop is fed: every batch once, in order, from any place, across epochs and blocks."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from regard.data import batches
from regard.data.corpus import EncodedPairs, FileCorpus, Side
from regard.training.feed import Food, feed

ACCUMULATE = 3


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> FileCorpus:
    """Several blocks of several batches; each pair has an id of its own."""
    for name, value in (("BLOCK", 40), ("CHUNK", 4), ("BATCHES", 1)):
        monkeypatch.setattr(batches, name, value)
    lengths = torch.arange(200, dtype=torch.int32) % 7 + 2
    ids = torch.arange(200, dtype=torch.int32).repeat_interleave(lengths) + 4
    return FileCorpus(EncodedPairs(Side.of(ids, lengths), Side.of(ids, lengths)))


def taken(corpus: FileCorpus, steps: int, epoch: int = 0, batch: int = 0) -> list[Food]:
    return list(islice(feed(corpus, 60, ACCUMULATE, 1, epoch, batch), steps))


def as_lists(food: Food) -> list[list[int]]:
    return [rows.tolist() for rows in food.rows]


def test_an_epoch_feeds_every_pair_once(corpus: FileCorpus) -> None:
    order = batches.epoch_batches(corpus.pairs, 60, 1, 0)
    assert len(order) % ACCUMULATE  # the last step of an epoch has fewer batches
    steps = -(-len(order) // ACCUMULATE)
    meals = taken(corpus, steps + 1)
    assert [rows for food in meals[:-1] for rows in as_lists(food)] == [rows.tolist() for rows in order]
    assert sorted(row for food in meals[:-1] for rows in as_lists(food) for row in rows) == list(range(200))
    assert [food.batch for food in meals] == [*range(ACCUMULATE, len(order), ACCUMULATE), len(order), ACCUMULATE]
    assert [food.epoch for food in meals] == [0] * steps + [1]
    for food in meals:
        for rows, batch in zip(food.rows, food.batches, strict=True):
            assert batch.source.ids[:, 0].tolist() == (rows + 4).tolist()
        assert food.tokens == food.targets + sum(int(batch.source.lengths.sum()) for batch in food.batches)


def test_it_goes_on_from_any_step(corpus: FileCorpus) -> None:
    meals = taken(corpus, 40)
    for done, food in enumerate(meals[:-1], 1):
        rest = taken(corpus, len(meals) - done, food.epoch, food.batch)
        assert [(each.epoch, each.batch, as_lists(each)) for each in rest] == [
            (each.epoch, each.batch, as_lists(each)) for each in meals[done:]
        ]
