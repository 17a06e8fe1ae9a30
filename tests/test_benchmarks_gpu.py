"""benchmarks/gpu.py at toy size on a CPU: what it counts, and that all of it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    yield gpu
    for name in [name for name in sys.modules if name.split(".")[0] in {"peers", "gpu"}]:
        del sys.modules[name]


def run(gpu: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, list[dict]]:
    """What it writes."""
    short = ["--steps", "2", "--rounds", "1", "--json", str(folder / "found.json")]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--toy", "--device", "cpu", *short, *options])
    gpu.main()
    found: dict[str, list[dict]] = json.loads((folder / "found.json").read_text())
    return found


def test_operations_are_those_that_torch_counts(gpu: ModuleType) -> None:
    from peers.steps import Case, operations

    shape = gpu.Shape("any", 16, 2, 48, 3, 50)
    assert gpu.operations(shape, [5] * 8, [7] * 8) == operations(Case(shape, 8, 5, 7))


def test_operations_of_the_paper_s_models(gpu: ModuleType) -> None:
    """GFLOP for a source token and its target token, in sentences of 30."""
    each = {name: gpu.operations(shape, [30], [30]) / 30 / 1e9 for name, shape in gpu.PAPER.shapes.items()}
    assert each == {"base": pytest.approx(0.381, abs=5e-4), "big": pytest.approx(1.291, abs=5e-4)}


def test_a_step_of_the_paper_has_25000_tokens_a_side_and_its_parts_are_all_of_it(gpu: ModuleType) -> None:
    batch = gpu.drawn_batch(gpu.PAPER.shapes["base"], gpu.TOKENS, 0)
    assert int(batch.source.lengths.sum()) == pytest.approx(25000, rel=0.01)
    assert batch.real_targets == pytest.approx(25000, rel=0.01)
    ends = batch.target.ids.gather(1, batch.target.lengths[:, None] - 1)
    assert set(ends.flatten().tolist()) == {gpu.EOS}
    assert sum(part.real_targets for part in gpu.in_parts(batch, 7)) == batch.real_targets


def test_hours_and_mfu_follow_from_the_time_of_a_step(gpu: ModuleType) -> None:
    shape = gpu.PAPER.shapes["base"]
    found = gpu.figures(shape, gpu.PAPER, [gpu.drawn_batch(shape, gpu.TOKENS, 0)], [9.0, 0.03, 0.03], 790e12)
    assert found["hours"] == pytest.approx(100_000 * 0.03 / 3600, rel=0.01)
    assert found["mfu"] == pytest.approx(0.402, rel=0.01)  # 9.53 TFLOP in 30 ms
    assert found["tokens_per_second"] == pytest.approx(50_000 / 0.03, rel=0.01)


def test_a_step_is_cut_into_parts_until_memory_does_not_run_out(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    shape, taken, failed = gpu.TOY.shapes["base"], [], []

    def take(stepper: object, parts: list, number: int) -> None:
        taken.append(len(parts))
        failed.extend([1] if len(parts) < 4 else [])

    monkeypatch.setattr(gpu, "take", take)
    monkeypatch.setattr(gpu, "failures", lambda device: len(failed))
    stepper = gpu.stepper_of(shape, torch.float32, torch.device("cpu"), compiled=False)
    assert gpu.fitting(stepper, [gpu.drawn_batch(shape, 240, 0)], 0) == 4
    assert taken == [1] * 3 + [2] * 3 + [4] * 3


def test_all_of_it_runs(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(gpu, tmp_path, monkeypatch)
    assert [(row["shape"], row["parts"]) for row in found["training"]] == [("base", 1), ("big", 1)]
    assert {row["precision"] for row in found["training"]} == {"torch.bfloat16"}
    cells = {(row["beam"], row["batch"]): (row["equal_to_cpu"], row["compared"]) for row in found["decoding"]}
    assert cells == {(beam, batch): (4, 4) for beam in (1, 4) for batch in (2, 4)}


@pytest.mark.slow
def test_a_compiled_step_runs(tmp_path: Path) -> None:
    """A minute of compiling on a CPU; in a process of its own, for calls that are checked do not compile."""
    what = ["--shape", "base", "--part", "train", "--compiled", "no", "yes"]
    command = [
        sys.executable,
        str(BENCHMARKS / "gpu.py"),
        "--toy",
        "--device",
        "cpu",
        "--json",
        str(tmp_path / "found"),
    ]
    subprocess.run([*command, *what], check=True, timeout=1200)
    found = json.loads((tmp_path / "found").read_text())
    assert [row["compiled"] for row in found["training"]] == [False, True]
