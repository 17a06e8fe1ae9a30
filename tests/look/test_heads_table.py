"""The table of heads and the effect of a change, against slower ways to the same numbers."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from accelerator import Accelerator
from regard.attention.attend import Attend
from regard.attention.multi_head import MultiHeadAttention
from regard.cli import run
from regard.errors import UsageError
from regard.inside.heads import heads
from regard.inside.interventions import changed
from regard.inside.record import Answered, Recording, record
from regard.inside.result import Attention, Part
from regard.look.effect import effect, effect_on_test_set, taken_from
from regard.look.head_measures import NAMES, NOWHERE, Measured, diagonal, mirrored, rarest, short_name
from regard.look.heads_table import head_table
from regard.metrics.evaluate import evaluate
from regard.text.pairs import Pair
from regard.text.tokenizer import BOS, EOS
from regard.translator import Translator
from regard.translator.translator import Mates
from small import untrained

PAIRS = [("fox", "A B C"), ("the lazy dogs", "B B"), ("q", "G"), ("jumps over", "C D E F")]


def lively(changes: dict[str, object] | None = None) -> Translator:
    """A model in which each head makes a difference."""
    model = {"layers": 2, "share_embeddings": "none", **(changes or {})}
    decoding = {"limit_factor": 0.4, "limit_extra": 3, "longest_source": 50}
    translator = untrained({"model": model, "decoding": decoding}, seed=2)
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in translator.model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return translator


def loss(translator: Translator, pairs: list[tuple[str, str]]) -> float:
    """Nats a target token, from forced scores."""
    forced = list(translator.force(pairs))
    return -sum(each.log_probability for each in forced) / sum(len(each.log_probabilities) for each in forced)


def without(translator: Translator, path: str, columns: slice, factor: float = 0.0) -> Translator:
    """Another translator whose output matrix at `path` has these columns times `factor`."""
    other = copy.deepcopy(translator.model)
    module = other.get_submodule(path)
    assert isinstance(module, MultiHeadAttention)
    with torch.no_grad():
        module.output.weight[:, columns] *= factor
    return Translator(other, translator.tokenizers, translator.recipe)


def test_importance_is_the_rise_of_the_loss_in_a_copy_without_the_head() -> None:
    translator = lively()
    table = head_table(translator, PAIRS)
    usual = loss(translator, PAIRS)
    assert table.loss == pytest.approx(usual, abs=1e-5)
    assert table.tokens == sum(len(target.split()) + 1 for _, target in PAIRS)
    there = heads(translator.model)
    assert sorted(row.name for row in table.rows) == sorted(head.name for head in there.all)
    assert [row.importance for row in table.rows] == sorted((row.importance for row in table.rows), reverse=True)
    by_name = {row.name: row.importance for row in table.rows}
    for head in there.all:
        other = without(translator, head.site.path, slice(head.number * 8, head.number * 8 + 8))
        assert by_name[head.name] == pytest.approx(loss(other, PAIRS) - usual, abs=1e-5)
    for site in there.sites:
        other = without(translator, site.path, slice(None))
        assert table.layers[site.name] == pytest.approx(loss(other, PAIRS) - usual, abs=1e-5)
    assert max(map(abs, by_name.values())) > 1e-3


def test_gradient_is_the_slope_of_each_sentences_loss() -> None:
    translator, step = lively(), 1e-4
    translator.model.double()
    gradients = {row.name: row.gradient for row in head_table(translator, PAIRS).rows}
    tokens = sum(len(target.split()) + 1 for _, target in PAIRS)
    for name in ("encoder.0.1", "decoder.1.0", "cross.0.0"):
        [head] = heads(translator.model).named(name)
        columns, slopes = slice(head.number * 8, head.number * 8 + 8), []
        for pair in PAIRS:
            more, less = (without(translator, head.site.path, columns, 1 + sign * step) for sign in (1, -1))
            slope = (loss(more, [pair]) - loss(less, [pair])) / (2 * step)
            slopes.append(abs(slope) * (len(pair[1].split()) + 1))
        assert gradients[name] == pytest.approx(sum(slopes) / tokens, rel=1e-4)


@pytest.mark.parametrize("architecture", ["recurrent", "convolutional"])
def test_other_models_have_tables_too_and_nothing_is_left_on_them(architecture: str) -> None:
    translator = lively({"architecture": architecture})
    before = {name: tensor.clone() for name, tensor in translator.model.state_dict().items()}
    translator.model.train()
    rows = head_table(translator, PAIRS).rows
    assert {row.part for row in rows} == {"cross"}
    assert all(row.gradient > 0 for row in rows)
    assert translator.model.training
    for module in translator.model.modules():
        assert not module._forward_hooks
        assert not isinstance(module, Attend) or (module.patch is None and not module.plain)
    for name, tensor in translator.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_places_by_hand() -> None:
    assert diagonal(4, 4).tolist() == [0, 1, 2, 3]
    assert diagonal(3, 7).tolist() == [0, 3, 6]
    assert diagonal(7, 4).tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert diagonal(1, 3).tolist() == [0]
    assert mirrored(4, 4).tolist() == [2, 1, 0, NOWHERE]
    assert mirrored(3, 7).tolist() == [5, 2, NOWHERE]
    counts = Counter({7: 3, 8: 1, 9: 1})
    assert rarest([7, 8, 9, EOS], counts, 2, is_causal=False).tolist() == [1, 1]  # 8 and 9 are equal, 8 stands first
    assert rarest([7, EOS], counts, 2, is_causal=False).tolist() == [NOWHERE] * 2
    assert rarest([BOS, 7, 8, 7], counts, 4, is_causal=True).tolist() == [NOWHERE, NOWHERE, 2, 2]
    assert rarest([BOS, 8, 7], counts, 3, is_causal=True).tolist() == [NOWHERE, NOWHERE, 1]


def test_measures_are_means_over_all_rows_of_all_pairs() -> None:
    """Against plain loops, on the recordings of a model."""
    translator = lively()
    found = [Answered((4, 5, 6, 5), (7, 8, 7)), Answered((6,), (8, 8, 7, 9, 7))]
    sources, targets = Counter([4, 5, 6, 5, 6]), Counter([7, 8, 7, 8, 8, 7, 9, 7])
    measured, recordings = Measured(sources, targets), [record(translator.model, each) for each in found]
    for each in recordings:
        measured.add(each)
    table = measured.heads()
    weights: list[float] = []
    for each in recordings:
        [cross] = [one.weights[1] for one in each.attentions if one.name == "cross.0"]
        queries, keys = cross.shape
        for query in range(queries):
            place = query * (keys - 1) // (queries - 1)
            weights.append(sum(float(cross[query, key]) for key in range(keys) if abs(key - place) <= 1))
    assert table["cross.0.1"]["near_diagonal"] == pytest.approx(sum(weights) / len(weights), abs=1e-6)
    rare = []
    for each in recordings:
        [own] = [one.weights[0] for one in each.attentions if one.name == "decoder.1"]
        inputs = [BOS, *each.answered.target]
        for query in range(2, len(inputs)):
            seen = range(1, query + 1)
            rare.append(float(own[query, min(seen, key=lambda key: (targets[inputs[key]], key))]))
    assert table["decoder.1.0"]["rare"] == pytest.approx(sum(rare) / len(rare), abs=1e-6)
    assert table["decoder.1.0"]["diagonal"] is None
    assert table["decoder.1.0"]["near_reversed"] is None
    assert table["encoder.0.0"]["spread"] is not None


def test_a_head_of_one_pattern_is_called_by_it() -> None:
    """Each pattern put into a model by hand is found again by the table."""
    translator = lively()
    pairs = [("quick brown fox", "A B C D E F G A B C D E"), ("over the lazy dogs jumps", "G F E D C B A")]
    put = {"encoder.0.0": "previous", "encoder.0.1": "diagonal", "encoder.1.0": "first", "encoder.1.1": "uniform",
           "decoder.0.0": "previous", "decoder.0.1": "diagonal", "decoder.1.0": "first", "cross.0.0": "uniform",
           "cross.0.1": "first"}  # fmt: skip
    with changed(translator, put):
        called = {row.name: row.does for row in head_table(translator, pairs).rows}
    wanted = {"encoder.0.0": "previous token", "encoder.0.1": "same token", "encoder.1.0": "first token",
              "encoder.1.1": "broad", "decoder.0.0": "previous token", "decoder.0.1": "same token",
              "decoder.1.0": "start", "cross.0.0": "broad", "cross.0.1": "first token"}  # fmt: skip
    assert {name: called[name] for name in wanted} == wanted


def one_answer(part: Part, places: list[int], keys: int) -> Recording:
    """A recording of one head that looks at one place a query."""
    weights = torch.nn.functional.one_hot(torch.tensor(places), keys).float()[None]
    answered = Answered(tuple(range(4, 3 + keys)), tuple(range(4, 3 + len(places))))
    return Recording(answered, torch.empty(0, 1), (Attention(part, 0, weights),), ())


@pytest.mark.parametrize(("part", "places", "keys", "name"), [
    ("cross", [0, 1, 2, 3, 4, 5], 6, "diagonal"),
    ("cross", [4, 3, 2, 1, 0, 5], 6, "reversed"),
    ("cross", [0, 0, 1, 2, 3, 4], 6, "before diagonal"),
    ("cross", [1, 2, 3, 4, 5, 5], 6, "after diagonal"),
    ("cross", [5] * 6, 6, "end"),
    ("cross", [0, 2, 4, 6, 8], 9, "diagonal"),
    ("cross", [6, 4, 2, 1, 6], 9, "near reversed"),
    ("encoder", [1, 2, 3, 4, 5, 5], 6, "next token"),
    ("encoder", [4, 3, 2, 1, 0, 5], 6, "reversed"),
    ("encoder", [3] * 6, 6, "mixed"),
])  # fmt: skip
def test_names_of_plain_cases(part: Part, places: list[int], keys: int, name: str) -> None:
    measured = Measured(Counter(range(4, 20)), Counter(range(4, 20)))
    measured.add(one_answer(part, places, keys))
    assert short_name(part, measured.heads()[f"{part}.0.0"]) == name


def test_the_rarest_symbol_names_a_head() -> None:
    measured = Measured(Counter({4: 5, 5: 5, 6: 5, 7: 1, 8: 5}), Counter())
    measured.add(one_answer("encoder", [3] * 6, 6))
    assert short_name("encoder", measured.heads()["encoder.0.0"]) == "rare symbol"


def test_thresholds_of_names() -> None:
    nothing = dict.fromkeys([*NAMES["cross"], "spread", "near_diagonal", "near_reversed"], 0.0)
    assert short_name("cross", {**nothing, "diagonal": 0.5, "spread": 0.9}) == "diagonal"
    assert short_name("cross", {**nothing, "diagonal": 0.49, "spread": 0.8}) == "broad"
    assert short_name("cross", {**nothing, "diagonal": 0.3, "near_diagonal": 0.5, "spread": 0.7}) == "near diagonal"
    assert short_name("cross", {**nothing, "before": 0.25, "spread": 0.7}) == "partly before"
    assert short_name("cross", {**nothing, "before": 0.24, "spread": 0.7}) == "mixed"
    assert short_name("decoder", {**dict.fromkeys(NAMES["decoder"]), "spread": None}) == "mixed"


def test_what_is_measured_is_said() -> None:
    translator, told = lively(), list[str]()
    pairs = [*PAIRS, ("", "A"), ("dogs " * 11, "A")] * 5
    table = head_table(translator, pairs, most=12, tell=told.append)
    assert (table.pairs, table.given, table.left_out) == (8, 30, 4)
    [line] = told
    assert line.startswith("12 heads, 8 pairs: about ")
    text = table.to_text()
    assert "8 of 30 pairs, 4 left out (blank or too long)" in text
    assert all(len(line) <= 112 for line in text.split("\n"))
    assert all(row.name in text for row in table.rows)
    read = json.loads(table.to_json())
    assert read["loss"] == table.loss
    assert [(row["name"], row["importance"], row["measured"]) for row in read["rows"]] == [
        (row.name, row.importance, row.measured) for row in table.rows
    ]


def test_what_cannot_be_measured_is_refused() -> None:
    translator = lively()
    for pairs in ([], [("", "A")]):
        with pytest.raises(UsageError, match="no pair to measure heads on"):
            head_table(translator, pairs)
    with pytest.raises(UsageError, match="at least 1 pair, found 0"):
        head_table(translator, PAIRS, most=0)
    translator.mates = Mates((lively().model,), (1.0, 1.0))
    with pytest.raises(UsageError, match="a head is one model's"):
        head_table(translator, PAIRS)


@pytest.mark.parametrize("beam", [1, 3])
def test_an_effect_is_both_answers_judged_by_both_models(beam: int) -> None:
    translator, text = lively(), "the lazy dogs"
    changes = {"cross.0": 0.0, "decoder.1.1": "uniform"}
    found = effect(translator, text, changes, beam=beam)
    assert found.changes == ("cross.0 x 0", "decoder.1.1 = uniform")
    usual = next(translator.translate([text], beam=beam)).answers[0]
    with changed(translator, changes):
        other = next(translator.translate([text], beam=beam)).answers[0]
    assert (found.before.answer, found.after.answer) == (usual, other)
    assert usual.text != other.text
    assert_close(torch.tensor(found.before.usual), torch.tensor(usual.log_probabilities), atol=1e-4, rtol=0)
    assert_close(torch.tensor(found.after.changed), torch.tensor(other.log_probabilities), atol=1e-4, rtol=0)
    [forced] = translator.force([(text, other.text)])
    many = len(other.log_probabilities)
    assert_close(torch.tensor(found.after.usual), torch.tensor(forced.log_probabilities[:many]), atol=1e-4, rtol=0)
    assert found.before.difference == pytest.approx(sum(found.before.differences))
    assert found.before.difference < 0


def test_what_heads_do_with_another_text() -> None:
    translator = lively()
    taken = taken_from(translator, "the lazy dogs", ["encoder.0", "cross.1"], beam=1)
    assert sorted(taken) == ["cross.1.0", "cross.1.1", "encoder.0.0", "encoder.0.1"]
    same, other = (effect(translator, text, taken, beam=1) for text in ("the lazy dogs", "jumps the fox"))
    assert same.before.answer.text == same.after.answer.text
    assert same.before.differences == pytest.approx([0.0] * len(same.before.usual), abs=1e-5)
    assert abs(other.before.difference) > 0.01
    translator.mates = Mates((lively().model,), (1.0, 1.0))
    with pytest.raises(UsageError, match="a head is one model's"):
        taken_from(translator, "fox", ["encoder.0"])


def test_an_effect_on_a_test_set_is_its_metrics_before_and_after() -> None:
    translator = lively()
    pairs = [Pair(*pair, line) for line, pair in enumerate(PAIRS, start=1)]
    before, after = effect_on_test_set(translator, pairs, {"cross.0": 0}, beam=1)
    assert before == evaluate(translator, pairs, beam=1).values
    there = [site for site in heads(translator.model).sites if site.name == "cross.0"]
    other = without(translator, there[0].path, slice(None))
    assert after == evaluate(other, pairs, beam=1).values
    assert before != after


@pytest.mark.slow
@pytest.mark.parametrize(("task", "name"), [("reverse", "reversed"), ("copy", "diagonal")])
def test_the_head_that_does_the_task_stands_at_the_top_and_is_called_rightly(
    task: str, name: str, tmp_path: Path
) -> None:
    one = ["--set", "model.heads=1", "--set", "model.layers=1"]
    assert run(["train", "--task", task, "--out", str(tmp_path / task), *one]) == 0
    pairs, draw = [], random.Random(1)
    for _ in range(100):
        digits = [draw.choice("0123456789") for _ in range(draw.randint(1, 10))]
        pairs.append((" ".join(digits), " ".join(digits if task == "copy" else digits[::-1])))
    translator = Translator.load(tmp_path / task)
    first = head_table(translator, pairs).rows[0]
    assert (first.name, first.does) == ("cross.0.0", name)
    assert first.importance > 1


def test_on_another_device_all_is_the_same() -> None:
    """Whatever meets the model there was made there or moved there (tests/accelerator.py)."""
    translator, text, pairs = lively({"layers": 1}), "lazy dogs", PAIRS[:1]
    changes = {"encoder.0.1": 0.5, "decoder.0": "previous", "cross.0.0": "uniform", "cross.0.1": torch.rand(6, 9)}
    table, found = head_table(translator, pairs), effect(translator, text, changes, beam=1)
    with Accelerator():
        model = copy.deepcopy(translator.model).to("cuda")
        there = Translator(model, translator.tokenizers, translator.recipe)
        moved, seen = head_table(there, pairs), effect(there, text, changes, beam=1)
    assert seen.after.answer.text == found.after.answer.text
    assert seen.after.changed == pytest.approx(found.after.changed, abs=1e-5)
    by_name = {row.name: row for row in moved.rows}
    for row in table.rows:
        assert by_name[row.name].importance == pytest.approx(row.importance, abs=1e-5)
        assert by_name[row.name].gradient == pytest.approx(row.gradient, abs=1e-5)
        assert by_name[row.name].measured == pytest.approx(row.measured, abs=1e-5)
