"""Padded ids with their lengths, and what the decoder reads and says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.data.tokens import Batch, Tokens
from regard.text.tokenizer import BOS, EOS, PAD

ROWS = st.lists(st.lists(st.integers(4, 99), max_size=6), max_size=5)


@given(ROWS)
def test_rows_come_back(rows: list[list[int]]) -> None:
    tokens = Tokens.of(rows)
    width = max(map(len, rows), default=0)
    assert tokens.ids.shape == (len(rows), width)
    assert tokens.ids.dtype == tokens.lengths.dtype == torch.int64
    assert tokens.lengths.tolist() == [len(row) for row in rows]
    for ids, real, row in zip(tokens.ids.tolist(), tokens.is_real.tolist(), rows, strict=True):
        assert ids == row + [PAD] * (width - len(row))
        assert real == [True] * len(row) + [False] * (width - len(row))


def test_an_id_is_real_by_its_place_and_not_by_its_value() -> None:
    assert Tokens.of([[PAD, 5], [PAD]]).is_real.tolist() == [[True, True], [True, False]]


@given(ROWS.filter(bool))
def test_previous_and_gold_are_the_target_moved_by_one(rows: list[list[int]]) -> None:
    batch = Batch(Tokens.of([[*row, EOS] for row in rows]), Tokens.of([[BOS, *row, EOS] for row in rows]))
    for found, wanted in (
        (batch.previous, Tokens.of([[BOS, *row] for row in rows])),
        (batch.gold, Tokens.of([[*row, EOS] for row in rows])),
    ):
        assert torch.equal(found.ids, wanted.ids)  # padding too: no eos is left behind in a shorter row
        assert torch.equal(found.lengths, wanted.lengths)
    assert batch.real_targets == sum(len(row) + 1 for row in rows)


def test_to_a_device() -> None:
    rows = Tokens.of([[BOS, 7, EOS]])
    moved = Batch(rows, rows).to(torch.device("cpu"))
    assert torch.equal(moved.source.ids, rows.ids)
    assert torch.equal(moved.target.lengths, rows.lengths)
    with pytest.raises(AttributeError):
        moved.source = rows  # type: ignore[misc]
