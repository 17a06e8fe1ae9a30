"""Training from end to end on tiny models: files, resume with equal bits, faults."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from regard import trainer
from regard.config import merge
from regard.errors import ModelFolderError, RecipeError, StorageError, TrainingError, UsageError, UserError
from regard.metrics.evaluate import answer_pairs
from regard.text.pairs import Pair
from regard.trainer import Listener
from regard.training.checkpoint import list_checkpoints, load_checkpoint
from regard.training.journal import Journal
from regard.training.loop import Interrupted
from regard.translator import Translator, read_recipe

pytestmark = pytest.mark.usefixtures("unchecked")  # many equal steps: tests/training checks one

TINY = {
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.1, "attention_dropout": 0.1},
    "training": {"steps": 12, "checkpoint_every": 4, "average": 2, "warmup": 2, "valid_pairs": 20},
    "data": {"tokens_per_batch": 150},
    "decoding": {"beam": 2},
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """60 words with their letters in reverse, as symbols."""
    words = [f"{a}{b}{c}" for a in "abcd" for b in "efghi" for c in "jkl"]
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{word}\t{' '.join(reversed(word))}\n" for word in words), encoding="utf-8")
    return path


def of(path: Path) -> dict[str, object]:
    return merge(TINY, {"data": {"pairs": [str(path)]}})


def stop_after(step: int) -> Listener:
    """Asks to stop as soon as `step` steps are done."""
    calls = iter(range(1, 10_000))
    return Listener(interrupted=lambda: next(calls) == step)


def untimed(run: Path) -> list[dict[str, object]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def state_of(run: Path) -> list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    loaded = [load_checkpoint(folder) for folder in list_checkpoints(run)]
    return [(checkpoint.weights, checkpoint.optimiser) for checkpoint in loaded]


def test_a_run_folder_holds_what_the_design_says(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trainer.train(of(pairs), run)
    names = {
        path.relative_to(run).as_posix()
        for path in run.rglob("*")
        if path.is_file() and "checkpoints" not in path.parts
    }
    assert names == {
        "MANIFEST.json",
        "README.md",
        "alignment.json",
        "curve.svg",
        "machine.jsonl",
        "metrics.jsonl",
        "model.safetensors",
        "recipe.toml",
        "report.html",
        "tokenizer/source.tokenizer.json",
        "tokenizer/target.tokenizer.json",
    }
    assert "(curve.svg)" in (run / "README.md").read_text(encoding="utf-8")
    assert [event["event"] for event in untimed(run)] == [
        "recipe", "data", "start", "step", *["checkpoint", "samples"] * 3, "end",
    ]  # fmt: skip


@pytest.mark.parametrize("step", [1, 3, 4, 6, 11])
def test_resumed_equals_uninterrupted_bit_for_bit(step: int, pairs: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer.train(of(pairs), whole)
    with pytest.raises(Interrupted):
        trainer.train(of(pairs), parts, stop_after(step))
    trainer.resume(parts)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    for ours, theirs in zip(state_of(parts), state_of(whole), strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.keys() == other.keys()
            assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert untimed(parts) == untimed(whole)


def test_resume_before_the_first_checkpoint_starts_again(pairs: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer.train(of(pairs), whole)

    def die(event: dict[str, object]) -> None:
        if event["event"] == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(of(pairs), parts, Listener(tell=die))
    trainer.resume(parts)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_another_seed_gives_another_model(pairs: Path, tmp_path: Path) -> None:
    trainer.train(of(pairs), tmp_path / "one")
    trainer.train(merge(of(pairs), {"training": {"seed": 2}}), tmp_path / "two")
    assert (tmp_path / "one/model.safetensors").read_bytes() != (tmp_path / "two/model.safetensors").read_bytes()


def test_a_loss_that_is_no_number_stops_before_the_step(pairs: Path, tmp_path: Path) -> None:
    settings = merge(of(pairs), {"training": {"learning_rate": 1e30, "clip": None, "optimiser": "adam", "warmup": 0}})
    with pytest.raises(TrainingError, match=r"step was not applied[\s\S]*lower training.learning_rate"):
        trainer.train(settings, tmp_path / "run")
    for weights, _ in state_of(tmp_path / "run"):
        assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


def test_early_stopping(pairs: Path, tmp_path: Path) -> None:
    settings = merge(of(pairs), {"training": {"steps": 100, "patience": 2, "learning_rate": 1e-9}})
    trainer.train(merge(settings, {"training": {"metric": "wer"}}), tmp_path / "run")
    assert untimed(tmp_path / "run")[-1]["step"] < 100


def test_the_clock_ends_a_run(pairs: Path, tmp_path: Path) -> None:
    settings = merge(of(pairs), {"training": {"steps": 10_000_000, "max_minutes": 0.02}})
    trainer.train(settings, tmp_path / "run")
    assert (tmp_path / "run/MANIFEST.json").exists()


def test_a_folder_in_use_is_not_overwritten(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="already there"):
        trainer.train(of(pairs), tmp_path / "run")


def test_resume_of_what_is_no_run_and_of_what_is_finished(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"no recipe\.toml here"):
        trainer.resume(tmp_path)
    trainer.train(of(pairs), tmp_path / "run")
    with pytest.raises(UsageError, match="finished"):
        trainer.resume(tmp_path / "run")


def test_a_checkpoint_is_a_model_folder(pairs: Path, tmp_path: Path) -> None:
    trainer.train(of(pairs), tmp_path / "run")
    newest = list_checkpoints(tmp_path / "run")[-1]
    [answer] = Translator.load(newest).translate(["aej"])
    assert answer.source == "aej"


def test_a_checkpoint_is_validated_with_its_own_weights(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []

    def watched(translator: Translator, held_out: list[Pair], *, beam: int) -> list[str]:
        fresh = Translator(copy.deepcopy(translator.model), translator.tokenizers, translator.recipe)
        lines = [pair.source for pair in held_out]
        texts = [[each.text for each in one.translate(lines, beam=beam)] for one in (translator, fresh)]
        assert texts[0] == texts[1]
        told.append(texts[0])
        return answer_pairs(translator, held_out, beam=beam)

    monkeypatch.setattr("regard.trainer.validation.answer_pairs", watched)
    trainer.train(merge(of(pairs), {"training": {"learning_rate": 0.05}}), tmp_path / "run")
    assert told[0] != told[1]  # it did learn between them


def test_two_pairs_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "two.tsv"
    path.write_text("a b\tx y\nc\tz\n\n", encoding="utf-8")
    told: list[dict[str, object]] = []
    trainer.train(of(path), tmp_path / "run", Listener(tell=told.append))
    assert any(event["event"] == "warning" for event in told)
    assert len(list(Translator.load(tmp_path / "run").translate(["a b", "c"]))) == 2


@pytest.mark.parametrize("task", ["copy", "dates"])
def test_generated_tasks_resume_too(task: str, tmp_path: Path) -> None:
    settings = merge(TINY, {"data": {"task": task, "task_pairs": 40, "tokens_per_batch": 400}})
    trainer.train(settings, tmp_path / "whole")
    with pytest.raises(Interrupted):
        trainer.train(settings, tmp_path / "parts", stop_after(5))
    trainer.resume(tmp_path / "parts")
    one, two = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == two.read_bytes()


def test_faults_are_told_before_anything_is_written(pairs: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_bytes(b"a\tx y\nb\t\xff\n")
    for settings, told in (
        (merge(of(pairs), {"data": {"valid": [str(bad)]}}), r"bad\.tsv:2"),
        (of(bad), r"bad\.tsv:2"),
        ({"training": 5}, "training"),
        (merge(of(pairs), {"model": {"size": 15}}), r"model\.heads"),
    ):
        with pytest.raises(UserError, match=told):
            trainer.train(settings, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_bad_lines_are_skipped_and_counted_on_request(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_bytes(b"a\tx y\nb\t\xff\n\t\nc\tx\n" + b"".join(b"d%d\ty x\n" % n for n in range(30)))
    told: list[dict[str, object]] = []
    settings = merge(of(bad), {"data": {"on_bad_line": "skip", "valid": [str(bad)]}})
    trainer.train(settings, tmp_path / "run", Listener(tell=told.append))
    [start] = [event for event in told if event["event"] == "start"]
    assert start["left_out"] == {"blank": 1, "too_long": 0, "bad_lines": 1}
    assert start["pairs"] == 32


def test_a_development_text_longer_than_the_model_reads_is_left_out_and_told(pairs: Path, tmp_path: Path) -> None:
    dev = tmp_path / "dev.tsv"
    dev.write_text("aej\tj e a\n" + "a" * 13 + "\ta\n", encoding="utf-8")
    told: list[dict[str, object]] = []
    settings = merge(of(pairs), {"data": {"valid": [str(dev)]}, "decoding": {"longest_source": 12}})
    trainer.train(settings, tmp_path / "run", Listener(tell=told.append))
    [warning] = [event["text"] for event in told if event["event"] == "warning"]
    assert warning == "1 development pairs are too long and left out"
    assert told[-1]["event"] == "end"


def test_parts_that_do_not_go_together_are_told_before_anything_is_written(pairs: Path, tmp_path: Path) -> None:
    given = {"model": {"norm": "instance", "decoder_norm": "instance"}}
    with pytest.raises(RecipeError, match="a decoder cannot use the instance norm"):
        trainer.train(merge(of(pairs), given), tmp_path / "run")
    with pytest.raises(RecipeError, match="positions=rotary act inside self-attention"):
        trainer.train(
            merge(of(pairs), {"model": {"architecture": "recurrent", "positions": "rotary"}}), tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def spoil(folder: Path) -> None:
    """One flipped bit in the weights."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_passed_over_and_told(pairs: Path, tmp_path: Path) -> None:
    trainer.train(of(pairs), tmp_path / "whole")
    with pytest.raises(Interrupted):
        trainer.train(of(pairs), tmp_path / "parts", stop_after(9))
    spoil(list_checkpoints(tmp_path / "parts")[-1])
    told: list[dict[str, object]] = []
    trainer.resume(tmp_path / "parts", Listener(tell=told.append))
    assert "model.safetensors: expected SHA-256" in str(told[0]["text"])
    assert told[1]["text"] == "goes on after step 8"
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")
    assert state_of(tmp_path / "parts")[-1][0].keys() == state_of(tmp_path / "whole")[-1][0].keys()


def test_where_every_checkpoint_is_damaged_nothing_is_begun_anew(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trainer.train(of(pairs), tmp_path / "run", stop_after(9))
    for folder in list_checkpoints(tmp_path / "run"):
        spoil(folder)
    with pytest.raises(ModelFolderError, match="no checkpoint loads"):
        trainer.resume(tmp_path / "run")


def test_a_run_goes_on_with_its_own_pairs_and_its_own_recipe(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        trainer.train(of(pairs), run, stop_after(5))
    lines = pairs.read_text(encoding="utf-8")
    pairs.write_text(lines + "zz\tz z\n", encoding="utf-8")
    with pytest.raises(UsageError, match="training pairs are not those"):
        trainer.resume(run)
    pairs.write_text(lines, encoding="utf-8")
    recipe = (run / "recipe.toml").read_text(encoding="utf-8")
    (run / "recipe.toml").write_text(recipe.replace("steps = 12", "steps = 13"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"recipe\.toml: is not the one this run began with"):
        trainer.resume(run)
    (run / "recipe.toml").write_text(recipe, encoding="utf-8")
    (run / "tokenizer/source.tokenizer.json").unlink()  # the checkpoint has it
    trainer.resume(run)
    assert Translator.load(run)


def test_a_run_in_use_is_not_resumed(pairs: Path, tmp_path: Path) -> None:
    def meddle(event: dict[str, object]) -> None:
        if event["event"] == "checkpoint":
            with pytest.raises(UsageError, match="process"):
                trainer.resume(tmp_path / "run")

    trainer.train(of(pairs), tmp_path / "run", Listener(tell=meddle))
    assert (tmp_path / "run/MANIFEST.json").exists()


def test_a_dry_run_tells_and_writes_nothing(pairs: Path, tmp_path: Path) -> None:
    told: list[dict[str, object]] = []
    trainer.train(of(pairs), tmp_path / "run", Listener(tell=told.append), dry_run=True)
    assert [event["event"] for event in told] == ["recipe", "data", "forecast"]
    forecast = told[-1]
    assert forecast["steps"] == 12
    assert not (tmp_path / "run").exists()
    trainer.train(of(pairs), tmp_path / "run")
    steps = [event for event in Journal(tmp_path / "run").read() if event["event"] == "step"]
    assert steps  # and what was foretold is what is there
    checkpoint = list_checkpoints(tmp_path / "run")[-1]
    sizes = [(checkpoint / name).stat().st_size for name in ("model.safetensors", "training.safetensors")]
    assert forecast["checkpoint_bytes"] == pytest.approx(sum(sizes), rel=0.35)  # names weigh much beside tiny tensors


def test_a_disk_without_room_is_told_before_the_start(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match=r"bytes needed for the checkpoints of a run, 1,000 free"):
        trainer.train(of(pairs), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_step_without_a_number_keeps_its_pairs_for_inspection(pairs: Path, tmp_path: Path) -> None:
    told: list[dict[str, object]] = []
    settings = merge(of(pairs), {"training": {"learning_rate": 1e30, "clip": None, "optimiser": "adam", "strikes": 2}})
    with pytest.raises(TrainingError, match="2 in a row"):
        trainer.train(settings, tmp_path / "run", Listener(tell=told.append))
    skipped = [event for event in told if event["event"] == "skipped"]
    assert len(skipped) == 2
    files = sorted((tmp_path / "run/skipped").iterdir())
    assert [int(file.stem) for file in files] == [event["step"] for event in skipped]
    kept = {line.split("\t")[0] for file in files for line in file.read_text(encoding="utf-8").split("\n") if line}
    assert kept <= {line.split("\t")[0] for line in pairs.read_text(encoding="utf-8").split("\n")}
    assert all(str(file) in str(event["text"]) for file, event in zip(files, skipped, strict=True))


def test_the_budget_is_fitted_to_memory_unless_it_is_given(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.trainer.setup.free_bytes", lambda device: 2_000_000)
    settings = merge(of(pairs), {"data": {}})
    del settings["data"]["tokens_per_batch"]
    told: list[dict[str, object]] = []
    trainer.train(settings, tmp_path / "fitted", Listener(tell=told.append))
    recipe = read_recipe(tmp_path / "fitted")
    assert recipe.data.tokens_per_batch < 4000
    journal = (tmp_path / "fitted/metrics.jsonl").read_text(encoding="utf-8")
    assert "tokens would not fit into" in journal
    trainer.train(of(pairs), tmp_path / "given")
    assert read_recipe(tmp_path / "given").data.tokens_per_batch == 150


def test_settings_of_the_step_resume_too(pairs: Path, tmp_path: Path) -> None:
    changes = {"ema": 0.8, "recompute": True, "precision": "bfloat16", "accumulate": 2}
    settings = merge(of(pairs), {"training": changes})
    trainer.train(settings, tmp_path / "whole")
    with pytest.raises(Interrupted):
        trainer.train(settings, tmp_path / "parts", stop_after(5))
    trainer.resume(tmp_path / "parts")
    one, two = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == two.read_bytes()
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")
