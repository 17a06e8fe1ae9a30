"""Killed at any moment and resumed, a run ends in the same bits as one that nothing happened to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import killing
import pytest

from regard.training.checkpoint import newest_good


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 words with their letters in reverse, as symbols."""
    words = [f"{a}{b}{c}" for a in "abcd" for b in "efghi" for c in "jkl"]
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    path.write_text("".join(f"{word}\t{' '.join(reversed(word))}\n" for word in words), encoding="utf-8")
    return path


def results(run: Path) -> dict[str, object]:
    """All that must be the same, by file."""
    found: dict[str, object] = {
        name: (run / name).read_bytes() for name in ("recipe.toml", "model.safetensors", "metrics.jsonl")
    }
    for folder in (run / "checkpoints").iterdir():
        for path in folder.rglob("*"):
            name = path.relative_to(run).as_posix()
            if path.name == "state.json":
                content = json.loads(path.read_bytes())
                del content["state"]["seconds"], content["state"]["aside"]
                found[name] = content
            elif path.is_file() and path.name != "MANIFEST.json":  # that holds the hash of state.json
                found[name] = path.read_bytes()
    return found


def told(*arguments: object) -> list[dict[str, Any]]:
    command = [sys.executable, killing.__file__, *map(str, arguments)]
    # One thread in each library: forks must find no lock that a thread of their parent held.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.split("\n") if line]


@pytest.mark.parametrize("runs", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_unbroken_bit_for_bit(runs: int, pairs: Path, tmp_path: Path) -> None:
    killed = told(pairs, tmp_path, runs, runs)
    whole = results(tmp_path / "whole" / "run")
    assert b'"best": false' in (tmp_path / "whole" / "run" / "metrics.jsonl").read_bytes()
    assert len(killed) == runs
    assert sum(str(run["kills"]).startswith("['call") for run in killed) >= runs // 3
    for run in killed:
        found = results(tmp_path / str(run["folder"]) / "run")
        assert found.keys() == whole.keys(), run
        assert [name for name in whole if found[name] != whole[name]] == [], run


@pytest.mark.slow  # the first signal alone: tests/cli/test_commands.py
def test_signals_of_which_the_second_does_not_wait(pairs: Path, tmp_path: Path) -> None:
    [found] = told(pairs, tmp_path, "signals")
    assert found["codes"] == [130, 130]
    first, second = found["told"]
    assert first.endswith(f"stopped and saved; go on with: regard train --resume {tmp_path / 'run'}\n")
    assert second.endswith("saving; once more to stop at once\n")  # it did not save: that would never have ended
    assert "Traceback" not in first + second
    assert found["before"] == found["after"]
    loaded, faults = newest_good(tmp_path / "run")
    assert loaded
    assert (f"{loaded.step:08d}", faults) == (found["before"][-1], [])
