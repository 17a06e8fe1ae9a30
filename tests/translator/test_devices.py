"""Answers of a model that lies on a GPU, shown on a device that refuses the CPU's tensors (tests/accelerator.py)."""

from __future__ import annotations

import copy
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from typer.testing import CliRunner

import regard.device
from accelerator import GPU, Accelerator, There
from regard.cli import app
from regard.config import Settings, merge
from regard.decoding import Alternatives
from regard.decoding.filters import Forbidden
from regard.decoding.interface import Moment
from regard.errors import UsageError
from regard.translator import Request, Translator
from regard.translator.translator import Mates
from small import saved, untrained

LINES = ["fox", "", "lazy dogs", "zzz"]
ASKED = [
    Request("fox", prefix="B C"),
    Request("dogs", required=("A B", "D"), forbidden=("C",)),
    Request("quick", forbidden=("A A", "B")),
]
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"beam": 1},
    "beam": {"beam": 4, "n_best": 3},
    "coverage": {"beam": 3, "coverage_penalty": 0.3, "replace_unknown": True},
    "diverse": {"beam": 4, "n_best": 4, "groups": 2},
    "sampling": {"strategy": "sampling", "n_best": 2, "top_k": 5, "top_p": 0.9, "min_p": 0.01},
    "alternatives": {"strategy": "alternatives", "n_best": 3},
    "repeats and lengths": {"beam": 3, "no_repeat": 2, "min_length": 4},
    "exact": {"beam": 2, "exact": True},
}
MODELS: dict[str, dict[str, Any]] = {
    "transformer": {"positions": "rotary", "norm": "batch", "decoder_norm": "layer"},
    "recurrent": {"architecture": "recurrent"},
    "convolutional": {"architecture": "convolutional", "kernel": 3},
}
PIECES: Settings = {"tokenizer": {"target": {"kind": "bpe"}}}


def brief(changes: Settings | None = None, seed: int = 0) -> Translator:
    """Its answers have few symbols."""
    return untrained(merge({"decoding": {"limit_factor": 0.3, "limit_extra": 4}}, changes or {}), seed)


def moved(translator: Translator) -> Translator:
    """The same on the second device."""
    there = copy.copy(translator)
    there.model, there._kept = copy.deepcopy(translator.model).to("cuda"), {}
    if mates := translator.mates:
        models = tuple(copy.deepcopy(model).to("cuda") for model in mates.models)
        there.mates = Mates(models, mates.weights, mates.average)
    return there


def answers(translator: Translator, lines: list[Any], **options: Any) -> list[Any]:
    """All that is found; numbers rounded, for another device adds up in another order."""
    found = list(translator.translate(lines, options=options, trace=True))
    return [
        [(answer.symbols, answer.finished, answer.met, round(answer.score, 4)) for answer in each.answers]
        + [len(each.trace)]
        for each in found
    ]


def answers_there(translator: Translator, lines: list[Any], **options: Any) -> list[Any]:
    """Of the same model, moved."""
    with Accelerator():
        return answers(moved(translator), lines, **options)


def test_tensors_of_two_devices_do_not_meet() -> None:
    with Accelerator():
        there, here = torch.ones(3, device="cuda"), torch.arange(3)
        assert (there + 1).device == there.new_zeros(2).device == GPU
        assert here.device.type == there.cpu().device.type == "cpu"
        for meet in (lambda: there + here, lambda: there[here], lambda: torch.stack([there, here.float()])):
            with pytest.raises(RuntimeError, match="same device"):
                meet()
        with pytest.raises(TypeError):
            numpy.asarray(there)
        gone = here.to("cuda")
        gone += 1
        assert (here.tolist(), gone.tolist()) == ([0, 1, 2], [1, 2, 3])


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_search_computes_where_the_model_lies(way: str) -> None:
    translator = brief()
    assert answers_there(translator, LINES, **WAYS[way]) == answers(translator, LINES, **WAYS[way])


@pytest.mark.parametrize("model", MODELS)
def test_each_model_answers_where_it_lies(model: str) -> None:
    translator = brief({"model": MODELS[model]})
    assert answers_there(translator, LINES, beam=2) == answers(translator, LINES, beam=2)


@pytest.mark.parametrize(("settings", "strength"), [({}, 1.0), (PIECES, 0.5)], ids=["symbols", "pieces"])
def test_requests_are_met_where_the_model_lies(settings: Settings, strength: float) -> None:
    translator = brief(settings)
    for options in ({"beam": 4, "prefix_strength": strength}, {"strategy": "alternatives", "n_best": 2}):
        asked = [each for each in ASKED if options.get("beam") or not each.required]
        assert answers_there(translator, asked, **options) == answers(translator, asked, **options)


def test_a_forbidden_phrase_that_ends_a_word_is_forbidden_where_the_search_computes() -> None:
    def left(device: torch.device) -> list[list[float]]:
        history, sentence = torch.tensor([[3, 4], [4, 4]], device=device), torch.tensor([0, 1], device=device)
        phrases = Forbidden([[(3, 4)], [(4,)]], frozenset({5}), device)
        return phrases(torch.zeros(2, 7, device=device), Moment(history, sentence)).tolist()

    with Accelerator():
        found = left(GPU)
    assert found == left(torch.device("cpu")) == 2 * [[-inf] * 5 + [0.0, -inf]]


def test_an_alternative_to_the_only_symbol_is_looked_for_where_the_search_computes() -> None:
    with Accelerator():
        place = torch.zeros(2, dtype=torch.int64, device="cuda")
        ids, lead = Alternatives(1, place)._pick(torch.zeros(2, 1, device=GPU), Moment(place.view(2, 1), place))
        assert ids.device == lead.device == GPU
    assert lead.tolist() == [inf, inf]


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
def test_an_ensemble_decides_where_its_models_lie(average: Any) -> None:
    first, second, pairs = brief(), brief(seed=1), [("fox", "A B"), ("lazy", "")]
    translator = Translator(first.model, first.tokenizers, first.recipe, Mates((second.model,), (2.0, 1.0), average))
    assert answers_there(translator, LINES, beam=3) == answers(translator, LINES, beam=3)
    with Accelerator():
        forced = list(moved(translator).force(pairs))
    for found, wanted in zip(forced, translator.force(pairs), strict=True):
        assert found.log_probabilities == pytest.approx(wanted.log_probabilities, abs=1e-5)


def test_vectors_of_a_text_come_back_to_the_cpu() -> None:
    translator = brief()
    with Accelerator():
        vectors = list(moved(translator).encode_many(LINES))
    for found, wanted in zip(vectors, translator.encode_many(LINES), strict=True):
        assert not isinstance(found.states, There)
        torch.testing.assert_close(found.states, wanted.states)


def test_a_loaded_model_lies_where_it_was_asked_to(tmp_path: Path) -> None:
    folder = saved(tmp_path, brief())
    with Accelerator():
        there = Translator.load_ensemble([folder, folder], device="cuda")
        assert there.device == GPU
        assert {weight.device for model in there._models for weight in model.state_dict().values()} == {GPU}
        assert Translator.load(folder).device.type == "cpu"


def test_one_device_for_all_and_one_that_can_add_up() -> None:
    first = brief()
    with Accelerator():
        mates = Mates((moved(first).model,), (1.0, 1.0))
    with pytest.raises(UsageError, match="lie on cpu, cuda:0"):
        next(Translator(first.model, first.tokenizers, first.recipe, mates).translate(["fox"]))
    weight = SimpleNamespace(device=torch.device("mps"))
    first.model = SimpleNamespace(parameters=lambda: iter([weight]))  # type: ignore[assignment]
    with pytest.raises(UsageError, match="float64"):
        _ = first.device


def test_products_are_float32_while_a_gpu_answers_and_as_before_then() -> None:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    try:
        products.allow_tf32 = convolutions.allow_tf32 = True
        with regard.device.full_float32(GPU):
            assert (products.allow_tf32, convolutions.allow_tf32) == (False, False)
        assert (products.allow_tf32, convolutions.allow_tf32) == (True, True)
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


@pytest.mark.parametrize(
    "command", [["translate", "RUN"], ["score", "RUN", "FILE"], ["score", "RUN", "FILE", "--forced"]]
)
def test_the_commands_compute_where_they_are_asked_to(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, file = saved(tmp_path / "run", brief()), tmp_path / "pairs.tsv"
    file.write_text("fox\tA B\ndogs\tC\n")
    words = [{"RUN": str(run), "FILE": str(file)}.get(word, word) for word in command]
    expected = CliRunner().invoke(app, words, input="fox\nzzz\n", catch_exceptions=False).stdout
    seen: list[tuple[str, int]] = []

    def choose(name: str, local_rank: int, *, asked: str, fix: str) -> torch.device:
        seen.append((name, local_rank))
        return GPU

    monkeypatch.setattr(regard.device, "choose_device", choose)
    monkeypatch.setenv("LOCAL_RANK", "3")
    words += ["--device", "cuda"]
    with Accelerator():
        found = CliRunner().invoke(app, words, input="fox\nzzz\n", catch_exceptions=False).stdout
    assert found == expected
    assert seen == [("cuda", 3)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = saved(tmp_path, brief())
    with pytest.raises(UsageError, match="--device cuda is not to be had here, only cpu"):
        CliRunner().invoke(app, ["translate", str(run), "--device", "cuda"], input="fox\n", catch_exceptions=False)
