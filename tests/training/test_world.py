"""Several processes train what one trains: the same losses, the same choices, the same pairs; each fault is named."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regard import trainer
from regard.config import merge
from regard.training.checkpoint import list_checkpoints, load_checkpoint
from regard.training.world import World

SCRIPT = Path(__file__).with_name("together.py")
TINY: dict[str, Any] = {
    "data": {"task": "reverse", "task_pairs": 101, "tokens_per_batch": 150},
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.2, "attention_dropout": 0.1},
    "training": {"steps": 9, "checkpoint_every": 3, "average": 2, "warmup": 2, "valid_pairs": 20},
    "decoding": {"beam": 2},
}


def together(count: int, jobs: list[tuple[dict[str, Any], Path]], **more: str) -> list[tuple[int, str]]:
    """Exit code and last words of each of `count` processes; `more1` is a variable of process 1 alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listed = json.dumps([(settings, str(run)) for settings, run in jobs])
    started = []
    for rank in range(count):
        own = {key.removesuffix("1"): value for key, value in more.items() if not key.endswith("1") or rank == 1}
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "JAXTYPING_DISABLE": "1"}
        command = [sys.executable, str(SCRIPT), listed]
        started.append(
            subprocess.Popen(command, env={**os.environ, **place, **meet, **own}, stderr=subprocess.PIPE, text=True)
        )
    try:
        words = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, said) for process, said in zip(started, words, strict=True)]


def numbers(run: Path, kind: str) -> list[dict[str, float]]:
    """Of the events of a kind."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    events = [event for event in map(json.loads, filter(None, lines)) if event["event"] == kind]
    return [{key: value for key, value in event.items() if not isinstance(value, str)} for event in events]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))


VARIANTS: dict[str, dict[str, Any]] = {
    "copies, accumulated": {"training": {"accumulate": 2}},
    "shares, averaged": {"training": {"shard": True, "ema": 0.5}},
    "shares, muon": {"training": {"optimiser": "muon", "shard": True}},  # of three processes and more
}


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_several_processes_train_what_one_trains(count: int, tmp_path: Path) -> None:
    variants = list(VARIANTS.items())[: 2 if count == 2 else None]
    jobs = [(merge(TINY, variant), tmp_path / name) for name, variant in variants]
    ended = together(count, jobs)
    assert [code for code, _ in ended] == [0] * count, ended
    for settings, run in jobs:
        alone = tmp_path / "alone" / run.name
        trainer.train(settings, alone)
        near = 1e-4 if "muon" in run.name else 1e-5  # Muon turns matrices in bfloat16
        for kind in ("step", "checkpoint", "end"):
            for ours, theirs in zip(numbers(run, kind), numbers(alone, kind), strict=True):
                assert ours == pytest.approx(theirs, rel=near), (run.name, kind)
        # Weights are close too, but for some: a key's bias has a gradient of rounding alone, which Adam blows up.
        for mine, other in zip(list_checkpoints(run), list_checkpoints(alone), strict=True):
            one, two = load_checkpoint(mine), load_checkpoint(other)
            assert one.step == two.step
            assert one.weights.keys() == two.weights.keys()
            assert one.optimiser.keys() == two.optimiser.keys()


def test_several_processes_begin_with_the_same_weights(tmp_path: Path) -> None:
    """Each holds its share of them; steps that change no bit give all of them back."""
    old, new = tmp_path / "old", tmp_path / "new"
    trainer.train(TINY, old)
    frozen = {"begin_with": str(old), "learning_rate": 1e-30, "optimiser": "adamw", "shard": True}
    ended = together(2, [(merge(TINY, {"training": frozen}), new)])
    assert [code for code, _ in ended] == [0, 0], ended
    assert (new / "model.safetensors").read_bytes() == (old / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_one_is_killed_all_stop_and_a_resume_goes_on_in_any_number(tmp_path: Path) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    ended = together(2, [(TINY, run)], STOP1="kill", STEP1="5")  # after the checkpoint of step 3
    assert ended[1][0] == -9
    assert ended[0][0] == 2
    assert "another process is gone" in ended[0][1]
    assert not (run / "MANIFEST.json").exists()
    ended = together(2, [(TINY, run)], STOP1="ask", STEP1="2")
    assert [code for code, _ in ended] == [0, 0], ended
    assert "interrupted" in ended[0][1]
    trainer.resume(run)  # in one process
    trainer.train(TINY, alone)
    for ours, theirs in zip(numbers(run, "checkpoint"), numbers(alone, "checkpoint"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    told = (run / "machine.jsonl").read_text(encoding="utf-8")
    assert "with 1 processes instead of 2" in told


@pytest.mark.slow
def test_torchrun_starts_anew_and_the_run_goes_on(tmp_path: Path) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=1"]
    job = json.dumps([(TINY, str(run))])
    again = {"STOP": "kill", "STEP": "5", "OMP_NUM_THREADS": "1"}  # after the checkpoint of step 3
    done = subprocess.run(
        [*torchrun, str(SCRIPT), job], env={**os.environ, **again}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "goes on after step 3" in (run / "machine.jsonl").read_text(encoding="utf-8")
    trainer.train(TINY, alone)
    for ours, theirs in zip(numbers(run, "checkpoint"), numbers(alone, "checkpoint"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.slow
def test_what_the_processes_cannot_do_together_is_named(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{n}\t{n} {n}\n" for n in range(40)), encoding="utf-8")
    for changes, words in (
        ({"data": {"tokens_per_batch": 4}}, "processes cannot share a batch"),
        ({"model": {"norm": "batch"}}, "this norm keeps statistics"),
        ({"model": {"heads": 3}}, "Input should divide model.size"),
    ):
        ended = together(2, [(merge(TINY, changes), tmp_path / "run")])
        assert all(code == 2 for code, _ in ended), ended
        assert words in ended[0][1]
        assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 7, 64])
def test_rows_are_shared_out_without_loss(size: int, count: int) -> None:
    shares = [range(count)[World(rank, size).rows(count)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.slow
def test_processes_with_another_version_or_other_pairs_are_named(tmp_path: Path) -> None:
    ended = together(2, [(TINY, tmp_path / "run")], STOP1="differ")
    assert [code for code, _ in ended] == [2, 2], ended
    for rank, (_, said) in enumerate(ended):
        assert "all processes need the same version of regard" in said
        assert "others than process 0 have processes 1" in said
        assert f"this is process {rank}" in said
    assert not (tmp_path / "run").exists()
