from __future__ import annotations

import math

import pytest
import torch

from regard.decoding.interface import Hypothesis
from regard.decoding.ranking import Ranking, rank
from regard.errors import UsageError


def hypothesis(id: int, score: float, finished: bool = True, met: bool = True) -> Hypothesis:
    return Hypothesis([id], [score], score, score, 1.0, 0.0, finished, met)


def test_the_penalties_of_the_papers() -> None:
    assert Ranking(0.7).length_penalty(1.0) == 1.0
    assert Ranking(1.0).length_penalty(7.0) == 2.0
    assert Ranking(0.0).length_penalty(7.0) == 1.0
    assert Ranking(0.5).length_penalty(19.0) == 2.0
    assert Ranking(1.0, "length").length_penalty(7.0) == 7.0
    assert Ranking(0.5, "length").length_penalty(9.0) == 3.0
    torch.testing.assert_close(Ranking(1.0).length_penalty(torch.tensor([1.0, 7.0])), torch.tensor([1.0, 2.0]))


def test_coverage_counts_what_was_not_looked_at_in_full() -> None:
    covered = torch.tensor([[1.0, 3.0, 0.5], [0.25, 1.0, 1.0]], dtype=torch.float64)
    expected = [0.2 * math.log(0.5), 0.2 * math.log(0.25)]
    assert Ranking(coverage=0.2).coverage_penalty(covered).tolist() == pytest.approx(expected)


def test_rank_puts_what_meets_all_then_finished_ones_first_and_keeps_the_order_of_equals() -> None:
    one, two, better = hypothesis(5, -2.0), hypothesis(6, -2.0), hypothesis(7, -1.0)
    cut, unmet = hypothesis(8, -0.5, finished=False), hypothesis(9, -0.1, met=False)
    assert rank([unmet, cut, one, two, better], 5) == ([better, one, two, cut, unmet], 0.0)
    assert rank([cut, two, one, better], 2) == ([better, two], 0.0)
    assert rank([cut, two, better], 1) == ([better], 1.0)
    assert rank([cut, better], 2) == ([better, cut], math.inf)


@pytest.mark.parametrize("kind", ["gnmt", "length"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_the_score_grows_with_the_length(alpha: float, kind: str) -> None:
    scores = [-3.0 / Ranking(alpha, kind).length_penalty(float(length)) for length in range(1, 30)]
    assert scores == sorted(scores)


@pytest.mark.parametrize("impossible", [-0.5, math.nan, math.inf])
def test_impossible_penalties_are_refused(impossible: float) -> None:
    with pytest.raises(UsageError, match="length penalty must be 0 or more"):
        Ranking(impossible)
    with pytest.raises(UsageError, match="coverage penalty must be 0 or more"):
        Ranking(coverage=impossible)
