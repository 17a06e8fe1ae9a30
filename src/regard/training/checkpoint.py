"""Checkpoints: all that training needs to go on with equal bits, in a folder that is also a model folder.

run/checkpoints/00000500/  model.safetensors  training.safetensors  state.json  (recipe, tokenizer)  MANIFEST.json
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor

from regard.errors import ModelFolderError, TrainingError
from regard.folder import MANIFEST, clear, new_folder, recover, remove_folder, rename_folder, verify, write_new
from regard.models.weights import not_finite, read_weights, save_weights

if TYPE_CHECKING:
    JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
else:
    JSON = object  # a type within itself is more than checkers at run time follow

WEIGHTS, OPTIMISER, STATE = "model.safetensors", "training.safetensors", "state.json"
BROKEN = ".broken"  # 00000500.broken: a checkpoint that did not load


@dataclass(frozen=True)
class Checkpoint:
    """Training after `step` updates: weights, the optimiser's tensors, and everything else as plain JSON values."""

    step: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, JSON] = field(default_factory=dict)


def save_checkpoint(run: Path, checkpoint: Checkpoint, model_files: Mapping[str, bytes]) -> Path:
    """Writes `run/checkpoints/<step>` with `model_files` (recipe, tokenizer) beside, and returns it.

    All or nothing: StorageError leaves every earlier checkpoint as it was. Raises TrainingError for weights that are
    not numbers, for such a checkpoint would replace good ones; ValueError for a state that JSON would not give back.
    """
    if broken := not_finite(checkpoint.weights):
        raise TrainingError(f"not saved: {len(broken)} tensors hold a NaN or an infinity, the first is {broken[0]}")
    contents = {
        **model_files,
        WEIGHTS: save_weights(checkpoint.weights),
        OPTIMISER: save_weights(checkpoint.optimiser),
        STATE: _state_text(checkpoint).encode(),
    }
    final = _folder(run) / f"{checkpoint.step:08d}"
    if final.is_dir() and not (final / MANIFEST).is_file():
        remove_folder(final)  # lost its manifest: no checkpoint any more
    new_folder(final, lambda folder: _write_all(folder, contents), needed=sum(map(len, contents.values())))
    return final


def load_checkpoint(folder: Path) -> Checkpoint:
    """Verifies a checkpoint and reads it. Tensors are on the CPU, in memory of their own. Raises ModelFolderError."""
    verify(folder, required=(WEIGHTS, OPTIMISER, STATE))
    step, state = _parse_state(folder / STATE)
    return Checkpoint(step, read_weights(folder / WEIGHTS), read_weights(folder / OPTIMISER), state)


def newest_good(run: Path) -> tuple[Checkpoint | None, list[ModelFolderError]]:
    """The newest checkpoint that loads (None if there is no checkpoint at all), and the faults of the newer ones.

    Those get names that end in `.broken`: no longer checkpoints, so they count for nothing and block nothing;
    `prune_checkpoints` deletes them when training has come as far again. If none loads, all stay as they are and
    one ModelFolderError names the faults of all, for to start anew is for the user to decide. Whoever calls this is
    the only one to write: half folders that a dead process left are deleted.
    """
    if _folder(run).is_dir():
        clear(_folder(run))
    faults: dict[Path, ModelFolderError] = {}
    for folder in sorted(filter(_is_step, _folder(run).glob("*")), key=lambda path: int(path.name), reverse=True):
        try:
            loaded = load_checkpoint(folder)
        except ModelFolderError as error:
            faults[folder] = error
            continue
        for broken in faults:
            rename_folder(broken, broken.name + BROKEN)
        return loaded, list(faults.values())
    if faults:
        message = "\n  ".join(f"{folder.name}: {error.message}" for folder, error in faults.items())
        fix = "put a good copy of one of them back, or train anew in another folder"
        raise ModelFolderError(f"no checkpoint loads\n  {message}", where=str(_folder(run)), fix=fix)
    return None, []


def latest_checkpoint(run: Path) -> Path | None:
    """The complete checkpoint of the highest step. It is not verified here: `load_checkpoint` does that."""
    return next(reversed(list_checkpoints(run)), None)


def list_checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run, ascending by step."""
    recover(_folder(run))
    return sorted(filter(_is_checkpoint, _folder(run).glob("*")), key=lambda path: int(path.name))


def prune_checkpoints(run: Path, keep: Collection[int]) -> None:
    """Deletes all checkpoints but the newest and the steps to keep, with which there is one to fall back on.

    Broken ones of steps that are reached again go too. The newest must verify first (ModelFolderError).
    """
    checkpoints = list_checkpoints(run)
    doomed = [path for path in checkpoints[:-1] if int(path.name) not in keep]
    for broken in _folder(run).glob(f"*{BROKEN}"):
        if checkpoints and _is_step(broken.with_suffix("")) and int(broken.stem) <= int(checkpoints[-1].name):
            doomed.append(broken)
    if doomed:
        verify(checkpoints[-1], required=(WEIGHTS, OPTIMISER, STATE))
    for path in doomed:
        remove_folder(path)


def _folder(run: Path) -> Path:
    return run / "checkpoints"


def _is_checkpoint(path: Path) -> bool:
    return _is_step(path) and (path / MANIFEST).is_file()


def _is_step(path: Path) -> bool:
    """Whether it is named as a checkpoint, be it one or not."""
    name = path.name
    return name.isascii() and name.isdigit() and name == f"{int(name):08d}" and not path.is_symlink()


def _write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_new(folder / name, content)


def _state_text(checkpoint: Checkpoint) -> str:
    content = {"step": checkpoint.step, "state": checkpoint.state}
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    if json.loads(text) != content:  # tuples, keys that are numbers
        raise ValueError("the state of a checkpoint must be plain JSON values, for it comes back as such")
    return text


def _parse_state(path: Path) -> tuple[int, dict[str, JSON]]:
    try:
        content = json.loads(path.read_text("utf-8"), parse_constant=_finite, parse_float=_finite)
        if set(content) != {"step", "state"} or type(content["step"]) is not int or type(content["state"]) is not dict:
            raise ValueError("not a step and a state")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        message = f"expected the state of a training run, found a fault: {error}"
        raise ModelFolderError(message, where=str(path), fix="use an earlier checkpoint") from error
    return content["step"], content["state"]


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number")
    return number
