"""The answers shown while a model trains: chosen by the data alone, and nothing is decoded for them."""

from __future__ import annotations

import random

import pytest

from regard.metrics.evaluate import answer_pairs, evaluate, score_answers
from regard.metrics.samples import LONGEST, samples
from regard.text.pairs import Pair
from small import untrained

TEN = [Pair("s" * length, f"t{length}", length) for length in range(1, 11)]
ANSWERS = [f"a{length}" for length in range(1, 11)]


def test_they_stand_at_equal_distances_by_length() -> None:
    # by hand: the 10 sources in five parts of two; the upper of each
    assert [len(each["source"]) for each in samples(TEN, ANSWERS)] == [2, 4, 6, 8, 10]
    assert samples(TEN, ANSWERS)[0] == {"source": "ss", "reference": "t2", "answer": "a2"}


def test_another_order_of_the_pairs_gives_the_same_ones() -> None:
    order = random.Random(1).sample(range(10), 10)
    assert samples([TEN[i] for i in order], [ANSWERS[i] for i in order]) == samples(TEN, ANSWERS)


def test_a_source_that_stands_twice_is_shown_once_with_its_first_target() -> None:
    pairs = [Pair("a", "first", 1), Pair("a", "second", 2)]
    assert samples(pairs, ["x", "x"]) == [{"source": "a", "reference": "first", "answer": "x"}]


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_fewer_pairs_than_wanted_are_all_shown(count: int) -> None:
    assert [each["answer"] for each in samples(TEN[:count], ANSWERS[:count])] == ANSWERS[:count]


def test_long_texts_are_cut() -> None:
    [shown] = samples([Pair("s" * 10_000, "t" * LONGEST, 1)], ["a" * (LONGEST + 1)])
    assert shown["source"] == "s" * (LONGEST - 1) + "…"
    assert shown["reference"] == "t" * LONGEST
    assert len(shown["answer"]) == LONGEST


def test_evaluating_is_answering_then_scoring() -> None:
    translator = untrained()
    pairs = [Pair("fox", "A B", 1), Pair("dog", "C", 2), Pair("fox", "A", 3)]
    answers = answer_pairs(translator, pairs, beam=1)
    assert answers == [result.text for result in translator.translate(["fox", "dog", "fox"], beam=1)]
    assert evaluate(translator, pairs, beam=1) == score_answers(translator, pairs, answers)
