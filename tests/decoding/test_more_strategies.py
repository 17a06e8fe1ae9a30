"""Diverse beams, alternatives, ensembles, coverage, the trace."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from toy_search import Toy, forced, random_logits, small_vocabulary

from regard.decoding import Alternatives, Beam, Greedy, Ranking, Sampling
from regard.decoding.ensemble import Average, EnsembleState, ensemble
from regard.decoding.filters import NOTHING, ForcedPrefix, NoRepeat
from regard.decoding.interface import Conditions, Found, State, Strategy
from regard.decoding.trace import Trace

SIZE, LIMITS = 7, [5, 0, 6, 3]


def search(strategy: Strategy, toy: Toy, conditions: Conditions | None = None) -> list[Found]:
    rows = toy.start(range(len(LIMITS)))
    return strategy(toy.step, rows, torch.tensor(LIMITS), small_vocabulary(SIZE), conditions or Conditions())


def test_groups_without_strength_are_one_small_beam() -> None:
    toy = Toy(random_logits(SIZE, 1))
    diverse = search(Beam(6, 2, groups=3, diversity=0.0), toy)
    small = search(Beam(2, 2), toy)
    for one, other in zip(diverse, small, strict=True):
        assert [each.ids for each in one.hypotheses] == [each.ids for each in other.hypotheses]
        assert [each.score for each in one.hypotheses] == pytest.approx([each.score for each in other.hypotheses])


def test_strong_groups_begin_with_other_ids() -> None:
    def logits(_: int, prefix: tuple[int, ...]) -> list[float]:
        return [0.0, 0.0, -50.0, 4.0, 3.0, 2.0, 1.0] if len(prefix) == 1 else [0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0]

    found = search(Beam(3, 3, groups=3, diversity=100.0), Toy(logits))[0]
    assert sorted(each.ids[0] for each in found.hypotheses) == [3, 4, 5]
    for each in found.hypotheses:  # the cost of being alike is no part of what is reported
        by_force = forced(logits, 0, each.ids, small_vocabulary(SIZE), each.finished)
        assert each.log_probability == pytest.approx(by_force)


def test_a_hand_worked_diverse_step() -> None:
    # The second group would take 3 as well (log 0.5), but for 0.6 it takes 4 (log 0.3): 0.5 / e^0.6 < 0.3.
    row = [math.log(p) if p else -math.inf for p in (0, 0, 0.01, 0.5, 0.3, 0.1, 0.09)]

    def logits(_: int, prefix: tuple[int, ...]) -> list[float]:
        return row if len(prefix) == 1 else [0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0]

    firsts = [
        {each.ids[0] for each in search(Beam(2, 2, groups=2, diversity=strength), Toy(logits))[0].hypotheses}
        for strength in (0.4, 0.6)
    ]
    assert firsts == [{3}, {3, 4}]


def test_alternatives_are_the_best_ids_at_a_position_and_go_on_greedily() -> None:
    logits, positions = random_logits(SIZE, 3), torch.tensor([2, 0, 1, 0])
    prefix = torch.tensor([[3, 4], [NOTHING] * 2, [5, NOTHING], [NOTHING] * 2])
    conditions = Conditions((ForcedPrefix(prefix),))
    for number, found in enumerate(search(Alternatives(3, positions), Toy(logits), conditions)):
        begun = prefix[number, : int(positions[number])].tolist()
        row = torch.tensor(logits(number, (1, *begun)))
        row[[0, 1]] = -math.inf
        wanted = row.topk(3).indices.tolist() if LIMITS[number] else [2, 2, 2]
        for id, hypothesis in zip(wanted, found.hypotheses, strict=True):
            if id != 2:
                assert hypothesis.ids[: len(begun) + 1] == [*begun, id]
                goes_on = torch.tensor([[*hypothesis.ids[: len(begun) + 1]]] * len(LIMITS))
                greedy = search(Greedy(), Toy(logits), Conditions((ForcedPrefix(goes_on),)))[number].hypotheses[0]
                assert hypothesis.ids == greedy.ids
                assert hypothesis.score == pytest.approx(greedy.score)
            else:
                assert hypothesis.ids == begun


def together(toys: list[Toy], weights: list[float], average: Average, strategy: Strategy) -> list[Found]:
    step = ensemble([toy.step for toy in toys], weights, average)
    state = EnsembleState(tuple(toy.start(range(len(LIMITS))) for toy in toys))
    return strategy(step, state, torch.tensor(LIMITS), small_vocabulary(SIZE))


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
@pytest.mark.parametrize("strategy", [Greedy(), Beam(3, 3), Sampling(2)], ids=repr)
def test_a_model_beside_itself_is_itself(average: Average, strategy: Strategy) -> None:
    toy = Toy(random_logits(SIZE, 4))
    for one, other in zip(together([toy, toy], [2.0, 1.0], average, strategy), search(strategy, toy), strict=True):
        assert [each.ids for each in one.hypotheses] == [each.ids for each in other.hypotheses]
        assert [each.score for each in one.hypotheses] == pytest.approx([each.score for each in other.hypotheses])


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
def test_an_ensemble_is_the_model_of_its_mean(average: Average) -> None:
    one, two = random_logits(SIZE, 1), random_logits(SIZE, 2)

    def mean(sentence: int, prefix: tuple[int, ...]) -> list[float]:
        rows = torch.tensor([one(sentence, prefix), two(sentence, prefix)], dtype=torch.float64).log_softmax(1)
        share = torch.tensor([[0.75], [0.25]], dtype=torch.float64)
        mixed: Tensor = (rows.exp() * share).sum(0).log() if average == "probabilities" else (rows * share).sum(0)
        return mixed.tolist()

    for ours, wanted in zip(
        together([Toy(one), Toy(two)], [3.0, 1.0], average, Beam(4, 4)), search(Beam(4, 4), Toy(mean)), strict=True
    ):
        assert [each.ids for each in ours.hypotheses] == [each.ids for each in wanted.hypotheses]
        assert [each.score for each in ours.hypotheses] == pytest.approx([each.score for each in wanted.hypotheses])


@dataclass(frozen=True)
class Watched:
    """A state whose rows look at source position `last id - 3`, all of it."""

    state: State
    looked: Tensor | None = None

    def select(self, rows: Tensor) -> Watched:
        looked = None if self.looked is None else self.looked[rows.flatten()]
        return Watched(self.state.select(rows), looked)


def test_coverage_takes_away_for_what_was_not_looked_at() -> None:
    toy = Toy(lambda *_: [0.0, 0.0, 0.5, 1.0, 0.9, -9.0, -9.0])
    lengths = torch.tensor([2, 2, 2, 1])

    def step(last: Tensor, state: State) -> tuple[Tensor, State]:
        assert isinstance(state, Watched)
        logits, inner = toy.step(last, state.state)
        place = (last - 3).clamp(0, 1)
        return logits, Watched(inner, torch.nn.functional.one_hot(place, 3).double() * 0.9 + 0.01)

    conditions = Conditions(source_lengths=lengths)
    start = Watched(toy.start(range(4)))
    found = Beam(30, 30, Ranking(0.0, coverage=0.5))(
        step, start, torch.tensor(LIMITS), small_vocabulary(SIZE), conditions
    )
    for number, each in enumerate(found):
        for hypothesis in each.hypotheses:
            read = [0, *(id - 3 for id in hypothesis.ids if hypothesis.finished)][: len(hypothesis.ids) + 1]
            covered = [0.01 * len(read) + 0.9 * sum(min(max(at, 0), 1) == place for at in read) for place in (0, 1)]
            wanted = 0.5 * sum(math.log(min(part, 1.0)) for part in covered[: int(lengths[number])])
            if hypothesis.finished:
                assert hypothesis.coverage == pytest.approx(wanted)
                assert hypothesis.score == pytest.approx(hypothesis.log_probability + wanted)
                assert hypothesis.attended == [min(max(at, 0), 1) for at in read[:-1]]
        scores = [hypothesis.score for hypothesis in each.hypotheses if hypothesis.finished]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("strategy", [Greedy(), Beam(3), Beam(4, groups=2), Sampling(2)], ids=repr)
def test_the_trace_leads_to_the_answer(strategy: Strategy) -> None:
    toy, trace = Toy(random_logits(SIZE, 9)), Trace(eos=2, candidates=4)
    found = search(strategy, toy, Conditions((NoRepeat(1),), observer=trace))
    assert found == search(strategy, toy, Conditions((NoRepeat(1),)))  # watching changes nothing
    for number, each in enumerate(found):
        steps = json.loads(json.dumps(trace.of(number)))
        ends = {tuple(ids) for ids in endings(steps)}
        assert {
            tuple(hypothesis.ids) for hypothesis in each.hypotheses if hypothesis.finished and LIMITS[number]
        } <= ends
        for step in steps:
            totals = [candidate["total"] for candidate in step["candidates"]]
            assert totals == sorted(totals, reverse=True)
            fates = [candidate["fate"] for candidate in step["candidates"]]
            assert sum(fate in ("pruned", "filtered") for fate in fates) <= 4


def endings(steps: list[dict[str, object]]) -> list[list[int]]:
    """The ids of all that finished, read from the trace alone."""
    live: dict[int, list[int]] = {}
    ends = []
    for step in steps:
        following = {}
        for candidate in step["candidates"]:  # type: ignore[attr-defined]
            before = live.get(candidate["parent"], [])
            if candidate["fate"] == "finished":
                ends.append(before)
            elif candidate["fate"] == "kept":
                following[candidate["place"]] = [*before, candidate["id"]]
        live = following
    return ends


def test_the_trace_says_what_filters_took() -> None:
    trace = Trace(eos=2, candidates=4)
    search(Greedy(), Toy(lambda *_: [0.0, 0.0, -9.0, 3.0, 2.0, 1.0, 0.0]), Conditions((NoRepeat(1),), observer=trace))
    second = trace.of(0)[1]["candidates"]
    assert [(each["id"], each["fate"]) for each in second[:2]] == [(3, "filtered"), (4, "kept")]
    bounded = Trace(eos=2, steps=2)
    search(Greedy(), Toy(random_logits(SIZE, 1)), Conditions(observer=bounded))
    assert all(len(steps) <= 2 for steps in bounded.sentences.values())
