from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from toy_search import Logits, Toy, forced, random_logits, small_vocabulary

from regard.decoding import Greedy, Sampling
from regard.decoding.interface import Conditions, Found
from regard.errors import UsageError

ROW = [-math.inf, -math.inf, -math.inf, 0.0, 1.0, 2.0, 0.5]  # letters 3, 4, 5, 6


def constant(_: int, __: tuple[int, ...]) -> list[float]:
    return ROW


def search(sampling: Sampling | Greedy, logits: Logits, limits: list[int], keys: list[int], size: int) -> list[Found]:
    toy = Toy(logits)
    rows = toy.start(keys)
    return sampling(toy.step, rows, torch.tensor(limits), small_vocabulary(size), Conditions(keys=keys))


def drawn(sampling: Sampling) -> Counter[int]:
    [found] = search(sampling, constant, [1], [0], len(ROW))
    return Counter(hypothesis.ids[0] for hypothesis in found.hypotheses)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    count = 4000
    shares = torch.tensor(ROW[3:]).div(temperature).softmax(0).tolist()
    counts = drawn(Sampling(count, temperature))
    for id, share in enumerate(shares, start=3):
        assert counts[id] / count == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / count))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"top_k": 1}, {5}),
        ({"top_k": 2}, {4, 5}),
        ({"top_k": 99}, {3, 4, 5, 6}),
        ({"top_p": 0.1}, {5}),
        ({"top_p": 0.6}, {4, 5}),
        ({"min_p": 0.3}, {4, 5}),
        ({"min_p": 0.2}, {4, 5, 6}),
        ({"min_p": 1.0}, {5}),
        ({"top_k": 3, "min_p": 0.3}, {4, 5}),
        ({"temperature": 0.01}, {5}),
    ],
)
def test_what_may_be_drawn(options: dict[str, float], left: set[int]) -> None:
    assert set(drawn(Sampling(400, **options))) == left


def test_the_seed_and_the_key_are_all_that_matters() -> None:
    logits, limits = random_logits(9, 3), [5, 9, 2, 7]
    together = search(Sampling(3), logits, limits, [0, 1, 2, 3], 9)
    moved = search(Sampling(3), logits, limits[::-1], [3, 2, 1, 0], 9)[::-1]
    alone = [search(Sampling(3), logits, [limit], [key], 9)[0] for key, limit in enumerate(limits)]
    assert [found.hypotheses for found in together] == [found.hypotheses for found in moved]
    assert [found.hypotheses for found in together] == [found.hypotheses for found in alone]
    more = search(Sampling(5), logits, limits, [0, 1, 2, 3], 9)
    assert [found.hypotheses[:3] for found in more] == [found.hypotheses for found in together]
    other = search(Sampling(3, seed=2), logits, limits, [0, 1, 2, 3], 9)
    assert [found.hypotheses for found in other] != [found.hypotheses for found in together]


def test_sentences_and_samples_draw_apart() -> None:
    one, other = search(Sampling(30), constant, [1, 1], [0, 1], len(ROW))
    drawn_by = [[hypothesis.ids for hypothesis in found.hypotheses] for found in (one, other)]
    assert drawn_by[0] != drawn_by[1]
    assert len({tuple(ids) for ids in drawn_by[0]}) > 1


def test_reported_probabilities_are_the_models_own() -> None:
    logits = random_logits(8, 6)
    options = Sampling(4, temperature=1.7, top_k=4)
    for key, found in enumerate(search(options, logits, [6, 6], [0, 1], 8)):
        for hypothesis in found.hypotheses:
            by_force = forced(logits, key, hypothesis.ids, small_vocabulary(8), hypothesis.finished)
            assert hypothesis.log_probability == pytest.approx(by_force)
            assert sum(hypothesis.log_probabilities) == pytest.approx(by_force)


def test_one_candidate_is_greedy() -> None:
    logits = random_logits(8, 6)
    one = search(Sampling(1, top_k=1), logits, [6, 0, 6], [0, 1, 2], 8)
    greedy = search(Greedy(), logits, [6, 0, 6], [0, 1, 2], 8)
    assert [found.hypotheses for found in one] == [found.hypotheses for found in greedy]


def test_a_draw_at_the_edge_of_what_is_allowed_is_not_sure() -> None:
    def tied(_: int, __: tuple[int, ...]) -> list[float]:
        return [-math.inf, -math.inf, -math.inf, 1.0, 1.0 + 1e-7]

    [found] = search(Sampling(40, top_k=1), tied, [1], [0], 5)
    assert found.margin < 1e-5
    [found] = search(Sampling(1, top_k=1), constant, [1], [0], len(ROW))
    assert found.margin > 1e-3


@pytest.mark.parametrize(
    "impossible",
    [{"samples": 0}, {"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": -0.1}],
)
def test_impossible_options_are_refused(impossible: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(impossible))):
        Sampling(**impossible)
