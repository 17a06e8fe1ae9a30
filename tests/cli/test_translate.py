"""The options of `regard translate`: each says on the command line what tests/test_requests.py says in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regard.cli import run
from regard.metrics.risk import expected_utility, least_risk
from regard.translator import Request, Translator
from small import saved, untrained

LINES = ["fox", "", "lazy dogs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), untrained())


@pytest.fixture(scope="module")
def mate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("mate"), untrained(seed=1))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(line + "\n" for line in LINES), encoding="utf-8")
    return path


def answers(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert run(["translate", *map(str, words)]) == 0
    return capsys.readouterr().out.split("\n")[:-1]


def in_python(folder: Path, requests: list[Any], **options: Any) -> list[str]:
    return [result.text for result in Translator.load(folder).translate(requests, options=options)]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--set", "decoding.no_repeat=1", "--set", "decoding.beam=2"], {"no_repeat": 1, "beam": 2}),
        (["--sample", "--set", "decoding.seed=4"], {"strategy": "sampling", "seed": 4}),
        (["--exact"], {"exact": True}),
        (["--set", "decoding.coverage_penalty=0.5"], {"coverage_penalty": 0.5}),
    ],
    ids=str,
)
def test_settings(
    folder: Path, text: Path, capsys: pytest.CaptureFixture[str], words: list[str], options: dict[str, Any]
) -> None:
    assert answers(capsys, folder, text, *words) == in_python(folder, LINES, **options)


def test_phrases(folder: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = in_python(folder, [Request(line, "B", ("A G",), ("C",)) for line in LINES])
    assert answers(capsys, folder, text, "--prefix", "B", "--require", "A G", "--forbid", "C") == wanted
    (tmp_path / "terms.tsv").write_text("lazy\tG G\n", encoding="utf-8")
    found = answers(capsys, folder, text, "--glossary", tmp_path / "terms.tsv")
    assert found == in_python(folder, ["fox", "", Request("lazy dogs", required=("G G",))])
    assert "G G" in found[2]


def test_requests_as_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"text": "fox", "prefix": "B"}, {"text": ""}, {"text": "dogs", "required": ["A"], "forbidden": ["B", "C"]}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    wanted = in_python(folder, [Request("fox", "B"), "", Request("dogs", "", ("A",), ("B", "C"))])
    assert answers(capsys, folder, tmp_path / "in.jsonl", "--requests") == wanted


@pytest.mark.parametrize(
    "line", ["fox", '{"texts": "fox"}', '{"text": 3}', '["fox"]', '{"text": "a", "required": "b"}']
)
def test_a_line_that_is_no_request_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    (tmp_path / "in.jsonl").write_text(f'{{"text": "fox"}}\n{line}\n', encoding="utf-8")
    assert run(["translate", str(folder), str(tmp_path / "in.jsonl"), "--requests"]) == 2
    assert "in.jsonl:2" in (error := capsys.readouterr().err)
    assert "not a request" in error


def test_ensembles(folder: Path, mate: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = Translator.load_ensemble([folder, mate], [2.0, 1.0], "log_probabilities")
    found = answers(capsys, folder, text, "--with", mate, "--weights", "2,1", "--average", "log_probabilities")
    assert found == [result.text for result in both.translate(LINES)]


def test_alternatives(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        line.split("\t")[1] for line in answers(capsys, folder, text, "--alternatives", 3, "--prefix", "B") if line
    ]
    assert len(found) == 3 + 3 + 1 - (len(found) == 6)  # the blank line has one blank answer, without a prefix
    symbols = [answer.split()[1:2] for answer in found if answer]
    assert all(answer.startswith("B") for answer in found if answer)
    assert len({tuple(each) for each in symbols[:3]}) == 3


def test_least_risk(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = Translator.load(folder).translate(LINES, options={"strategy": "sampling", "n_best": 9})
    wanted = [least_risk(result, "per", 1).text for result in drawn]
    assert answers(capsys, folder, text, "--mbr", "per", "--samples", 9) == wanted


def test_expected_utility_is_the_mean_over_all_samples() -> None:
    utility = expected_utility(["A B", "A B", "A C"], "exact")
    assert utility == {"A B": pytest.approx(200 / 3), "A C": pytest.approx(100 / 3)}
    assert expected_utility(["A", "A B"], "per") == {"A": pytest.approx(-25.0), "A B": pytest.approx(-50.0)}


def test_the_trace_is_json_lines(folder: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = answers(capsys, folder, text)
    assert answers(capsys, folder, text, "--trace", tmp_path / "beam.jsonl") == plain
    steps = [json.loads(line) for line in (tmp_path / "beam.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {step["line"] for step in steps} == {1, 3}
    assert all({"id", "symbol", "fate", "parent", "total"} <= each.keys() for s in steps for each in s["candidates"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--require", "A", "--forbid", "A"], "'A' is required and forbidden"),
        (["--require", "Z"], "cannot be written: the model knows no Z"),
        (["--set", "decoding.beams=3"], "did you mean decoding.beam"),
        (["--set", "model.layers=3"], "only decoding.KEY=VALUE"),
        (["--mbr", "bleurt"], "there is no metric 'bleurt'"),
        (["--average", "sum"], "there is no average of 'sum'"),
        (["--weights", "1,2"], "weights are for an ensemble"),
        (["--alternatives", "2", "--sample"], "chosen, not drawn"),
        (["--require", "A", "--beam", "1"], "required phrases need a beam"),
        (["--prefix", "A " * 99], "the prefix has 99 tokens"),
        (["--glossary", "nowhere.tsv"], "nowhere.tsv"),
    ],
    ids=lambda words: " ".join(words)[:40] if isinstance(words, list) else "",
)
def test_impossible_options(
    folder: Path, text: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(["translate", str(folder), str(text), *words]) == 2
    assert message in capsys.readouterr().err
