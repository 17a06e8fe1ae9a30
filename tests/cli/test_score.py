"""`regard score`: forced scores, and the search options that it shares with `regard translate`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from regard.cli import run
from regard.inside.interventions import changed
from regard.metrics.evaluate import evaluate
from regard.text.pairs import PairReader
from regard.translator import Translator
from small import saved, untrained

LINES = "fox\tA B\nfox\tC\n\nquick\tD Q\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), untrained())


@pytest.fixture(scope="module")
def mate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("mate"), untrained(seed=1))


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    (tmp_path / "test.tsv").write_text(LINES, encoding="utf-8")
    return str(tmp_path / "test.tsv")


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert run(["score", *arguments]) == 0
    streams = capsys.readouterr()
    return streams.out, streams.err


def test_forced_tells_log_probability_and_perplexity(
    folder: Path, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, _ = told([str(folder), pairs, "--forced"], capsys)
    scores = list(Translator.load(folder).force([("fox", "A B"), ("fox", "C"), ("quick", "D Q")]))
    total = sum(score.log_probability for score in scores)
    assert "3 pairs, 8 target tokens, the ends counted" in shown
    assert f"log-probability per token {total / 8:12.4f}\n" in shown
    assert f"perplexity per token      {math.exp(-total / 8):12.4f}\n" in shown
    assert f"log-probability per pair  {total / 3:12.4f}\n" in shown
    assert "(1 target tokens were never seen in training; they are scored as <unk>)" in shown
    assert "(1 pairs with a blank side are not counted above)" in shown


def test_forced_json_is_an_object_a_line_and_totals_on_stderr(
    folder: Path, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, summary = told([str(folder), pairs, "--forced", "--json"], capsys)
    rows = [json.loads(line) for line in shown.removesuffix("\n").split("\n")]
    assert [f"{row['source']}\t{row['target']}".strip() for row in rows] == LINES.removesuffix("\n").split("\n")
    for row in rows:
        assert len(row["log_probabilities"]) == len(row["symbols"]) + 1
        assert row["log_probability"] == pytest.approx(sum(row["log_probabilities"]))
        assert row["perplexity"] == pytest.approx(math.exp(-row["log_probability"] / len(row["log_probabilities"])))
    assert rows[3]["unknown"] == {"source": [], "target": ["Q"]}
    assert "3 pairs, 8 target tokens" in summary


def test_forced_of_nothing_but_blank_pairs(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "blank.tsv").write_text("\n\n", encoding="utf-8")
    shown, _ = told([str(folder), str(tmp_path / "blank.tsv"), "--forced"], capsys)
    assert "0 pairs" in shown
    assert "perplexity" not in shown


def test_forced_names_file_and_line_of_a_long_pair(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long.tsv"
    path.write_text("source\ttarget\nfox\tA\nfox\tbad\tline\nfox\t" + "A " * 5001 + "\nfox\tA\n", encoding="utf-8")
    options = ["--columns", "source,target", "--on-bad-line", "skip", "--forced", "--json"]
    assert run(["score", str(folder), str(path), *options]) == 2
    streams = capsys.readouterr()
    assert f"{path}:4: the target has 5,001 tokens, this model scores at most 5,000" in streams.err
    assert [json.loads(line)["target"] for line in streams.out.removesuffix("\n").split("\n")] == ["A"]


def test_an_ensemble_is_scored(folder: Path, mate: Path, pairs: str, capsys: pytest.CaptureFixture[str]) -> None:
    alone, _ = told([str(folder), pairs, "--forced"], capsys)
    even, _ = told([str(folder), pairs, "--forced", "--with", str(mate)], capsys)
    uneven, _ = told([str(folder), pairs, "--forced", "--with", str(mate), "--weights", "5,1"], capsys)
    geometric, _ = told([str(folder), pairs, "--forced", "--with", str(mate), "--average", "log_probabilities"], capsys)
    assert len({alone, even, uneven, geometric}) == 4
    searched, _ = told([str(folder), pairs, "--with", str(mate), "--json"], capsys)
    assert json.loads(searched)["lines"] == 4


def test_settings_of_the_search_reach_it(folder: Path, pairs: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown, _ = told([str(folder), pairs, "--set", "decoding.beam=1"], capsys)
    assert "distinct sources, greedy" in shown
    drawn = ["--set", "decoding.strategy=sampling", "--set", "decoding.temperature=5"]
    one, two = (told([str(folder), pairs, *drawn, "--set", f"decoding.seed={seed}"], capsys)[0] for seed in (1, 2))
    assert "distinct sources, sampling" in one
    assert one != two


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--forced", "--beam", "3"], "--forced searches nothing, so --beam has no use"),
        (["--forced", "--set", "decoding.beam=3"], "--forced searches nothing, so --set has no use"),
        (["--set", "model.layers=3"], "only decoding.KEY=VALUE can be set here"),
        (["--weights", "1,2"], "weights are for an ensemble"),
        (["--forced", "--batch-size", "0"], "the batch size must be at least 1, found 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    options: list[str], message: str, folder: Path, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", str(folder), pairs, *options]) == 2
    assert message in capsys.readouterr().err


def test_without_a_head_the_model_is_scored_again(folder: Path, pairs: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told([str(folder), pairs, "--without", "cross.0", "--json"], capsys)[0])
    usual = json.loads(told([str(folder), pairs, "--json"], capsys)[0])
    assert {**usual, "changed": ["cross.0 x 0"], "changed_values": found["changed_values"]} == found
    translator = Translator.load(folder)
    with changed(translator, {"cross.0": 0}):
        wanted = evaluate(translator, list(PairReader((pairs,)))).values
    assert found["changed_values"] == wanted
    shown, _ = told([str(folder), pairs, "--without", "cross.0"], capsys)
    assert "with cross.0 x 0:\n  per" in shown
    assert run(["score", str(folder), pairs, "--without", "cross.9"]) == 2
    assert run(["score", str(folder), pairs, "--without", "cross.0", "--forced"]) == 2
