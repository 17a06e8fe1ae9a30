"""`regard compare` as a user types it: exit codes, streams, files, and how it reads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regard.cli import run
from regard.lab.finding import Experiment, Finding
from regard.lab.recipes import RECIPES
from regard.look.html import Table

SIZES = ("model.size=8", "model.layers=1", "model.heads=1", "model.inner=8", "training.valid_pairs=10")
LIMITS = ("data.tokens_per_batch=200", "decoding.limit_extra=2", "decoding.limit_factor=0.1", "data.hold_out=0.2")
TINY = [part for setting in SIZES + LIMITS for part in ("--set", setting)]
VARY = ["--vary", "model.norm=layer,rms", "--budget", "2steps", "--seeds", "1"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    words = [f"{a}{b}{c}" for a in "abc" for b in "efg" for c in "jkl"]
    (tmp_path / "words.tsv").write_text(
        "".join(f"{word}\t{' '.join(reversed(word))}\n" for word in words), encoding="utf-8"
    )
    return "words.tsv"


def test_a_comparison_from_the_command_line(pairs: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", pairs, *VARY, *TINY]) == 0
    streams = capsys.readouterr()
    assert "What they are worth" in streams.out
    assert "What they cost" in streams.out
    assert max(len(line) for line in streams.out.split("\n")) <= 100
    assert "\x1b" not in streams.out
    assert "run 2 of 2: rms, seed 1" in streams.err
    assert "the report is comparisons/words/report.html" in streams.err
    plan = json.loads(Path("comparisons/words/comparison.json").read_text(encoding="utf-8"))
    assert plan["command"].startswith("regard compare words.tsv --vary model.norm=layer,rms --set model.size=8")
    assert plan["command"].endswith("--budget 2steps --seeds 1")
    # the same again, and by its folder: nothing is trained
    assert run(["compare", pairs, *VARY, *TINY]) == 0
    again = capsys.readouterr()
    assert again.out == streams.out
    assert "run 1" not in again.err
    assert run(["compare", "--resume", "comparisons/words", "--json"]) == 0
    written = json.loads(Path("comparisons/words/results.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == written
    # another question
    assert run(["compare", pairs, *VARY, *TINY, "--set", "model.inner=9"]) == 2
    assert "model.inner: 8 there, 9 asked for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["words.tsv"], "nothing varies"),
        (["words.tsv", "--vary", "model.nrom=layer,rms"], "did you mean model.norm"),
        (["words.tsv", "--vary", "model.norm=layer,lairs"], "variant lairs: model.norm"),
        (["words.tsv", "--vary", "model.norm"], "--vary wants section.key=value,value"),
        (["words.tsv", "--vary", "model.norm=layer,rms", "--budget", "10 minutes"], "10m, 90s, 2h"),
        (["words.tsv", "--vary", "model.norm=layer,rms", "--seeds", "0"], "--seeds wants 1 to"),
        (["words.tsv", "--vary", "training.seed=1,2"], "--seeds says"),
        (["words.tsv", "--vary", "model.norm=layer", "--set", "model.sise=8"], "did you mean model.size"),
        (["nowhere.tsv", "--vary", "model.norm=layer,rms"], "nowhere.tsv"),
        (["--vary", "model.norm=layer,rms"], "give a file of pairs or --task"),
        (["--task", "revers", "--vary", "model.norm=layer,rms"], "reverse"),
        (["--resume", "nowhere"], "holds no comparison.json"),
        (["words.tsv", "--resume", "nowhere"], "--resume takes no other settings"),
        (["--recipe", "nothing"], "there is no recipe 'nothing'"),
        (["--recipe", "heads", "--vary", "model.norm=layer,rms"], "exclude each other"),
    ],
)
def test_a_mistake_is_a_message_and_exit_2(
    arguments: list[str], told: str, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *arguments]) == 2
    streams = capsys.readouterr()
    assert told in streams.err + streams.out
    assert "Traceback" not in streams.err
    assert [path.name for path in Path().iterdir() if path.name != "cache"] == [pairs]


def test_help_and_mistakes_load_no_torch(pairs: str) -> None:
    code = (
        "import sys; from regard.cli import run; run(['compare', '--help']);"
        f"run(['compare', '{pairs}', '--vary', 'model.nothing=1']); sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_recipes_are_listed_with_their_claims(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "--recipe", "list"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.split("\n"))) <= 100
    for experiment in RECIPES.values():
        assert experiment.name in shown
        assert experiment.claim in " ".join(shown.split())


def test_a_recipe_prints_claim_table_and_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table("Counted", ("what", "number"), (("<b>", "1"),))
    finding = Finding("all is well", (table,), False, "it is not")
    monkeypatch.setitem(RECIPES, "fake", Experiment("fake", "N0", "all is well", "no time", lambda *_: finding))
    assert run(["compare", "--recipe", "fake"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Claim: all is well\n\nCounted\n")
    assert shown.out.endswith("Measured: it is not\nThe claim: does not hold.\n")
    assert "&lt;b&gt;" in Path("comparisons/fake/finding.html").read_text(encoding="utf-8")
    assert run(["compare", "--recipe", "fake", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "does not hold"


def test_the_first_signal_saves_and_says_how_to_go_on(pairs: str) -> None:
    endless = ["--vary", "model.norm=layer,rms", "--seeds", "1", "--budget", "100000steps"]
    options = [*endless, *TINY, "--set", "training.checkpoint_every=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "regard", "compare", pairs, *options, "--out", "a folder"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        journal = Path("a folder/layer/seed-1/metrics.jsonl")
        while not journal.exists() or '"event": "step"' not in journal.read_text(encoding="utf-8"):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        told = process.stderr.read()
        assert process.wait() == 130
    assert "go on with: regard compare --resume 'a folder'" in told
    assert "Traceback" not in told
    assert any(Path("a folder/layer/seed-1/checkpoints").iterdir())
