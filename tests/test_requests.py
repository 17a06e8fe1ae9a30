"""What can be asked of a translator beside a text, and the promise about its answers."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from regard.errors import DataError, ModelFolderError, UsageError
from regard.text.tokenizer import UNK
from regard.translator import Request, Translation, Translator, read_glossary, with_glossary
from small import saved, untrained

LINES = ["fox", "the lazy dogs", "", "jumps over", "quick brown fox jumps over", "q", "zzz"]
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"beam": 1},
    "beam": {"beam": 5, "n_best": 3},
    "diverse": {"beam": 4, "n_best": 4, "groups": 2},
    "sampling": {"strategy": "sampling", "n_best": 2},
    "coverage": {"beam": 3, "coverage_penalty": 0.3},
    "no-repeat": {"beam": 3, "no_repeat": 2},
    "alternatives": {"strategy": "alternatives", "n_best": 3},
}
MODELS: dict[str, dict[str, Any]] = {
    "transformer": {"layers": 2},
    "recurrent": {"architecture": "recurrent"},
    "convolutional": {"architecture": "convolutional", "kernel": 3},
    "additive": {"score": "additive"},
}


@pytest.fixture(scope="module")
def translator() -> Translator:
    return untrained()


def told(results: list[Translation]) -> list[list[tuple[tuple[str, ...], bool]]]:
    return [[(answer.symbols, answer.finished) for answer in result.answers] for result in results]


@pytest.mark.parametrize(
    ("model", "way"),
    [*(("transformer", way) for way in WAYS), *((model, "beam") for model in MODELS if model != "transformer")],
)
def test_an_answer_depends_on_its_line_alone(model: str, way: str) -> None:
    translator, options = untrained({"model": MODELS[model]}), WAYS[way]
    alone = {line: next(translator.translate([line], options=options)) for line in set(LINES)}
    for seed in range(2):
        lines = random.Random(seed).sample(LINES, len(LINES))
        results = list(translator.translate(lines, options=options, batch_size=1 + 6 * seed))
        assert told(results) == told([alone[line] for line in lines])


@pytest.mark.parametrize("way", WAYS)
def test_exact_answers_have_the_same_bits_in_any_batch_and_are_the_same(translator: Translator, way: str) -> None:
    options = {**WAYS[way], "exact": True}
    together = list(translator.translate(LINES, options=options))
    alone = [next(translator.translate([line], options=options)) for line in LINES]
    assert together == alone
    assert told(together) == told(list(translator.translate(LINES, options=WAYS[way])))
    assert all(result.settled for line, result in zip(LINES, together, strict=True) if line)


def test_what_comes_near_a_tie_is_settled_in_float64(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = list(translator.translate(LINES))
    monkeypatch.setattr("regard.translator.settle.LEAST", float("inf"))
    settled = list(translator.translate(LINES))
    assert all(result.settled for line, result in zip(LINES, settled, strict=True) if line)
    assert told(settled) == told(usual)


@pytest.mark.parametrize("exact", [False, True])
def test_changed_weights_answer_at_once(exact: bool) -> None:
    translator, other = untrained(), untrained(seed=5)
    before = list(translator.translate(LINES, options={"exact": exact}))
    translator.model.load_state_dict(other.model.state_dict())
    after = list(translator.translate(LINES, options={"exact": exact}))
    assert told(after) == told(list(other.translate(LINES))) != told(before)


def test_a_tie_is_settled_the_same_way_in_any_batch() -> None:
    translator = untrained()
    decoder = translator.model.decoder
    with torch.no_grad():  # two symbols that the model cannot tell apart: every choice between them is a tie
        decoder.embed.table.weight[5] = decoder.embed.table.weight[4] + 1e-9
    together = list(translator.translate(LINES, beam=4, n_best=4))
    alone = [next(translator.translate([line], beam=4, n_best=4)) for line in LINES]
    assert any(result.settled for result in together)
    assert told(together) == told(alone)


def test_scores_come_apart_into_their_parts(translator: Translator) -> None:
    options = {"coverage_penalty": 0.2, "length_penalty": 0.6, "normalise": "length", "n_best": 3}
    for result in translator.translate(["fox", "lazy dogs"], options=options):
        for answer in result.answers:
            assert sum(answer.log_probabilities) == pytest.approx(answer.log_probability)
            assert len(answer.log_probabilities) == len(answer.symbols) + answer.finished
            assert answer.score == pytest.approx(answer.log_probability / answer.length_penalty + answer.coverage)
            assert answer.length_penalty == pytest.approx(max(1, len(answer.log_probabilities)) ** 0.6)
            assert answer.coverage < 0


def test_prefixes_required_and_forbidden_phrases(translator: Translator) -> None:
    requests = [
        Request("fox", prefix="B C"),
        Request("fox", required=("G F", "A")),
        Request("fox", forbidden=("A", "B", "C D")),
        Request("fox"),
    ]
    begun, required, forbidden, free = translator.translate(requests, beam=4)
    assert begun.answers[0].symbols[:2] == ("B", "C")
    assert "G F" in required.text
    assert "A" in required.text.split()
    assert not {"A", "B"} & set(forbidden.text.split())
    assert "C D" not in forbidden.text
    assert all(result.answers[0].met for result in (begun, required, forbidden, free))
    assert told([free]) == told(list(translator.translate(["fox"], beam=4)))


def test_what_cannot_be_met_is_marked(translator: Translator) -> None:
    options = {"beam": 3, "limit_factor": 0.0, "limit_extra": 2}
    [result] = translator.translate([Request("fox", required=("A B C",))], options=options)
    assert not result.answers[0].met


def test_lengths_are_kept(translator: Translator) -> None:
    for options in ({"min_length": 9, "limit_extra": 1, "limit_factor": 0.0}, {"min_length": 9, "limit_extra": 9}):
        for result in translator.translate(["fox", "q"], options=options):
            assert len(result.answers[0].symbols) >= 9
    [result] = translator.translate(["fox"], options={"limit_factor": 0.0, "limit_extra": 3})
    assert len(result.answers[0].symbols) <= 3


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("fox", required=("A B",), forbidden=("B",)), "'A B' is asked for, but it holds 'B'"),
        (Request("fox", prefix="A", forbidden=("A",)), "'A' is asked for, but it holds 'A'"),
        (Request("fox", required=("A Z",)), "required phrase 'A Z' cannot be written: the model knows no Z"),
        (Request("fox", forbidden=("ü",)), "forbidden phrase 'ü' cannot be written"),
        (Request("fox", required=("",)), "it is empty"),
        (Request("fox", prefix="A " * 50), "the prefix has 50 tokens, the answer may have 10"),
    ],
)
def test_impossible_requests_name_their_line(translator: Translator, request_: Request, message: str) -> None:
    results = translator.translate([Request("fox"), request_, Request("dogs")])
    assert next(results).source == "fox"  # nothing that could be answered is lost
    with pytest.raises(DataError, match=message) as error:
        next(results)
    assert error.value.where == "line 2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 3}, "unknown setting 'decoding.beams'"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"strategy": "astar"}, "strategy"),
        ({"beam": 4, "groups": 3}, "3 groups cannot share a beam of 4"),
        ({"beam": 2, "n_best": 3}, "between 1 and the beam size 2"),
    ],
)
def test_impossible_options_are_refused_before_any_work(
    translator: Translator, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        translator.translate([], options=options)


def test_more_answers_widen_the_beam(translator: Translator) -> None:
    assert translator.decoding({}, n_best=7).beam == 7
    assert translator.decoding({"groups": 4}, n_best=7).beam == 8
    assert translator.decoding({}).beam == 3


def test_unknown_symbols_become_what_was_looked_at() -> None:
    translator = untrained({"tokenizer": {"source": {"kind": "words", "vocabulary": 100}}})
    decoder = translator.model.decoder
    with torch.no_grad():  # whatever is said, it is unknown
        decoder.embed.table.weight[UNK] = 10 * torch.randn_like(decoder.embed.table.weight[UNK])
    options = {"replace_unknown": True, "beam": 4, "n_best": 4, "limit_extra": 2}
    [result] = translator.translate(["fox zürich"], options=options)
    replaced = {symbol for answer in result.answers for symbol in answer.symbols} - set("ABCDEFG")
    assert replaced
    assert replaced <= {"fox", "zürich", ""}
    [result] = translator.translate(["fox zürich"], options={**options, "replace_unknown": False})
    assert all(set(answer.symbols) <= set("ABCDEFG") for answer in result.answers)


def test_ensembles(tmp_path: Any) -> None:
    one, two = saved(tmp_path / "one", untrained()), saved(tmp_path / "two", untrained(seed=1))
    lines = [line for line in LINES if line]
    alone = list(Translator.load(one).translate(lines))
    assert told(list(Translator.load_ensemble([one, one]).translate(lines))) == told(alone)
    mostly = list(Translator.load_ensemble([one, two], [1.0, 1e-12]).translate(lines))
    assert told(mostly) == told(alone)
    for average in ("probabilities", "log_probabilities"):
        both = list(Translator.load_ensemble([one, two], average=average).translate(lines))  # type: ignore[arg-type]
        swapped = list(Translator.load_ensemble([two, one], average=average).translate(lines))  # type: ignore[arg-type]
        assert told(both) == told(swapped) != told(alone)
    with pytest.raises(UsageError, match="wanted 2 weights above 0"):
        Translator.load_ensemble([one, two], [1.0])
    other = saved(tmp_path / "other", untrained({"tokenizer": {"target": {"kind": "characters"}}}))
    with pytest.raises(ModelFolderError, match="its tokenizers are not those of"):
        Translator.load_ensemble([one, other])


def test_the_trace_is_that_of_the_answer(translator: Translator) -> None:
    [plain] = translator.translate(["fox"], beam=3)
    [traced] = translator.translate(["fox"], beam=3, trace=True)
    assert plain.trace == ()
    assert traced.answers == plain.answers
    assert [step["step"] for step in traced.trace] == list(range(len(traced.trace)))
    kept = {each["id"] for step in traced.trace for each in step["candidates"] if each["fate"] in ("kept", "finished")}
    assert set(translator.tokenizers.target.encode(traced.text)) <= kept


def test_a_glossary_asks_for_whole_words_and_the_longest_first() -> None:
    glossary = read_glossary(["fire\tFEUER", "", "fire truck\tFEUERWEHR "], "terms.tsv")
    texts = ["a fire truck on fire", "fires and campfire", "Fire fire", "firefire fire"]
    asked = [request.required for request in with_glossary(map(Request, texts), glossary)]
    assert asked == [("FEUERWEHR", "FEUER"), (), ("FEUER",), ("FEUER",)]
    kept = Request("fire", required=("X",), prefix="Y")
    assert next(with_glossary([kept], glossary)) == Request("fire", "Y", ("X", "FEUER"))


@pytest.mark.parametrize("line", ["fire", "fire\t", "a\tb\tc"])
def test_a_bad_line_of_a_glossary_is_named(line: str) -> None:
    with pytest.raises(DataError, match=r"terms\.tsv:2.*wanted 2 columns"):
        read_glossary(["ok\tOK", line], "terms.tsv")
