"""Attention to links: hand-made attention, equal tokens, words, the choice of a head, batches as one by one."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard import trainer
from regard.data.corpus import EncodedPairs, PairEncoder
from regard.data.tasks import draw, task_named
from regard.errors import DataError, ModelFolderError, UsageError
from regard.inside import choosing
from regard.inside.alignment import Choice, align, candidates, grid, token_links
from regard.inside.choosing import Chosen, choose, information
from regard.inside.crossing import Crossing, crossings
from regard.inside.record import Answered, record
from regard.inside.result import END, Alignment, Attention, Side
from regard.inside.twins import assignment, shared_out
from regard.models.crossing import cross_attentions
from regard.text.pairs import Pair
from regard.translator import Translator, aligning
from regard.translator.aligning import aligner, pharaoh
from small import untrained

ARCHITECTURES = ("transformer", "recurrent", "convolutional")
TEXTS = [("fox", "A B"), ("lazy dogs", "G"), ("", "A"), ("the quick brown fox jumps", "A A A B C D E"), ("o", "")]


def hand_made(*links: int, columns: int) -> torch.Tensor:
    """Attention of a head whose step t looks mostly at links[t]."""
    weights = torch.full((len(links), columns), 0.1 / (columns - 1))
    weights[torch.arange(len(links)), torch.tensor(links)] = 0.9
    return weights


def side(tokens: str, words: tuple[tuple[int, int], ...] | None = None) -> Side:
    each = (*tokens.split(), END)
    return Side(tokens, each, words or tuple((place, place + 1) for place in range(len(each))))


def test_a_link_is_the_highest_source_token_never_the_end() -> None:
    heads = torch.stack((hand_made(0, 3, 1, 3, columns=4), hand_made(1, 0, 2, 2, columns=4)))
    attentions = (Attention("encoder", 0, torch.ones(2, 4, 4) / 4), Attention("cross", 0, heads, norms=heads.flip(0)))
    a, b = side("a b c"), side("x y z")
    heads[0, 1] = torch.tensor([0.1, 0.05, 0.15, 0.7])
    assert align(attentions, a, b, Choice(0, 0)) == Alignment(((0, 0), (2, 1), (1, 2)), "cross.0.0")
    assert align(attentions, a, b, Choice(0, 1)).links == ((1, 0), (0, 1), (2, 2))
    assert align(attentions, a, b, Choice(0, 0, norms=True)).links == ((1, 0), (0, 1), (2, 2))


def test_the_step_after_reads_the_next_row_and_the_last_of_a_cut_answer_its_own() -> None:
    attentions = (Attention("cross", 0, hand_made(2, 0, 1, 2, columns=4)[None]),)
    whole = side("x y z")
    assert align(attentions, side("a b c"), whole, Choice(0, 0, after=True)).links == ((0, 0), (1, 1), (2, 2))
    cut = Side("w x y z", ("w", "x", "y", "z"), ((0, 1), (1, 2), (2, 3), (3, 4)), ends=False)
    assert align(attentions, side("a b c"), cut, Choice(0, 0, after=True)).links == ((0, 0), (1, 1), (2, 2), (2, 3))


def test_words_are_linked_if_any_of_their_tokens_are() -> None:
    attentions = (Attention("cross", 0, hand_made(0, 1, 3, 2, 4, columns=5)[None]),)
    source = side("a1 a2 b c", ((0, 2), (2, 3), (3, 4), (4, 5)))
    target = side("x y1 y2 z", ((0, 1), (1, 3), (3, 4), (4, 5)))
    assert align(attentions, source, target, Choice(0, 0)).links == ((0, 0), (0, 1), (2, 1), (1, 2))


def test_equal_tokens_share_out_equal_ones() -> None:
    weights = torch.tensor([[0.9, 0.06, 0.04], [0.57, 0.33, 0.1], [0.01, 0.61, 0.38]])
    assert token_links(weights, "aaa", "xxx") == [0, 1, 2]  # not 0, 0, 1; not the greedy 0, 2, 1
    assert shared_out([0, 0, 1], weights, "aab", "xxx") == [0, 0, 1]  # two for three
    assert shared_out([0, 0, 1], weights, "aaa", "xyz") == [0, 0, 1]  # they are different
    assert token_links(weights, "", "xyz") == []


def test_of_several_with_the_same_highest_some_give_way_to_a_source_token_without_links() -> None:
    weights = torch.tensor([[0.6, 0.1, 0.0, 0.3], [0.5, 0.2, 0.0, 0.3], [0.4, 0.1, 0.25, 0.25], [0.0, 0.9, 0.1, 0.0]])
    assert token_links(weights, "abcd", "wxyz") == [0, 3, 2, 1]  # shares of 0.5, 0.6 and 0.625; the first stays
    assert token_links(weights[:2], "abcd", "wx") == [0, 3]
    assert token_links(weights[:1], "abcd", "w") == [0]  # nobody else is there
    low = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.1, 0.29]])
    assert token_links(low, "abc", "xy") == [0, 0]  # less than half


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.5]), min_size=4, max_size=4), min_size=n, max_size=n
        )
    )
)
def test_an_assignment_costs_the_least_of_all(costs: list[list[float]]) -> None:
    found = assignment(costs)
    totals = (
        sum(row[place] for row, place in zip(costs, places, strict=True))
        for places in itertools.permutations(range(4), len(costs))
    )
    assert len(set(found)) == len(costs)
    assert sum(row[place] for row, place in zip(costs, found, strict=True)) == pytest.approx(min(totals))


@pytest.mark.parametrize(
    "name", ["cross", "cross.1", "cross.0.3", "cross.2:norms", "cross:next", "cross.1.3:norms:next"]
)
def test_names(name: str) -> None:
    assert Choice.parse(name).name == name


@pytest.mark.parametrize("name", ["", "encoder.1.2", "cross.1.2.3", "cross.x", "cross.1.3:later", "cross.1:next:norms"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no place to read an alignment from"):
        Choice.parse(name)


def test_candidates_are_heads_means_and_both_ways_to_read_each() -> None:
    layers = {layer: Crossing(torch.rand(2, 4, 5), torch.rand(2, 4, 5)) for layer in (0, 1)}
    found = list(candidates(layers))
    assert len(found) == len(set(found)) == 4 * (2 * 2 + 2 + 1)
    torch.testing.assert_close(grid(layers, Choice(1)), layers[1].weights.mean(0))
    torch.testing.assert_close(
        grid(layers, Choice(norms=True)), torch.cat([each.norms for each in layers.values()]).mean(0)
    )  # type: ignore[misc]
    alone = {0: Crossing(torch.rand(1, 4, 5))}
    assert [choice.name for choice in candidates(alone)] == ["cross.0.0", "cross.0.0:next"]
    for choice, fault in ((Choice(2), "2 layers"), (Choice(0, 2), "2 heads"), (Choice(3, 0), "2 layers")):
        with pytest.raises(UsageError, match=fault):
            grid(layers, choice)
    with pytest.raises(UsageError, match="no norms"):
        grid(alone, Choice(norms=True))
    with pytest.raises(UsageError, match="has none"):
        grid({}, Choice())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_has_the_attentions_of_each_pair_alone(architecture: str) -> None:
    translator = untrained({"model": {"architecture": architecture, "layers": 2, "heads": 2}})
    pairs = encoded(translator, [Pair(source, target, 1) for source, target in TEXTS if source and target])
    batch = pairs.batch(torch.arange(len(pairs)))
    found = crossings(translator.model, batch.source, batch.previous)
    only = crossings(translator.model, batch.source, batch.previous, layers=(0,))
    assert list(only) == [0]
    assert not any(getattr(module, "plain", False) for module in translator.model.modules())
    for row in range(len(pairs)):
        source, target = (side.ids[row, : side.lengths[row]].tolist() for side in (batch.source, batch.target))
        alone = [
            each
            for each in record(translator.model, Answered(tuple(source[:-1]), tuple(target[1:-1]))).attentions
            if each.part == "cross"
        ]
        assert len(alone) == len(found) == len(cross_attentions(translator.model))
        for each in alone:
            cut = slice(None), slice(len(target) - 1), slice(len(source))
            torch.testing.assert_close(found[each.layer].weights[row][cut], each.weights, atol=1e-6, rtol=1e-4)
            torch.testing.assert_close(found[each.layer].norms[row][cut], each.norms, atol=1e-6, rtol=1e-4)  # type: ignore[index]


def encoded(translator: Any, pairs: list[Pair]) -> EncodedPairs:
    return PairEncoder(translator.tokenizers.source, translator.tokenizers.target, 1000).in_memory(pairs)


@pytest.mark.parametrize("by", ["cross.0.1", "cross:norms:next"])
def test_what_is_aligned_together_is_what_is_aligned_alone(by: str) -> None:
    translator = untrained({"model": {"layers": 2}})
    together = list(aligning.align(translator, TEXTS, by=by))
    assert together == [each for pair in TEXTS for each in aligning.align(translator, [pair], by=by)]
    assert together * 2 == list(aligning.align(translator, TEXTS * 2, by=by, batch_size=2))
    assert [len(each.links) for each in together] == [2, 1, 0, 7, 0]
    seen = translator.look("fox", target="A B")
    source = replace(seen.source, words=tuple((place, place + 1) for place in range(len(seen.source.tokens))))
    assert align(seen.attentions, source, side("A B"), Choice.parse(by)) == together[0]


def test_where_rounding_could_decide_a_pair_is_looked_at_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention whose highest are near a tie, which the pairs beside it break in another way."""

    def made(model: object, source: Any, previous: Any, layers: object = None) -> dict[int, Crossing]:
        weights = torch.full((len(source.ids), 1, previous.ids.shape[1], source.ids.shape[1]), 0.25)
        weights[..., 1 if len(source.ids) > 1 else 0] += 1e-6
        return {0: Crossing(weights)}

    monkeypatch.setattr(aligning, "crossings", made)
    translator, pairs = untrained(), [("fox", "A"), ("dog", "B"), ("lazy", "C")]
    together = list(aligning.align(translator, pairs, by="cross.0.0"))
    assert [each.links for each in together] == [((0, 0),)] * 3
    assert together == [each for pair in pairs for each in aligning.align(translator, [pair], by="cross.0.0")]


def test_answers_are_aligned_as_the_same_pairs() -> None:
    translator = untrained()
    results = list(translator.translate([source for source, _ in TEXTS], n_best=2))
    align_by = aligner(translator, "cross.0:next", "tokens")
    for result, found in align_by.answers(iter(results)):
        assert len(found) == len(result.answers)
        for answer, alignment in zip(result.answers, found, strict=True):
            [forced] = align_by.pairs([(result.source, answer.text)])
            assert forced == alignment
            assert [target for _, target in alignment.links] == (list(range(len(answer.ids))) if result.source else [])


def test_answers_before_a_fault_are_aligned() -> None:
    translator = untrained({"decoding": {"longest_source": 5}})
    found = aligner(translator, "cross.0.0").answers(translator.translate(["fox", "dogs", "jumps over"]))
    assert [next(found)[0].source, next(found)[0].source] == ["fox", "dogs"]
    with pytest.raises(DataError, match="reads at most 5"):
        next(found)
    pairs = aligning.align(translator, [("fox", "A"), ("jumps over", "B")], by="cross.0.0")
    next(pairs)
    with pytest.raises(DataError, match=r"line 2.*aligns at most 5"):
        next(pairs)


def test_words_and_tokens() -> None:
    translator = untrained()
    [tokens] = aligning.align(translator, [("fox dogs", "A B")], by="cross.0.0")
    [words] = aligning.align(translator, [("fox dogs", "A B")], by="cross.0.0", units="words")
    assert all(source < 2 for source, _ in words.links)
    assert [target for _, target in tokens.links] == [target for _, target in words.links] == [0, 1]
    assert [int(source > 2) for source, _ in tokens.links] == [source for source, _ in words.links]  # " dogs" is 3 to 7
    assert pharaoh(Alignment(((0, 0), (2, 1)), "cross")) == "0-0 2-1"


def test_information_by_hand() -> None:
    # Counted in the one half: a-x twice, b-y once. p(x) = 3/5, p(y) = 2/5; p(x|a) = (2 + 3/5)/3, p(y|b) = (1 + 2/5)/2.
    first, second = [(0, 7), (0, 7), (1, 8)], [(0, 7), (1, 8)]
    told = torch.tensor([(2 + 0.6) / 3 / 0.6, (1 + 0.4) / 2 / 0.4]).double().log().sum()
    back = torch.tensor([(1 + 0.5) / 2 / 0.5] * 3).double().log().sum()  # p(x) = p(y) = 2/4 in the other half
    assert information(first, second) == pytest.approx(float(told + back) / 5, rel=1e-6)
    assert information(first, []) == 0.0


def test_the_choice_finds_the_right_head_at_the_right_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hand-made attention: head 1 of layer 0 is right at the step after; the others look anywhere."""
    translator = untrained()
    torch.manual_seed(1)
    letters = "abcdefg"
    texts = ["".join(letters[place] for place in torch.randint(7, (5,))) for _ in range(60)]
    pairs = encoded(translator, [Pair(text, " ".join(text[::-1].upper()), 1) for text in texts])

    def made(model: object, source: Any, previous: Any) -> dict[int, Crossing]:
        count, steps, width = len(source.ids), previous.ids.shape[1], source.ids.shape[1]
        weights = 3 * torch.rand(count, 2, steps, width)
        for step in range(1, steps):
            weights[:, 1, step, 5 - step] = 3.0
        return {0: Crossing(weights)}

    monkeypatch.setattr(choosing, "crossings", made)
    chosen = choose(translator.model, pairs)
    assert chosen
    assert chosen.by == "cross.0.1:next"
    assert (chosen.pairs, chosen.links) == (60, 300)
    assert chosen.value is not None
    assert chosen.value > 1.5


def test_a_choice_in_a_model_folder(tmp_path: Path) -> None:
    assert Chosen.load(tmp_path) is None
    chosen = Chosen("cross.1.3:norms", "how", 1.5, 20, 100)
    path = tmp_path / "alignment.json"
    path.write_bytes(chosen.to_json())
    assert Chosen.load(tmp_path) == chosen
    assert chosen.choice == Choice(1, 3, norms=True)
    read = json.loads(path.read_bytes())
    for fault in ({**read, "by": "encoder.1"}, {**read, "version": 2}, {**read, "more": 1}, [], {}):
        path.write_text(json.dumps(fault), encoding="utf-8")
        with pytest.raises(ModelFolderError, match="no alignment of ours"):
            Chosen.load(tmp_path)


def test_without_a_choice_a_place_is_to_be_named() -> None:
    translator = untrained()
    with pytest.raises(UsageError, match=r"no alignment\.json.*(?s:.*)--align-by cross"):
        aligner(translator)
    with pytest.raises(UsageError, match="1 layers"):
        aligner(translator, "cross.1.0")
    translator.chosen = choose(
        translator.model, encoded(translator, [Pair(*texts, 1) for texts in TEXTS if all(texts)])
    )
    assert translator.chosen
    assert aligner(translator).choice == translator.chosen.choice


@pytest.mark.slow
@pytest.mark.parametrize("task", ["copy", "reverse"])
def test_each_link_of_a_trained_task_is_right(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place that the run chose by itself, on pairs that it was not chosen or trained on."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    trainer.train({"data": {"task": task}}, tmp_path / "run")
    translator = Translator.load(tmp_path / "run")
    assert translator.chosen is not None
    pairs = draw(task_named(task), seed=77, epoch=5, count=1000)
    for pair, found in zip(pairs, aligning.align(translator, pairs), strict=True):
        size = len(pair.source.split())
        order = range(size) if task == "copy" else range(size)[::-1]
        assert found.links == tuple(zip(order, range(size), strict=True)), pair
