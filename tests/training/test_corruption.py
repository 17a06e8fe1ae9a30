"""Bytes that changed on the disk: each is found on load and named, and training goes back to the checkpoint before."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regard import trainer
from regard.cli import run as command
from regard.errors import ModelFolderError
from regard.folder import MANIFEST, seal, write_file
from regard.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    newest_good,
    prune_checkpoints,
    save_checkpoint,
)
from regard.translator import Translator
from small import saved, untrained

TINY = {
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32},
    "training": {"steps": 4, "checkpoint_every": 2, "average": 2, "warmup": 2, "valid_pairs": 10},
    "data": {"task": "reverse", "task_pairs": 40, "tokens_per_batch": 150},
}
NAMED = re.compile(r"^(\S+): expected .+, found .+", re.MULTILINE)


OTHERS = {"README.md": b"# run\n" * 90, "metrics.jsonl": b'{"event": "end"}\n' * 90, "curve.svg": bytes(range(256)) * 9}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run as training leaves it, and a checkpoint, without the time that training takes."""
    run, translator = tmp_path_factory.mktemp("run"), untrained()
    saved(run, translator)
    model_files = {"recipe.toml": (run / "recipe.toml").read_bytes(), **translator.tokenizers.files()}
    for name, content in OTHERS.items():
        write_file(run / name, content)
    seal(run, [*model_files, "model.safetensors", *OTHERS])
    weights = translator.model.state_dict()
    save_checkpoint(run, Checkpoint(4, weights, weights, {"seconds": 1.5}), model_files)
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained."""
    run = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGARD_CACHE", str(run.parent / "cache"))
        trainer.train(TINY, run)
    return run


def files_of(folder: Path) -> list[Path]:
    listed = json.loads((folder / MANIFEST).read_bytes())["files"]
    return [folder / name for name in [*listed, MANIFEST]]


def altered(content: bytes, dice: random.Random) -> bytes:
    """A bit flipped, or cut somewhere; one in three is a cut."""
    place = dice.randrange(len(content))
    if dice.random() < 1 / 3:
        return content[:place]
    flipped = bytearray(content)
    flipped[place] ^= 1 << dice.randrange(8)
    return bytes(flipped)


def fault_of(load: Callable[[Path], object], folder: Path) -> ModelFolderError:
    with pytest.raises(ModelFolderError) as caught:
        load(folder)
    return caught.value


def count_found(load: Callable[[Path], object], folder: Path, places: int, seed: int) -> int:
    """Alters the folder at so many random places, one after another, and loads it each time."""
    dice, found = random.Random(seed), 0
    contents = {path: path.read_bytes() for path in files_of(folder)}
    for _ in range(places):
        path = dice.choice(list(contents))
        bad = altered(contents[path], dice)
        path.unlink()  # and written anew: cheaper than truncating, on a disk that then syncs
        path.write_bytes(bad)
        error = fault_of(load, folder)
        named = set(NAMED.findall(error.message.replace("\n  ", "\n")))
        # A manifest with another name or hash in it is found by the file that no longer is as it says.
        assert error.where == str(folder)
        assert named == {path.relative_to(folder).as_posix()} or (path.name == MANIFEST and named)
        path.write_bytes(contents[path])
        found += 1
    load(folder)
    return found


def test_a_flipped_bit_or_a_cut_anywhere_is_found_and_named(finished: Path) -> None:
    [checkpoint] = list_checkpoints(finished)
    assert len(files_of(checkpoint)) == len(files_of(finished)) - 1 == 7
    assert count_found(load_checkpoint, checkpoint, 60, seed=1) == 60
    assert count_found(Translator.load, finished, 60, seed=2) == 60


@pytest.mark.slow
def test_a_thousand_faults_in_a_run_that_was_trained(trained: Path) -> None:
    names = {path.name for path in files_of(trained)}
    assert names >= {"recipe.toml", "model.safetensors", "README.md", "metrics.jsonl", "curve.svg", MANIFEST}
    assert count_found(load_checkpoint, list_checkpoints(trained)[-1], 500, seed=3) == 500
    assert count_found(Translator.load, trained, 500, seed=4) == 500


def test_the_command_says_it_too(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["verify", str(finished)]) == 0
    path = finished / "README.md"
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert command(["verify", str(finished)]) == 2
    path.write_bytes(content)
    size = len(content)
    assert f"README.md: expected {size:,} bytes, found {size - 3:,}" in capsys.readouterr().err


# Going back.


def save(run: Path, *steps: int) -> list[Path]:
    return [
        save_checkpoint(run, Checkpoint(step, {"w": torch.full((9,), float(step))}, {}, {"step": step}), {"x": b"1"})
        for step in steps
    ]


def cut(folder: Path) -> None:
    with open(folder / "model.safetensors", "r+b") as file:
        file.truncate(50)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_no_checkpoints_at_all(tmp_path: Path) -> None:
    assert newest_good(tmp_path) == (None, [])
    (tmp_path / "checkpoints").mkdir()
    assert newest_good(tmp_path) == (None, [])


def test_the_newest_if_it_loads(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    loaded, faults = newest_good(tmp_path)
    assert loaded
    assert (loaded.step, loaded.state, faults) == (3, {"step": 3}, [])
    assert torch.equal(loaded.weights["w"], torch.full((9,), 3.0))
    assert names(tmp_path) == ["00000001", "00000002", "00000003"]


def test_the_one_before_if_it_does_not_and_the_faults_are_named(tmp_path: Path) -> None:
    _, _, third, fourth = save(tmp_path, 1, 2, 3, 4)
    cut(third)
    (fourth / MANIFEST).unlink()  # no checkpoint any more, but not to be passed over in silence
    loaded, faults = newest_good(tmp_path)
    assert loaded
    assert loaded.step == 2
    assert [fault.where for fault in faults] == [str(fourth), str(third)]
    assert re.search(r"MANIFEST\.json: .*never finished", faults[0].message)
    assert re.search(r"model\.safetensors: expected \d+ bytes, found 50", faults[1].message)


def test_broken_ones_block_nothing_and_go_when_training_has_come_as_far_again(tmp_path: Path) -> None:
    *_, third, fourth = save(tmp_path, 1, 2, 3, 4)
    cut(third)
    cut(fourth)
    newest_good(tmp_path)
    assert names(tmp_path) == ["00000001", "00000002", "00000003.broken", "00000004.broken"]
    assert newest_good(tmp_path)[1] == []  # told once
    prune_checkpoints(tmp_path, keep=[1])
    assert names(tmp_path) == ["00000001", "00000002", "00000003.broken", "00000004.broken"]
    save(tmp_path, 3)
    prune_checkpoints(tmp_path, keep=[2])
    assert names(tmp_path) == ["00000002", "00000003", "00000004.broken"]
    save(tmp_path, 4)
    prune_checkpoints(tmp_path, keep=[3])
    assert names(tmp_path) == ["00000003", "00000004"]


def test_broken_again_before_it_went(tmp_path: Path) -> None:
    for _ in range(2):
        cut(save(tmp_path, 1, 2)[-1])
        newest_good(tmp_path)
        assert names(tmp_path) == ["00000001", "00000002.broken"]


def test_if_all_are_broken_nothing_starts_anew(tmp_path: Path) -> None:
    for folder in save(tmp_path, 1, 2):
        cut(folder)
    for _ in range(2):
        with pytest.raises(ModelFolderError, match=r"no checkpoint loads\s+00000002: .*50\s+00000001: .*50"):
            newest_good(tmp_path)
    assert names(tmp_path) == ["00000001", "00000002"]  # a good copy may yet be put back
