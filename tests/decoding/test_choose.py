from __future__ import annotations

import math

import pytest
import torch

from regard.decoding.choose import LogSoftmax, best, forbid, log_probabilities
from regard.errors import RegardError


def by_sorting(values: torch.Tensor, count: int) -> torch.Tensor:
    return values.sort(dim=1, descending=True, stable=True).indices[:, :count]


@pytest.mark.parametrize("width", [1, 3, 50, 4096, 5003, 32000])
@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("kind", ["distinct", "tied", "mostly impossible", "equal", "tied at the edge"])
def test_best_is_a_stable_sort(width: int, count: int, kind: str) -> None:
    values = torch.randn(7, width)
    if kind == "tied":
        values = values.round()
    if kind == "mostly impossible":
        values[torch.rand(7, width) < 0.9] = -torch.inf
    if kind == "equal":
        values = torch.zeros(7, width)
    if kind == "tied at the edge":
        values = torch.where(values > 2, values, torch.minimum(values, torch.tensor(1.0)))
    top, columns = best(values, count)
    expected = by_sorting(values, count)
    possible = values.gather(1, expected) > -torch.inf  # the order of what is impossible does not matter
    assert torch.equal(top, values.gather(1, expected))
    assert torch.equal(columns[possible], expected[possible])
    assert torch.equal(values.gather(1, columns), top)


@pytest.mark.parametrize("width", [7, 50, 1000, 8001, 32000])
def test_log_probabilities_have_the_same_bits_in_any_batch(width: int) -> None:
    logits = torch.randn(65, width) * 5
    together = log_probabilities(logits.clone())
    alone = torch.cat([log_probabilities(logits[row : row + 1].clone()) for row in range(65)])
    assert torch.equal(together, alone)
    assert torch.equal(log_probabilities(logits[20:31].clone()), together[20:31])


def test_log_probabilities_are_normalised_in_at_least_float32() -> None:
    low = torch.randn(3, 9, dtype=torch.bfloat16)
    assert log_probabilities(low).dtype == torch.float32
    torch.testing.assert_close(log_probabilities(low).exp().sum(1), torch.ones(3))
    assert log_probabilities(low.double()).dtype == torch.float64


def test_forbid_leaves_the_others_alone() -> None:
    before = torch.randn(3, 6)
    values = forbid(log_probabilities(before.clone()), torch.tensor([0, 4]))
    assert torch.equal(values[:, [1, 2, 3, 5]], torch.log_softmax(before, 1)[:, [1, 2, 3, 5]])
    assert values[:, [0, 4]].max() == -torch.inf


def test_a_row_without_possible_ids_stays_impossible() -> None:
    logits = torch.randn(3, 6)
    logits[1] = -torch.inf
    values = log_probabilities(logits.clone())
    assert values[1].max() == -torch.inf
    assert torch.equal(values[0], torch.log_softmax(logits[0], 0))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("column", [0, 5])
def test_what_is_not_a_number_is_an_error(broken: float, column: int) -> None:
    logits = torch.randn(3, 6)
    logits[1, column] = broken
    with pytest.raises(RegardError, match="not numbers"):
        log_probabilities(logits)


def test_a_kept_tensor_gives_the_same_bits_and_leaves_the_logits_alone() -> None:
    kept = LogSoftmax()
    for rows, dtype in (
        (4, torch.float32),
        (9, torch.float32),
        (2, torch.float32),
        (3, torch.bfloat16),
        (5, torch.float64),
    ):
        logits = torch.randn(rows, 50).to(dtype)
        before = logits.clone()
        assert torch.equal(kept(logits), log_probabilities(before))
        assert torch.equal(logits, before)
