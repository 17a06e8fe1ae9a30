from __future__ import annotations

import pytest
import torch

from regard.decoding.interface import Hypothesis
from regard.decoding.ranking import length_penalty, rank, score


def test_the_penalty_of_the_paper() -> None:
    assert length_penalty(1.0, 0.7) == 1.0
    assert length_penalty(7.0, 1.0) == 2.0
    assert length_penalty(7.0, 0.0) == 1.0
    assert length_penalty(19.0, 0.5) == 2.0
    torch.testing.assert_close(length_penalty(torch.tensor([1.0, 7.0]), 1.0), torch.tensor([1.0, 2.0]))
    assert score(-3.0, 7.0, 1.0) == -1.5


def test_rank_puts_finished_ones_first_and_keeps_the_order_of_equals() -> None:
    one, two = Hypothesis([5], -2.0, -2.0, True), Hypothesis([6], -2.0, -2.0, True)
    better, cut = Hypothesis([7], -1.0, -1.0, True), Hypothesis([8], -0.5, -0.5, False)
    assert rank([cut, one, two, better], 4) == [better, one, two, cut]
    assert rank([cut, two, one, better], 2) == [better, two]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_the_score_grows_with_the_length(alpha: float) -> None:
    scores = [score(-3.0, float(length), alpha) for length in range(1, 30)]
    assert scores == sorted(scores)
