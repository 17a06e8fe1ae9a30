"""The promise behind settle.py: an answer whose margin is larger than an error of the logits is not changed by it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from toy_search import Logits, Toy, random_logits, small_vocabulary

from regard.decoding import Beam, Greedy, Ranking, Sampling
from regard.decoding.filters import NoRepeat
from regard.decoding.interface import Conditions, Found, Strategy

STRATEGIES: list[Strategy] = [
    Greedy(),
    Beam(2),
    Beam(4, 4, Ranking(0.6)),
    Beam(4, 2, Ranking(1.0, "length")),
    Beam(6, 3, groups=3, diversity=0.4),
    Sampling(2),
    Sampling(2, 0.7, top_k=3, top_p=0.8, min_p=0.05),
]
LIMITS = [6, 4, 0, 7, 5, 6, 3, 6]


def disturbed(logits: Logits, size: float, seed: int) -> Logits:
    def nearly(sentence: int, prefix: tuple[int, ...]) -> list[float]:
        draw = random.Random(f"{seed} {sentence} {prefix}")
        return [value + draw.uniform(-size, size) for value in logits(sentence, prefix)]

    return nearly


def search(strategy: Strategy, logits: Logits, conditions: Conditions) -> list[Found]:
    toy = Toy(logits)
    rows = toy.start(range(len(LIMITS)))
    return strategy(toy.step, rows, torch.tensor(LIMITS), small_vocabulary(7), conditions)


@pytest.mark.parametrize("make", [lambda: Conditions(), lambda: Conditions((NoRepeat(2),)), lambda: required()])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_what_is_surer_than_the_error_does_not_change(strategy: Strategy, make: Callable[[], Conditions]) -> None:
    conditions, error = make(), 0.001
    if conditions.required and (not isinstance(strategy, Beam) or strategy.groups > 1):
        pytest.skip("required phrases need a plain beam")
    # Each logit is off by at most `error`, its log-probability by twice that, a sum of 8 of them by 16 times, and the
    # difference of two sums by twice as much again.
    bound, sure = 32 * error, 0
    for seed in range(6):
        logits = random_logits(7, seed)
        exact = search(strategy, logits, conditions)
        nearly = search(strategy, disturbed(logits, error, seed), conditions)
        for one, other in zip(exact, nearly, strict=True):
            same = [each.ids for each in one.hypotheses] == [each.ids for each in other.hypotheses]
            sure += one.margin > bound
            assert same or max(one.margin, other.margin) <= bound
    assert sure > 5  # the test says something


def required() -> Conditions:
    return Conditions(required=[[(3, 4)]] * len(LIMITS))


def test_a_margin_tells_a_tie() -> None:
    def tied(_: int, prefix: tuple[int, ...]) -> list[float]:
        return [0.0, 0.0, -50.0, 1.0, 1.0, 0.9, 0.8] if len(prefix) == 1 else [0.0, 0.0, 50.0, 1.0, 0.5, 0.0, -1.0]

    for strategy in (Greedy(), Beam(1)):
        assert max(found.margin for found in search(strategy, tied, Conditions()) if found.hypotheses[0].ids) == 0.0
    # A beam of two keeps both, and their scores tie.
    assert search(Beam(2), tied, Conditions())[0].margin == 0.0
