"""The figures the README promises, measured: minutes long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regard.cli import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("task", ["reverse", "copy"])
def test_a_generated_task_is_learned(task: str, tmp_path: Path) -> None:
    assert run(["train", "--task", task, "--out", str(tmp_path / task)]) == 0
    events = [
        json.loads(line) for line in (tmp_path / task / "metrics.jsonl").read_text(encoding="utf-8").split("\n") if line
    ]
    assert events[-1]["event"] == "end"
    assert events[-1]["wer"] <= 1.0


def test_the_demo_reaches_its_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 0
    words = capsys.readouterr().out.replace("%", "").split()
    per, wer = (float(words[words.index(name) + 1]) for name in ("PER", "WER"))
    assert per <= 9.5
    assert wer <= 38.0
