from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from toy_search import Toy, exhaustive, forced, plain_beam, random_logits, small_vocabulary

from regard.decoding import Beam, Greedy, Ranking, Sampling
from regard.decoding.interface import Hypothesis, Vocabulary
from regard.errors import RegardError, UsageError

ALPHAS = [0.0, 0.6, 1.0, 2.5]
LIMITS = [3, 0, 4, 1, 2]
NOTHING = Hypothesis([], [], 0.0, 0.0, 1.0, 0.0, False)


def search(beam: Beam | Greedy, toy: Toy, limits: list[int], vocabulary: Vocabulary) -> list[list[Hypothesis]]:
    found = beam(toy.step, toy.start(range(len(limits))), torch.tensor(limits, dtype=torch.int64), vocabulary)
    return [each.hypotheses for each in found]


def number_of_prefixes(vocabulary: Vocabulary, limit: int) -> int:
    letters = vocabulary.size - len(vocabulary.forbidden) - 1
    return sum(letters**length for length in range(limit + 1))


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("size", [4, 5, 6])
@pytest.mark.parametrize("impossible", [0.0, 0.4])
def test_a_beam_as_wide_as_the_space_is_exhaustive_search(size: int, alpha: float, impossible: float) -> None:
    vocabulary = small_vocabulary(size)
    width = number_of_prefixes(vocabulary, max(LIMITS))
    for seed in range(3):
        logits = random_logits(size, seed, impossible=impossible)
        expected = [exhaustive(logits, row, limit, vocabulary, alpha) for row, limit in enumerate(LIMITS)]
        for n_best in (1, 3, width):
            answers = search(Beam(width, min(n_best, width), Ranking(alpha)), Toy(logits), LIMITS, vocabulary)
            for answer, all_there_are in zip(answers, expected, strict=True):
                finished = [hypothesis for hypothesis in answer if hypothesis.finished]
                wanted = all_there_are[:n_best]
                assert [hypothesis.ids for hypothesis in finished] == [ids for ids, _ in wanted]
                assert [hypothesis.score for hypothesis in finished] == pytest.approx([score for _, score in wanted])
                assert answer


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_a_narrow_beam_is_the_plain_one_without_early_stop(width: int, alpha: float) -> None:
    vocabulary = small_vocabulary(8)
    limits = [6, 2, 0, 9, 4, 1]
    for seed in range(4):
        logits = random_logits(8, seed, impossible=0.3 * (seed % 2), levels=2 * (seed // 2))
        expected = [plain_beam(logits, row, limit, vocabulary, width, alpha) for row, limit in enumerate(limits)]
        for n_best in {1, width}:
            answers = search(Beam(width, n_best, Ranking(alpha)), Toy(logits), limits, vocabulary)
            for answer, wanted in zip(answers, expected, strict=True):
                assert [(h.ids, h.finished) for h in answer] == [(ids, done) for ids, _, done in wanted[:n_best]]
                assert [h.score for h in answer] == pytest.approx([score for _, score, _ in wanted[:n_best]])


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_beam_of_one_is_greedy(alpha: float, dtype: torch.dtype) -> None:
    vocabulary, limits = small_vocabulary(7), [5, 0, 1, 8, 3, 8]
    for seed in range(20):
        logits = random_logits(7, seed, impossible=0.4 * (seed % 2), levels=seed % 3)
        beam = search(Beam(1, 1, Ranking(alpha)), Toy(logits, dtype), limits, vocabulary)
        assert beam == search(Greedy(Ranking(alpha)), Toy(logits, dtype), limits, vocabulary)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("beam", [Greedy(), Beam(2, 2, Ranking(0.0)), Beam(5, 5), Beam(40, 9, Ranking(0.6))])
def test_the_reported_score_is_the_forced_one(beam: Beam | Greedy, dtype: torch.dtype) -> None:
    vocabulary, limits = small_vocabulary(9), [6, 0, 2, 7]
    logits = random_logits(9, 5, impossible=0.2)
    for row, answer in enumerate(search(beam, Toy(logits, dtype), limits, vocabulary)):
        for hypothesis in answer:
            by_force = forced(logits, row, hypothesis.ids, vocabulary, hypothesis.finished)
            assert hypothesis.log_probability == pytest.approx(by_force, abs=1e-5 if dtype == torch.float32 else 1e-12)
            length = len(hypothesis.ids) + hypothesis.finished
            penalty = ((5 + length) / 6) ** beam.ranking.alpha
            assert hypothesis.score == pytest.approx(hypothesis.log_probability / penalty)


@pytest.mark.parametrize("beam", [Greedy(), Beam(3, 2), Beam(5, 5, Ranking(0.0))])
def test_an_answer_does_not_depend_on_the_other_sentences(beam: Beam | Greedy) -> None:
    vocabulary, limits = small_vocabulary(6), [4, 0, 7, 2, 7, 1]
    toy = Toy(random_logits(6, 11, levels=1), torch.float32)
    together = search(beam, toy, limits, vocabulary)
    order = [3, 5, 0, 4, 1, 2]

    def moved_to(rows: list[int]) -> list[list[Hypothesis]]:
        found = beam(toy.step, toy.start(rows), torch.tensor([limits[row] for row in rows]), vocabulary)
        return [each.hypotheses for each in found]

    moved, alone = moved_to(order), [moved_to([row])[0] for row in range(len(limits))]
    assert together == alone
    assert moved == [together[row] for row in order]


def test_a_hand_worked_garden_path() -> None:
    # "a" looks better at first (0.6), but all that follows is unlikely (0.5 * 0.5); "b" (0.4) then ends for sure.
    def logits(_: int, prefix: tuple[int, ...]) -> list[float]:
        first = {(1,): [0.0, 0.0, 0.0, 0.6, 0.4], (1, 4): [0.0, 0.0, 1.0, 0.0, 0.0]}
        return [math.log(p) if p else -math.inf for p in first.get(prefix, [0.0, 0.0, 0.5, 0.25, 0.25])]

    (answer,) = search(Beam(2, 2, Ranking(0.0)), Toy(logits), [3], small_vocabulary(5))
    assert [hypothesis.ids for hypothesis in answer] == [[4], [3]]
    assert [math.exp(hypothesis.score) for hypothesis in answer] == pytest.approx([0.4, 0.3])
    ((greedy,),) = search(Greedy(Ranking(0.0)), Toy(logits), [3], small_vocabulary(5))
    assert greedy.ids == [3]


@pytest.mark.parametrize("beam", [Greedy(), Beam(1), Beam(3, 3)])
def test_what_the_limit_cuts_is_marked(beam: Beam | Greedy) -> None:
    answers = search(beam, Toy(lambda *_: [0.0, 0.0, -20.0, 1.0, 1.1, 0.9]), [4, 2], small_vocabulary(6))
    for limit, answer in zip([4, 2], answers, strict=True):
        assert [hypothesis.finished for hypothesis in answer] == [False] * len(answer)
        assert answer[0].ids == [4] * limit
        assert all(len(hypothesis.ids) == limit for hypothesis in answer)


def test_finished_hypotheses_rank_before_truncated_ones() -> None:
    def logits(_: int, prefix: tuple[int, ...]) -> list[float]:
        return [0.0, 0.0, -3.0, -9.0, 9.0] if len(prefix) == 1 else [0.0, 0.0, -30.0, 0.0, 30.0]

    (answer,) = search(Beam(2, 2, Ranking(0.0)), Toy(logits), [3], small_vocabulary(5))
    assert [hypothesis.finished for hypothesis in answer] == [True, False]
    assert [hypothesis.ids for hypothesis in answer] == [[], [4, 4, 4]]
    assert answer[0].score < answer[1].score


@pytest.mark.parametrize("beam", [Greedy(), Beam(4, 4)])
def test_a_limit_of_zero_leaves_the_empty_answer(beam: Beam | Greedy) -> None:
    logits = random_logits(6, 1)
    (answer,) = search(beam, Toy(logits), [0], small_vocabulary(6))
    assert [(hypothesis.ids, hypothesis.finished) for hypothesis in answer] == [([], True)]
    assert answer[0].log_probability == pytest.approx(forced(logits, 0, [], small_vocabulary(6)))
    (cut,) = search(beam, Toy(lambda *_: [0.0, 0.0, -math.inf, 1.0]), [0], small_vocabulary(4))
    assert cut == [NOTHING]


@pytest.mark.parametrize("beam", [Greedy(), Beam(4, 4)])
@pytest.mark.parametrize("row", [[5.0, 1.0, *[-math.inf] * 3], [-math.inf] * 5])
def test_nothing_allowed_is_an_empty_truncated_answer(beam: Beam | Greedy, row: list[float]) -> None:
    # The other sentence goes on as if alone.
    def logits(sentence: int, _: tuple[int, ...]) -> list[float]:
        return row if sentence == 0 else [0.0, 0.0, -9.0, 0.1, 0.2]

    stuck, free = search(beam, Toy(logits), [3, 3], small_vocabulary(5))
    assert stuck == [NOTHING]
    toy = Toy(logits)
    [alone] = beam(toy.step, toy.start([1]), torch.tensor([3]), small_vocabulary(5))
    assert free == alone.hypotheses
    assert max(len(hypothesis.ids) for hypothesis in free) == 3


@pytest.mark.parametrize("beam", [Greedy(), Beam(4, 4)])
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_logits_that_are_not_numbers_are_an_error(beam: Beam | Greedy, broken: float) -> None:
    with pytest.raises(RegardError, match="not numbers"):
        search(beam, Toy(lambda *_: [0.0, 0.0, broken, 0.0]), [3], small_vocabulary(4))


def test_equal_candidates_go_by_parent_then_id() -> None:
    (answer,) = search(Beam(4, 4, Ranking(0.0)), Toy(lambda *_: [0.0] * 6), [2], small_vocabulary(6))
    # First step: eos, 3, 4, 5 tie. Then 3 has the first four places: eos, 3, 4, 5.
    assert [(hypothesis.ids, hypothesis.finished) for hypothesis in answer] == [
        ([], True),
        ([3], True),
        ([3, 3], True),
        ([3, 4], True),
    ]


def test_what_is_finished_leaves_the_batch() -> None:
    # Sentence 0 ends at once, 1 after a letter, 2 at its limit.
    def logits(sentence: int, prefix: tuple[int, ...]) -> list[float]:
        return [0.0, 0.0, 60.0 if len(prefix) > sentence and sentence < 2 else -60.0, 1.0, 0.0, -1.0]

    for beam, rows in ((Greedy(), [3, 2, 1, 1]), (Beam(2, 1, Ranking(0.0)), [3, 4, 2, 2])):
        toy = Toy(logits)
        answers = search(beam, toy, [3, 3, 3], small_vocabulary(6))
        assert toy.rows == rows
        assert [answer[0].ids for answer in answers] == [[], [3], [3, 3, 3]]
        assert [answer[0].finished for answer in answers] == [True, True, False]


def test_the_state_is_selected_only_when_rows_move() -> None:
    toy = Toy(lambda *_: [0.0, 0.0, -60.0, 1.0, 0.0, -1.0])
    state = toy.start([0, 1])
    Greedy()(toy.step, state, torch.tensor([3, 3]), small_vocabulary(6))
    assert state.selected == []
    Beam(1)(toy.step, state, torch.tensor([3, 3]), small_vocabulary(6))
    assert state.selected == []
    Beam(2)(toy.step, state, torch.tensor([1, 1]), small_vocabulary(6))
    assert state.selected == [[[0, 0], [1, 1]]]


def test_a_sentence_stops_when_no_live_hypothesis_can_win() -> None:
    # eos has 0.9 of every step: with alpha 0 the first answer cannot be beaten, and the limit is far.
    row = [0.0 if p == 0 else math.log(p) for p in (0, 0, 0.9, 0.05, 0.05)]
    row[0] = row[1] = -math.inf
    toy = Toy(lambda *_: row)
    (answer,) = search(Beam(3, 1, Ranking(0.0)), toy, [500], small_vocabulary(5))
    assert toy.rows == [1]
    assert answer[0].ids == []


def test_a_beam_wider_than_the_vocabulary() -> None:
    logits = random_logits(5, 2)
    (answer,) = search(Beam(1000, 1000), Toy(logits), [3], small_vocabulary(5))
    assert [hypothesis.ids for hypothesis in answer] == [
        ids for ids, _ in exhaustive(logits, 0, 3, small_vocabulary(5), 1.0)
    ]


@pytest.mark.parametrize("beam", [Greedy(), Beam(2), Sampling(2), Beam(4, groups=2)])
def test_no_sentences_no_answers(beam: Beam | Greedy | Sampling) -> None:
    assert search(beam, Toy(random_logits(5, 0)), [], small_vocabulary(5)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "size of 1 or more, got 0"),
        ((3, 4), "between 1 and the beam size 3, got 4"),
        ((3, 0), "got 0"),
        ((6, 1, Ranking(), 4), "4 groups cannot share a beam of 6"),
        ((6, 1, Ranking(), 0), "0 groups"),
    ],
)
def test_impossible_beams_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Beam(*arguments)


def test_a_negative_limit_is_refused() -> None:
    for beam in (Greedy(), Beam(2)):
        with pytest.raises(UsageError, match="cannot be negative, got -1"):
            search(beam, Toy(random_logits(5, 0)), [3, -1], small_vocabulary(5))
