"""Without the extra `pictures`: what needs matplotlib says so before any work, and nothing else needs it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import regard
from regard.attention.pooling import NadarayaWatson
from regard.cli import run
from regard.errors import UsageError
from regard.look.heat_map import check_pictures, new_figure
from regard.look.regression import save_regression
from small import saved, untrained

OWN = ("matplotlib", "mpl_toolkits", "contourpy", "cycler", "fontTools", "kiwisolver", "PIL", "pyparsing", "dateutil")
TINY = [
    part
    for setting in (
        *("model.size=8", "model.layers=1", "model.heads=1", "model.inner=8", "data.tokens_per_batch=200"),
        *("training.steps=2", "training.checkpoint_every=1", "training.valid_pairs=5", "data.task_pairs=40"),
        *("decoding.limit_extra=2", "decoding.limit_factor=0.1"),
    )
    for part in ("--set", setting)
]


@pytest.fixture
def _hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in {*OWN, *(name for name in sys.modules if name.split(".")[0] in OWN)}:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_hidden")
@pytest.mark.parametrize(
    "command",
    [
        ["look", "nowhere", "text", "--png", "a.png"],
        ["look", "nowhere", "text", "--svg", "a.svg"],
        ["embed", "nowhere", "--picture", "a.png"],
        ["embed", "nowhere", "--positions", "a.svg"],
    ],
)
def test_what_needs_it_says_so_before_any_work(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "matplotlib, which is not installed\n  fix: pip install 'regard[pictures]'" in streams.err
    assert "nowhere" not in streams.err  # the model was not looked for


@pytest.mark.usefixtures("_hidden")
def test_from_python_as_well(tmp_path: Path) -> None:
    regression = NadarayaWatson(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
    for draw in (lambda: new_figure(1, 1), lambda: save_regression({"a": regression}, None, tmp_path / "a.png")):
        with pytest.raises(UsageError, match=r"fix: pip install 'regard\[pictures\]'"):
            draw()
    assert not list(tmp_path.iterdir())


def test_with_it_nothing_is_said() -> None:
    check_pictures(Path("a.png"), Path("b.SVG"))
    with pytest.raises(UsageError, match=r"(?s)found '.gif'.*fix: name it b.png"):
        check_pictures(Path("a.png"), Path("b.gif"))


@pytest.mark.usefixtures("_hidden")
def test_looking_and_vectors_do_without(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(saved(Path("model"), untrained()))
    Path("lines.txt").write_text("fox\n", encoding="utf-8")
    for command in (["look", folder, "fox"], ["look", folder, "fox", "--csv"], ["embed", folder, "lines.txt"]):
        assert run(command) == 0
        assert capsys.readouterr().out
    assert Path("look-fox.html").stat().st_size > 10_000


@pytest.mark.usefixtures("_hidden")
def test_training_draws_its_curve_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", "cache")
    assert run(["train", "--task", "copy", "--out", "run", *TINY]) == 0
    picture = ElementTree.parse("run/curve.svg")
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) > 1
    assert "![loss and what decoding measured, by steps](curve.svg)" in Path("run/README.md").read_text("utf-8")
    assert run(["verify", "run"]) == 0


def test_nothing_else_imports_it() -> None:
    """The page of a comparison, reports and curves are SVG of our own."""
    source = Path(regard.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"^ *(from|import) (matplotlib|mpl_toolkits|PIL)\b", path.read_text("utf-8"), re.MULTILINE)
    }
    assert found == {"look/attention_grid.py", "look/fonts.py", "look/heat_map.py"}
