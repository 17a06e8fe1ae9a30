"""benchmarks/efficiency.py: each checkpoint once, with its own error, and as many operations as its steps have."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from regard.cli import run
from regard.data.origin import open_origin, pick
from regard.errors import UsageError
from regard.lab.plan import SAMPLE
from regard.lab.probe import probe
from regard.training.journal import Journal
from regard.translator import Tokenizers, read_recipe

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = ("model.layers=1", "model.size=16", "model.heads=2", "model.inner=16")
SETTINGS = (*SMALL, "training.steps=6", "training.checkpoint_every=2")


@pytest.fixture
def efficiency(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    import efficiency

    yield efficiency
    for name in [name for name in sys.modules if name == "efficiency" or name.partition(".")[0] == "sets"]:
        sys.modules.pop(name)


def test_a_row_a_checkpoint(efficiency: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, folder = tmp_path / "pairs.tsv", tmp_path / "run"
    pairs.write_text("".join(f"{n} {n % 7}\t{n}\n" for n in range(300)), "utf-8")
    options = [word for setting in SETTINGS for word in ("--set", setting)]
    assert run(["train", str(pairs), "--out", str(folder), *options]) == 0
    capsys.readouterr()
    efficiency.main([str(folder)])
    _, _, *rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.split("\n") if line]
    found = [event for event in Journal(folder).read() if event["event"] == "checkpoint"]
    recipe = read_recipe(folder)
    sample = pick(open_origin(recipe.data, recipe.training.seed).train, SAMPLE)
    step = probe(recipe, Tokenizers.load(folder), sample).step_flops
    assert [row[1] for row in rows] == ["2", "4", "6"]
    assert [float(row[2]) for row in rows] == [pytest.approx(count * step, rel=0.01) for count in (2, 4, 6)]
    assert [row[4] for row in rows] == [f"{event['wer']:.2f}" for event in found]
    with pytest.raises(UsageError, match="no bleu was measured"):
        efficiency.main([str(folder), "--measure", "bleu"])
