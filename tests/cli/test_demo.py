"""The demo from end to end, with a training of seconds in place of minutes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from regard.cli import run

demo = sys.modules["regard.cli.demo"]  # `regard.cli.demo` is the command of that name


def test_the_demo_trains_scores_answers_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "SAMPLES", 3)
    settings = demo.recipe()
    quick = {"training": {**settings["training"], "steps": 2, "checkpoint_every": 2, "valid_pairs": 5}}
    monkeypatch.setattr(demo, "recipe", lambda: {**settings, **quick, "decoding": {"beam": 1, "limit_factor": 0.1}})
    assert run(["demo"]) == 0
    streams = capsys.readouterr()
    assert "1,000 words that were held out, beam 1" in streams.out
    assert "PER" in streams.out
    assert streams.out.count("wanted ") + streams.out.count("right\n") == 3
    assert "translate runs/demo" in streams.err
    assert (tmp_path / "runs/demo/MANIFEST.json").exists()
    assert run(["verify", "runs/demo"]) == 0
