"""Checkpoints: what goes in comes out bit for bit; whatever fails, an earlier one stays good."""

from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import ModelFolderError, StorageError, TrainingError
from regard.folder import MANIFEST, seal, verify
from regard.training.checkpoint import (
    JSON,
    Checkpoint,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)

MODEL_FILES = {"recipe.toml": b"[model]\n", "tokenizer/source.tokenizer.json": b"{}"}


def checkpoint(step: int = 500, seed: int = 0) -> Checkpoint:
    """Weights with a tie, an optimiser whose tensors share a storage, a state with hard floats."""
    draw = torch.Generator().manual_seed(seed)
    embed = torch.randn(5, 3, generator=draw)
    moments = torch.randn(2, 5, 3, generator=draw)
    count = torch.tensor(float(step))
    return Checkpoint(
        step=step,
        weights={"embed.weight": embed, "out.weight": embed, "norm": torch.randn(3, generator=draw)},
        optimiser={
            "embed.weight.exp_avg": moments[0],
            "embed.weight.exp_avg_sq": moments[1],
            "embed.weight.step": count,
            "norm.step": count,
            "random": torch.randint(256, (5056,), dtype=torch.uint8, generator=draw),
        },
        state={"epoch": 3, "loss": 0.1 + 0.2, "tiny": 5e-324, "zero": -0.0, "best": None, "losses": [1e308, 1 / 3]},
    )


def assert_equal(one: Checkpoint, other: Checkpoint) -> None:
    assert (one.step, json.dumps(one.state, sort_keys=True)) == (other.step, json.dumps(other.state, sort_keys=True))
    for left, right in ((one.weights, other.weights), (one.optimiser, other.optimiser)):
        assert left.keys() == right.keys()
        assert all(left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left)


def save(run: Path, *steps: int) -> list[Path]:
    return [save_checkpoint(run, checkpoint(step), MODEL_FILES) for step in steps]


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_round_trip(tmp_path: Path) -> None:
    (folder,) = save(tmp_path, 500)
    assert folder == tmp_path / "checkpoints" / "00000500"
    loaded = load_checkpoint(folder)
    assert_equal(loaded, checkpoint(500))
    again = save_checkpoint(tmp_path / "again", loaded, MODEL_FILES)
    assert (again / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()


def test_the_files_of_the_model_stand_beside(tmp_path: Path) -> None:
    (folder,) = save(tmp_path, 1)
    ours = {"model.safetensors", "training.safetensors", "state.json"}
    assert json.loads((folder / MANIFEST).read_bytes())["files"].keys() == ours | MODEL_FILES.keys()
    assert all((folder / name).read_bytes() == content for name, content in MODEL_FILES.items())


def test_loaded_tensors_outlive_the_files(tmp_path: Path) -> None:
    (folder,) = save(tmp_path, 1)
    loaded = load_checkpoint(folder)
    for path in folder.glob("*.safetensors"):
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
    assert_equal(loaded, checkpoint(1))


def test_list_is_ascending_and_only_of_complete_ones(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path) == []
    assert latest_checkpoint(tmp_path) is None
    folders = save(tmp_path, 99_999_999, 100_000_000, 1000)
    unfinished = tmp_path / "checkpoints" / "00002000"
    unfinished.mkdir()
    for name in ("best", "500", "-0000001", "٠٠٠٠٠٥٠٠", ".regard-partial-1"):  # the fifth: Arabic digits
        (tmp_path / "checkpoints" / name).mkdir()
        (tmp_path / "checkpoints" / name / MANIFEST).write_bytes(b"{}")
    (tmp_path / "checkpoints" / "00003000").symlink_to(folders[0])
    assert list_checkpoints(tmp_path) == [folders[2], folders[0], folders[1]]
    assert latest_checkpoint(tmp_path) == folders[1]
    save(tmp_path, 2000)  # the one without a manifest is replaced, the leftover cleared
    assert load_checkpoint(unfinished).step == 2000
    assert ".regard-partial-1" not in names(tmp_path)


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 500)
    save_checkpoint(tmp_path, checkpoint(500, seed=1), {})
    assert names(tmp_path) == ["00000500"]
    assert_equal(load_checkpoint(tmp_path / "checkpoints" / "00000500"), checkpoint(500, seed=1))


def test_a_checkpoint_caught_between_two_renames_comes_back(tmp_path: Path) -> None:
    (folder,) = save(tmp_path, 500)
    folder.rename(folder.with_name(f".regard-aside-{folder.name}"))
    assert latest_checkpoint(tmp_path) == folder
    assert_equal(load_checkpoint(folder), checkpoint(500))


def test_prune_keeps_what_it_is_told_and_the_newest(tmp_path: Path) -> None:
    prune_checkpoints(tmp_path, keep=[])
    save(tmp_path, 1, 2, 3, 4, 5)
    prune_checkpoints(tmp_path, keep={2, 9})
    assert names(tmp_path) == ["00000002", "00000005"]
    prune_checkpoints(tmp_path, keep=[])
    assert names(tmp_path) == ["00000005"]


def test_prune_deletes_nothing_if_the_newest_is_broken(tmp_path: Path) -> None:
    *_, newest = save(tmp_path, 1, 2, 3)
    (newest / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        prune_checkpoints(tmp_path, keep=[3])
    assert names(tmp_path) == ["00000001", "00000002", "00000003"]


def test_altered_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    (folder,) = save(tmp_path, 500)
    dice = random.Random(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for _ in range(40):
            altered = bytearray(content)
            altered[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
            for bad in (bytes(altered), content[: dice.randrange(len(content))]):
                path.unlink()  # and written anew: cheaper than truncating, on a disk that then syncs
                path.write_bytes(bad)
                with pytest.raises(ModelFolderError) as caught:
                    load_checkpoint(folder)
                name = path.relative_to(folder).as_posix()
                assert name in caught.value.message or name == MANIFEST  # a name altered in it is a missing file
        path.write_bytes(content)
    assert_equal(load_checkpoint(folder), checkpoint(500))


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "state.json"])
def test_a_manifest_that_leaves_a_file_out_is_refused(tmp_path: Path, name: str) -> None:
    """Otherwise that file would be read unchecked."""
    (folder,) = save(tmp_path, 1)
    kept = {"model.safetensors", "training.safetensors", "state.json"} - {name}
    seal(folder, sorted(kept))
    verify(folder)
    with pytest.raises(ModelFolderError, match=name):
        load_checkpoint(folder)


BAD_STATES = {
    "not JSON": b"step 500",
    "a list": b"[]",
    "no step": b'{"state": {}}',
    "step is true": b'{"state": {}, "step": true}',
    "state is a list": b'{"state": [], "step": 1}',
    "more": b'{"more": 0, "state": {}, "step": 1}',
    "NaN": b'{"state": {"loss": NaN}, "step": 1}',
    "Infinity": b'{"state": {"loss": -Infinity}, "step": 1}',
    "too large a number": b'{"state": {"loss": 1e999}, "step": 1}',
    "deep": b"[" * 100_000,
    "not UTF-8": b"\xff",
}


@pytest.mark.parametrize("content", BAD_STATES.values(), ids=BAD_STATES)
def test_bad_states(tmp_path: Path, content: bytes) -> None:
    """Sealed, so the hash is right."""
    (folder,) = save(tmp_path, 1)
    (folder / "state.json").write_bytes(content)
    seal(folder, ["model.safetensors", "training.safetensors", "state.json"])
    with pytest.raises(ModelFolderError) as caught:
        load_checkpoint(folder)
    assert caught.value.where == str(folder / "state.json")


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_any_state_comes_back(tmp_path_factory: pytest.TempPathFactory, state: dict[str, JSON]) -> None:
    run = tmp_path_factory.getbasetemp() / "any_state"
    with mock.patch.object(os, "fsync"):  # this is not about disks
        folder = save_checkpoint(run, Checkpoint(1, {}, {}, state), {})
    loaded = load_checkpoint(folder).state
    assert loaded == state
    assert json.dumps(loaded, sort_keys=True) == json.dumps(state, sort_keys=True)  # tells -0.0 from 0, 1 from true


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")], (1, 2), {1: 2}])
def test_states_that_would_not_come_back_are_not_saved(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, Checkpoint(1, {}, {}, {"value": value}), {})
    assert list_checkpoints(tmp_path) == []


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the first is bad"):
        save_checkpoint(tmp_path, Checkpoint(1, {"bad": torch.tensor([float("nan")])}, {}, {}), {})
    assert list_checkpoints(tmp_path) == []


def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = save(tmp_path, 1, 2)
    total = sum(path.stat().st_size for path in first.rglob("*") if path.is_file())
    needed = total - (first / MANIFEST).stat().st_size
    write = os.write
    for step in (3, 2):  # a new one, and one that is there already
        for room in [*range(0, total - 1, total // 30), total - 1]:
            left = [room]

            def full(handle: int, content: bytes, left: list[int] = left) -> int:
                if not left[0]:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                written = write(handle, bytes(content)[: left[0]])
                left[0] -= written
                return written

            with monkeypatch.context() as patch:
                patch.setattr(os, "write", full)
                with pytest.raises(
                    StorageError, match=f"No space left on device; {needed:,} bytes needed, [0-9,]+ free"
                ) as caught:
                    save_checkpoint(tmp_path, checkpoint(step), MODEL_FILES)
            assert caught.value.where == str(tmp_path / "checkpoints" / f"{step:08d}")
            assert names(tmp_path) == ["00000001", "00000002"]
    for folder in (first, second):
        assert_equal(load_checkpoint(folder), checkpoint(int(folder.name)))
