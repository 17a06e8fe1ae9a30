from __future__ import annotations

import pytest
import torch
from toy_search import Toy, forced, random_logits, small_vocabulary

from regard.decoding.forced import forced_score
from regard.errors import UsageError

IDS = [[3, 4, 3], [], [5], [0, 1, 2, 3, 4]]  # ids that search never generates are scored all the same


@pytest.mark.parametrize("finished", [None, [True, False, False, True]])
def test_forced_scores_are_sums_over_the_whole_vocabulary(finished: list[bool] | None) -> None:
    logits, vocabulary = random_logits(6, 4), small_vocabulary(6)
    toy = Toy(logits)
    scores = forced_score(toy.step, toy.start(range(4)), IDS, vocabulary, finished=finished)
    flags = finished or [True] * 4
    expected = [
        forced(logits, row, ids, vocabulary, end) for row, (ids, end) in enumerate(zip(IDS, flags, strict=True))
    ]
    assert scores == pytest.approx(expected, abs=1e-12)


def test_a_row_does_not_depend_on_the_others() -> None:
    toy, vocabulary = Toy(random_logits(6, 4), torch.float32), small_vocabulary(6)
    together = forced_score(toy.step, toy.start(range(4)), IDS, vocabulary)
    assert together == [forced_score(toy.step, toy.start([row]), [IDS[row]], vocabulary)[0] for row in range(4)]


def test_an_impossible_id_gives_minus_infinity_and_no_rows_none() -> None:
    toy, vocabulary = Toy(lambda *_: [0.0, 0.0, 0.0, -torch.inf, 0.0, 0.0]), small_vocabulary(6)
    assert forced_score(toy.step, toy.start(range(2)), [[4], [3]], vocabulary)[1] == -torch.inf
    assert forced_score(toy.step, toy.start([]), [], vocabulary) == []
    assert forced_score(toy.step, toy.start([0]), [[]], vocabulary, finished=[False]) == [0.0]


def test_what_cannot_be_scored_is_refused() -> None:
    toy, vocabulary = Toy(random_logits(6, 4)), small_vocabulary(6)
    with pytest.raises(UsageError, match="id 6 does not lie in a vocabulary of 6"):
        forced_score(toy.step, toy.start([0]), [[3, 6]], vocabulary)
    with pytest.raises(UsageError, match="1 rows to score, but 2 flags"):
        forced_score(toy.step, toy.start([0]), [[3]], vocabulary, finished=[True, True])
