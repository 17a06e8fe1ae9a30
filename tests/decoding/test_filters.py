"""Every filter, alone and with others: a beam as wide as the space against all that the filters' words allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import pytest
import torch
from toy_search import Toy, exhaustive, forced, random_logits, small_vocabulary

from regard.decoding import Beam, Greedy, Ranking, Sampling
from regard.decoding.filters import NOTHING, BiasedPrefix, Forbidden, ForcedPrefix, MinimumLength, NoRepeat
from regard.decoding.interface import Conditions, Filter, Found, Moment, Strategy

Allowed = Callable[[Sequence[int]], bool]
LIMITS = [4, 3, 4]
EOS, SIZE = 2, 6  # letters 3, 4, 5
PHRASES = [(3, 4), (5,), (4, 4, 3)]


def holds(ids: Sequence[int], phrase: Sequence[int]) -> bool:
    return any(tuple(ids[start : start + len(phrase)]) == tuple(phrase) for start in range(len(ids)))


def repeats(ids: Sequence[int], size: int) -> bool:
    windows = [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]
    return len(set(windows)) < len(windows)


def is_whole_word(ids: Sequence[int], phrase: Sequence[int], continuing: set[int]) -> bool:
    ends = [start + len(phrase) for start in range(len(ids)) if tuple(ids[start : start + len(phrase)]) == phrase]
    return any(end == len(ids) or ids[end] not in continuing for end in ends)


CASES: dict[str, tuple[Filter, Allowed]] = {
    "minimum": (MinimumLength(torch.tensor([2, 2, 2]), EOS), lambda ids: len(ids) >= 2),
    "prefix": (ForcedPrefix(torch.tensor([[3, 4], [3, 4], [3, 4]])), lambda ids: list(ids[:2]) == [3, 4]),
    "no-repeat-1": (NoRepeat(1), lambda ids: not repeats(ids, 1)),
    "no-repeat-2": (NoRepeat(2), lambda ids: not repeats(ids, 2)),
    "forbidden": (Forbidden([PHRASES] * 3), lambda ids: not any(holds(ids, phrase) for phrase in PHRASES)),
    "forbidden-words": (
        Forbidden([PHRASES] * 3, frozenset({4})),
        lambda ids: not any(is_whole_word(ids, phrase, {4}) for phrase in PHRASES),
    ),
}


def search(strategy: Strategy, toy: Toy, limits: list[int], conditions: Conditions, size: int = SIZE) -> list[Found]:
    rows = toy.start(range(len(limits)))
    return strategy(toy.step, rows, torch.tensor(limits), small_vocabulary(size), conditions)


RANKINGS = [Ranking(0.0), Ranking(1.0, "length"), Ranking(0.6)]
TOGETHER = [((name,), ranking) for name in CASES for ranking in RANKINGS]
TOGETHER += [(names, RANKINGS[number % 3]) for number, names in enumerate(combinations(CASES, 2))]


@pytest.mark.parametrize(("names", "ranking"), TOGETHER, ids=str)
def test_a_wide_beam_finds_the_best_of_what_is_allowed(names: tuple[str, ...], ranking: Ranking) -> None:
    filters = tuple(CASES[name][0] for name in names)
    logits = random_logits(SIZE, 7)

    def allowed(ids: Sequence[int]) -> bool:
        return all(CASES[name][1](ids) for name in names)

    found = search(Beam(200, 3, ranking), Toy(logits), LIMITS, Conditions(filters))
    for row, (limit, each) in enumerate(zip(LIMITS, found, strict=True)):
        wanted = exhaustive(
            logits, row, limit, small_vocabulary(SIZE), ranking.alpha, allowed=allowed, kind=ranking.kind
        )
        finished = [hypothesis for hypothesis in each.hypotheses if hypothesis.finished]
        assert [hypothesis.ids for hypothesis in finished] == [ids for ids, _ in wanted[:3]]
        assert [hypothesis.score for hypothesis in finished] == pytest.approx([score for _, score in wanted[:3]])


@pytest.mark.parametrize("strategy", [Greedy(), Beam(3, 3), Sampling(4), Beam(4, 4, groups=2)], ids=repr)
@pytest.mark.parametrize("name", CASES)
def test_every_strategy_keeps_to_every_filter(name: str, strategy: Strategy) -> None:
    filter_, allowed = CASES[name]
    for found in search(strategy, Toy(random_logits(SIZE, 3)), [6, 2, 5], Conditions((filter_,))):
        for hypothesis in found.hypotheses:
            assert allowed(hypothesis.ids) or not hypothesis.finished


@pytest.mark.parametrize("name", CASES)
def test_a_filter_leaves_what_it_was_given_alone(name: str) -> None:
    values = torch.randn(3, SIZE).log_softmax(1)
    before = values.clone()
    for history in ([], [3], [3, 4], [3, 4, 3], [5, 3, 4, 4]):
        CASES[name][0](values, Moment(torch.tensor([history] * 3, dtype=torch.int64), torch.arange(3)))
    assert torch.equal(values, before)


def test_prefixes_of_other_lengths_and_none() -> None:
    prefix = torch.tensor([[3, 3, 5], [4, NOTHING, NOTHING], [NOTHING] * 3])
    logits = random_logits(SIZE, 2)
    free = search(Greedy(), Toy(logits), [4, 4, 4], Conditions())
    kept = search(Greedy(), Toy(logits), [4, 4, 4], Conditions((ForcedPrefix(prefix),)))
    assert kept[0].hypotheses[0].ids[:3] == [3, 3, 5]
    assert kept[1].hypotheses[0].ids[:1] == [4]
    assert kept[2] == free[2]
    for row, found in enumerate(kept):
        [best] = found.hypotheses
        assert best.log_probability == pytest.approx(
            forced(logits, row, best.ids, small_vocabulary(SIZE), best.finished), abs=1e-9
        )


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_a_biased_prefix_mixes_probabilities_while_a_hypothesis_keeps_to_it(strength: float) -> None:
    values = torch.randn(3, SIZE, dtype=torch.float64).log_softmax(1)
    prefix = torch.tensor([[3, 4], [3, 4], [5, NOTHING]])
    moment = Moment(torch.tensor([[3], [5], [5]]), torch.tensor([0, 1, 2]))  # keeps to it, has left it, is through
    biased = BiasedPrefix(prefix, strength)(values, moment).exp()
    mixed = (1 - strength) * values[0].exp()
    mixed[4] += strength
    torch.testing.assert_close(biased[0], mixed)
    torch.testing.assert_close(biased[1:], values[1:].exp())


def test_a_bias_changes_the_search_and_no_reported_score() -> None:
    logits = random_logits(SIZE, 5)
    wanted = torch.tensor([[5, 5, 5]])
    [found] = search(Beam(4, 4), Toy(logits), [5], Conditions((BiasedPrefix(wanted, 0.99),)))
    assert found.hypotheses[0].ids[:1] == [5] or any(each.ids[:3] == [5, 5, 5] for each in found.hypotheses)
    for each in found.hypotheses:
        by_force = forced(logits, 0, each.ids, small_vocabulary(SIZE), each.finished)
        assert each.log_probability == pytest.approx(by_force)


def test_nothing_left_to_say_is_a_truncated_answer() -> None:
    everything = Forbidden([[(3,), (4,), (5,)]])
    for strategy in (Greedy(), Beam(3)):
        short = MinimumLength(torch.tensor([1]), EOS)
        [found] = search(strategy, Toy(random_logits(SIZE, 1)), [4], Conditions((everything, short)))
        assert [(each.ids, each.finished) for each in found.hypotheses] == [([], False)]
        assert found.hypotheses[0].log_probability == 0.0 > -math.inf
