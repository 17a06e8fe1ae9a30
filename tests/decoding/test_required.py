from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_search import Toy, exhaustive, random_logits, small_vocabulary

from regard.decoding import Beam, Greedy, Ranking
from regard.decoding.interface import Conditions, Found, Phrase
from regard.decoding.required import allocate, progress
from regard.errors import UsageError

NONE: frozenset[int] = frozenset()
SIZE = 6  # letters 3, 4, 5


def search(beam: Beam, toy: Toy, limits: list[int], required: Sequence[Sequence[Phrase]]) -> list[Found]:
    rows = toy.start(range(len(limits)))
    return beam(toy.step, rows, torch.tensor(limits), small_vocabulary(SIZE), Conditions(required=required))


def met(ids: Sequence[int], phrases: Sequence[Phrase]) -> bool:
    return not progress(ids, phrases, NONE).lacking


@pytest.mark.parametrize("phrases", [[(3,)], [(3, 4)], [(3,), (3,)], [(5, 5), (4,)], []], ids=str)
@pytest.mark.parametrize("ranking", [Ranking(0.0), Ranking(1.0)], ids=str)
def test_a_wide_beam_finds_the_best_that_holds_every_phrase(phrases: list[Phrase], ranking: Ranking) -> None:
    logits = random_logits(SIZE, 4)
    found = search(Beam(300, 3, ranking), Toy(logits), [4, 3], [phrases, []])
    for row, (limit, wanted) in enumerate(((4, phrases), (3, []))):
        best = exhaustive(
            logits,
            row,
            limit,
            small_vocabulary(SIZE),
            ranking.alpha,
            allowed=lambda ids, wanted=wanted: met(ids, wanted),
        )
        assert [each.ids for each in found[row].hypotheses] == [ids for ids, _ in best[:3]]
        assert all(each.met for each in found[row].hypotheses)


@pytest.mark.parametrize("size", [2, 5])
def test_a_narrow_beam_puts_in_phrases_that_it_would_never_choose(size: int) -> None:
    def logits(_: int, prefix: tuple[int, ...]) -> list[float]:
        return [0.0, 0.0, 4.0 if len(prefix) > 3 else 0.0, 5.0, -5.0, -6.0]  # 3 is likely, 4 and 5 are not

    [found] = search(Beam(size, 1), Toy(logits), [12], [[(4, 5), (5, 4, 4)]])
    [best] = found.hypotheses
    assert best.finished
    assert best.met
    assert met(best.ids, [(4, 5), (5, 4, 4)])


def test_what_cannot_be_met_within_the_limit_is_the_best_and_marked() -> None:
    [found] = search(Beam(4, 2), Toy(random_logits(SIZE, 1)), [2], [[(3, 4, 5)]])
    assert found.hypotheses
    assert not any(each.met for each in found.hypotheses)


def test_the_other_sentences_answer_as_without() -> None:
    toy = Toy(random_logits(SIZE, 8))
    free = search(Beam(4, 3), toy, [5, 5, 5], ())
    mixed = search(Beam(4, 3), toy, [5, 5, 5], [[], [(5, 5)], []])
    for row in (0, 2):
        assert mixed[row].hypotheses == free[row].hypotheses
    assert met(mixed[1].hypotheses[0].ids, [(5, 5)])


def test_progress_counts_a_phrase_once_and_no_id_twice() -> None:
    assert progress([3, 4, 3], [(3, 4), (4, 3)], NONE) == (((4, 3),), 0)
    assert progress([3, 4, 4, 3], [(3, 4), (4, 3)], NONE) == ((), 0)
    assert progress([3], [(3,), (3,)], NONE) == (((3,),), 0)
    assert progress([9, 3, 3], [(3, 3, 4)], NONE) == (((3, 3, 4),), 2)
    assert progress([3, 3, 3], [(3, 3, 4)], NONE) == (((3, 3, 4),), 2)  # the last two may be its beginning


def test_a_phrase_that_goes_on_as_another_word_does_not_count() -> None:
    continuing = frozenset({9})
    assert progress([3, 9], [(3,)], continuing).lacking == ((3,),)
    assert progress([3, 9, 3], [(3,)], continuing).lacking == ()
    assert progress([3, 4], [(3,)], continuing).lacking == ()
    assert progress([3], [(3,)], continuing).lacking == ()


@given(
    st.lists(st.integers(3, 5), max_size=8), st.lists(st.lists(st.integers(3, 5), min_size=1, max_size=3), max_size=3)
)
def test_progress_never_exceeds_what_is_there(ids: list[int], phrases: list[list[int]]) -> None:
    wanted = [tuple(phrase) for phrase in phrases]
    lacking, begun = progress(ids, wanted, NONE)
    held = sum(map(len, wanted)) - sum(map(len, lacking))
    assert held + begun <= len(ids)
    for phrase in set(wanted) - set(lacking):
        assert any(tuple(ids[start : start + len(phrase)]) == phrase for start in range(len(ids)))


def test_banks_share_the_places() -> None:
    from regard.decoding.required import _Candidate

    candidates = [_Candidate(-float(total), 0, total, total % 3) for total in range(12)]
    chosen, margin = allocate(candidates, 6, 2)
    assert sorted(each.bank for each in chosen) == [0, 0, 1, 1, 2, 2]
    assert margin == 3.0
    chosen, _ = allocate([each for each in candidates if each.bank != 2], 6, 2)
    assert sorted(each.bank for each in chosen) == [0, 0, 1, 1, 1, 1]


def test_only_a_beam_can_share_out_its_places() -> None:
    toy = Toy(random_logits(SIZE, 1))
    conditions = Conditions(required=[[(3,)]])
    with pytest.raises(UsageError, match="required phrases need a beam"):
        Greedy()(toy.step, toy.start([0]), torch.tensor([3]), small_vocabulary(SIZE), conditions)
    with pytest.raises(UsageError, match="both share out the beam"):
        Beam(4, groups=2)(toy.step, toy.start([0]), torch.tensor([3]), small_vocabulary(SIZE), conditions)
