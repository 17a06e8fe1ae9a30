"""Masks and the masked softmax: exact zeros, rows that sum to 1, and no row that is not a number."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from regard.attention.masks import causal_mask, length_mask, masked_softmax

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def test_n04_one_length_for_each_sequence() -> None:
    mask = length_mask(torch.tensor([2, 0, 3]), 3)
    assert mask.shape == (3, 1, 1, 3)
    assert mask[:, 0, 0].tolist() == [[True, True, False], [False, False, False], [True, True, True]]


def test_n04_one_length_for_each_query() -> None:
    mask = length_mask(torch.tensor([[1, 3], [0, 2]]), 3)
    assert mask.shape == (2, 1, 2, 3)
    assert mask[:, 0].int().tolist() == [[[1, 0, 0], [1, 1, 1]], [[0, 0, 0], [1, 1, 0]]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lengths", [torch.tensor([5, 2, 0]), torch.tensor([[5, 1], [0, 4], [2, 0]])], ids=["1d", "2d"])
def test_n04_outside_the_length_exactly_0_inside_1_in_sum(lengths: torch.Tensor, dtype: torch.dtype) -> None:
    scores = (torch.randn(3, 4, 2, 5) * 8).to(dtype)
    allowed = length_mask(lengths, 5).expand(3, 4, 2, 5)
    weights = masked_softmax(scores, allowed)
    assert weights.dtype == dtype
    assert weights[~allowed].count_nonzero() == 0
    assert not weights.isnan().any()
    assert_close(weights.sum(-1), allowed.any(-1).to(dtype), atol=1e-2 if dtype != torch.float32 else 1e-6, rtol=0)
    inside = scores[0, :, 0, :5].float().softmax(-1)  # the first sequence has no padding
    assert_close(weights[0, :, 0].float(), inside, atol=1e-2 if dtype != torch.float32 else 1e-6, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("level", [-30_000.0, 0.0, 30_000.0])
def test_e5_a_row_without_anything_to_see_is_0_at_any_level_of_scores(level: float, dtype: torch.dtype) -> None:
    scores = torch.full((1, 1, 2, 4), level).to(dtype)
    weights = masked_softmax(scores, torch.tensor([[0], [2]]).gt(torch.arange(4))[None, None])
    assert weights[0, 0].tolist() == [[0, 0, 0, 0], [0.5, 0.5, 0, 0]]


def test_e5_a_gradient_through_a_row_without_anything_to_see_is_0() -> None:
    scores = torch.randn(1, 1, 2, 4, requires_grad=True)
    weights = masked_softmax(scores, torch.tensor([[0], [3]]).gt(torch.arange(4))[None, None])
    (weights * torch.randn_like(weights)).sum().backward()
    assert scores.grad is not None
    assert scores.grad[0, 0, 0].tolist() == [0, 0, 0, 0]
    assert scores.grad[0, 0, 1, 3] == 0
    assert scores.grad[0, 0, 1, :3].count_nonzero() == 3


def test_no_mask_is_the_plain_softmax() -> None:
    scores = torch.randn(2, 3, 4)
    assert torch.equal(masked_softmax(scores, None), scores.softmax(-1))


def test_causal_mask_lets_each_position_see_itself_and_what_came_before() -> None:
    assert causal_mask(3, 3)[0, 0].int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("queries", "keys", "wanted"),
    [(1, 3, [[1, 1, 1]]), (2, 3, [[1, 1, 0], [1, 1, 1]]), (3, 2, [[0, 0], [1, 0], [1, 1]])],
)
def test_the_last_query_stands_at_the_last_key(queries: int, keys: int, wanted: list[list[int]]) -> None:
    assert causal_mask(queries, keys)[0, 0].int().tolist() == wanted
