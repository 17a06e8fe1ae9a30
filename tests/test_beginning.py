"""Training that begins with the weights of another model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from regard import trainer
from regard.cli import run
from regard.config import merge
from regard.errors import ModelFolderError, UsageError
from regard.lab.compare import compare
from regard.lab.grid import grid
from regard.lab.question import Question
from regard.models.weights import read_weights
from regard.text.tokenizer import Tokenizer
from regard.trainer import Listener
from regard.training.loop import Interrupted
from regard.translator import read_recipe
from regard.translator.shrinking import shrink

TINY: dict[str, Any] = {
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.1, "attention_dropout": 0.1},
    "training": {"steps": 8, "checkpoint_every": 4, "average": 1, "warmup": 2, "valid_pairs": 20},
    "data": {"tokens_per_batch": 150, "hold_out": 0.1},
}
FROZEN = {"training": {"learning_rate": 1e-30, "optimiser": "adamw"}}  # steps that change no bit


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))


def written(path: Path, letters: str) -> Path:
    """Words of three letters, each with its letters in reverse, as symbols."""
    words = [f"{a}{b}{c}" for a in letters[:4] for b in letters[4:9] for c in letters[9:]]
    path.write_text("".join(f"{word}\t{' '.join(reversed(word))}\n" for word in words), encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Of a training on the pairs of before, with two letters that are new."""
    path = written(tmp_path / "new.tsv", "abcdefghiéßl")
    training = {"begin_with": str(tmp_path / "old"), **TINY["training"]}
    return {"data": {**TINY["data"], "pairs": [str(path)]}, "training": training}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = written(tmp_path / "old.tsv", "abcdefghijkl")
    trainer.train(merge(TINY, {"data": {"pairs": [str(path)]}}), tmp_path / "old")
    return tmp_path / "old"


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_it_begins_with_what_the_model_is(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """Weights bit for bit, and the settings of the model. Tokens that are new come after the others."""
    trainer.train(merge(settings, FROZEN), tmp_path / "new")
    ours, theirs = (read_weights(each / "model.safetensors") for each in (tmp_path / "new", old))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name][: len(theirs[name])], theirs[name]) for name in ours)
    wider = {name: len(ours[name]) - len(theirs[name]) for name in ours if ours[name].shape != theirs[name].shape}
    assert set(wider.values()) == {2}
    for side in ("source", "target"):
        mine, before = (Tokenizer.load(each / f"tokenizer/{side}.tokenizer.json") for each in (tmp_path / "new", old))
        symbols = mine.symbols(range(len(mine)))
        assert symbols[: len(before)] == before.symbols(range(len(before)))
        assert sorted(symbols[len(before) :]) == ["ß", "é"]
    assert read_recipe(tmp_path / "new").model == read_recipe(old).model
    told = next(event for event in events(tmp_path / "new") if event["event"] == "beginning")
    assert re.fullmatch(r"begins with .*old; new in the source: (é ß|ß é); new in the target: (é ß|ß é)", told["text"])
    card, report = ((tmp_path / "new" / name).read_text("utf-8") for name in ("README.md", "report.html"))
    assert "begun with the weights of `old`" in card
    assert "begins with the weights of" in report


def test_nothing_new_is_the_same_model(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    trainer.train(merge(merge(settings, FROZEN), {"data": {"pairs": [str(tmp_path / "old.tsv")]}}), tmp_path / "new")
    names = ["model.safetensors", *(f"tokenizer/{side}.tokenizer.json" for side in ("source", "target"))]
    for name in names:
        assert (tmp_path / "new" / name).read_bytes() == (old / name).read_bytes()
    told = next(event for event in events(tmp_path / "new") if event["event"] == "beginning")
    assert told["text"] == f"begins with the weights of {old}"


def test_it_learns_on(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """The weights after some steps are others than those it began with, and than those without a beginning."""
    trainer.train(settings, tmp_path / "on")
    trainer.train(merge(merge(settings, TINY), {"training": {"begin_with": None}}), tmp_path / "anew")
    weights = {(each / "model.safetensors").read_bytes() for each in (old, tmp_path / "on", tmp_path / "anew")}
    assert len(weights) == 3


def test_a_model_of_half_the_bytes_will_do(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    shrink(old, tmp_path / "small")
    given = merge(merge(settings, FROZEN), {"training": {"begin_with": str(tmp_path / "small")}})
    trainer.train(given, tmp_path / "new")
    found, wanted = (read_weights(each / "model.safetensors") for each in (tmp_path / "new", old))
    assert all(torch.equal(found[name][: len(wanted[name])], wanted[name].half().float()) for name in wanted)


def test_what_has_no_weights_may_be_set(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    trainer.train(merge(settings, {"model": {"dropout": 0.5}}), tmp_path / "new")
    model = read_recipe(old).model
    assert read_recipe(tmp_path / "new").model == model.model_copy(update={"dropout": 0.5})


def test_resumed_equals_uninterrupted(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """After a checkpoint, where the model that it began with is not needed any more, and before the first."""
    trainer.train(settings, tmp_path / "whole")
    wanted = (tmp_path / "whole/model.safetensors").read_bytes(), events(tmp_path / "whole")

    def die(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            raise KeyboardInterrupt

    early, late = tmp_path / "early", tmp_path / "late"
    with pytest.raises(KeyboardInterrupt):
        trainer.train(settings, early, Listener(tell=die))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trainer.resume(early, Listener(tell=die))
    trainer.resume(early)
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        trainer.train(settings, late, Listener(interrupted=lambda: next(calls) == 5))
    shutil.rmtree(old)
    trainer.resume(late)
    for each in (early, late):
        assert ((each / "model.safetensors").read_bytes(), events(each)) == wanted


def test_another_model_in_its_place_is_refused(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """By a run that died before its first checkpoint; the run is as it was."""

    def die(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            raise KeyboardInterrupt

    new = tmp_path / "new"
    with pytest.raises(KeyboardInterrupt):
        trainer.train(settings, new, Listener(tell=die))
    shutil.rmtree(old)
    pairs = {"data": {"pairs": [str(tmp_path / "old.tsv")]}, "training": {"seed": 2}}
    trainer.train(merge(TINY, pairs), old)
    before = events(new)
    with pytest.raises(UsageError, match=r"old: the weights are not those this run began with"):
        trainer.resume(new)
    assert events(new) == before


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"tokenizer": {"source": {"kind": "bpe"}}}, UsageError, r"old: other tokenizer settings than those of the"),
        ({"model": {"layers": 2}}, ModelFolderError, r"missing: [\s\S]*leave model\.\* out where it changes the"),
        (
            {"training": {"begin_with": "prononce"}},
            ModelFolderError,
            r"prononce: [\s\S]*come with the package: pronounce",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(
    wrong: dict[str, Any], error: type[Exception], said: str, old: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        trainer.train(merge(settings, wrong), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_path_leads_there_from_any_folder(
    old: Path, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer.train(merge(settings, {"training": {"begin_with": "old"}}), tmp_path / "new")
    assert read_recipe(tmp_path / "new").training.begin_with == str(old)


def test_a_model_of_the_package_is_known_by_its_name(settings: dict[str, Any], tmp_path: Path) -> None:
    """On the command line too."""
    pairs, out = settings["data"]["pairs"][0], tmp_path / "new"
    assert run(["train", pairs, "--from", "pronounce", "--set", "training.steps=1", "--out", str(out)]) == 0
    recipe = read_recipe(out)
    assert (recipe.training.begin_with, recipe.training.steps) == ("pronounce", 1)


def test_beginning_is_compared_with_none(old: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """Where nothing is learned, what was learned before has a lower loss than random weights."""
    keys, variants = grid([f"training.begin_with=none,{old}"])
    given = merge(merge(settings, FROZEN), {"model": TINY["model"], "data": {"pairs": [str(tmp_path / "old.tsv")]}})
    compared = compare(Question(tuple(variants), given, tuple(keys), 1, None), tmp_path / "compared")
    anew, on = compared.results
    assert compared.plan.tokenizers == 2
    assert on.values["loss"] < anew.values["loss"]
