"""`regard look`: a page, numbers or pictures of an answer, alone or beside another."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from regard.cli import run
from regard.inside.interventions import changed
from regard.inside.result import Look
from regard.translator import Translator
from small import saved, untrained

TEXT = "quick fox"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model") / "tiny", untrained({"model": {"layers": 2}}))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["look", *arguments]) == 0
    return capsys.readouterr().out


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["look", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert not list(Path.cwd().iterdir())
    return streams.err


def looked(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[Look]:
    return [Look.from_json(line) for line in told([*arguments, "--json"], capsys).splitlines()]


def test_a_page_and_the_answer_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = told([str(folder), TEXT], capsys)
    [found] = Translator.load(folder).translate([TEXT])
    assert f"{TEXT}  →  {found.text}\n" in shown
    assert shown.endswith("look-quick-fox.html: open it in a browser\n")
    page = Path("look-quick-fox.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^/\"]*", page)) <= {"http://www.w3.org"}  # the name of SVG, which nobody fetches


def test_the_table_tells_how_sure_each_step_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = told([str(folder), TEXT, "--target", "A B", "--out", "a.html"], capsys)
    own, given = shown.split(f"{TEXT}  →  A B\n")
    assert "(forced, log-probability" in given
    assert "(beam 3, log-probability" in own
    rows = [line.split() for line in given.splitlines() if line[:4].strip().isdigit()]
    assert [row[1] for row in rows] == ["A", "B", "⟨end⟩"]


def test_json_is_the_look_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [seen] = looked([str(folder), TEXT, "--beam", "2"], capsys)
    assert seen.to_json() == Translator.load(folder).look(TEXT, beam=2, model=folder.name).to_json()


def test_csv_has_a_line_a_weight(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(told([str(folder), TEXT, "--csv"], capsys))))
    seen = Translator.load(folder).look(TEXT)
    assert len(rows) == sum(each.weights.numel() for each in seen.attentions)
    total = sum(float(row["weight"]) for row in rows)
    assert total == pytest.approx(sum(float(each.weights.sum()) for each in seen.attentions))


def test_two_of_a_kind(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    translator = Translator.load(folder)
    other = saved(tmp_path / "other", untrained(seed=1))
    one, two = looked([str(folder), TEXT, "lazy dogs"], capsys)
    assert (one.source.text, two.source.text) == (TEXT, "lazy dogs")
    one, two = looked([str(folder), TEXT, "--target", "A B"], capsys)
    assert (one.search.name, two.search.name, two.target.text) == ("beam 3", "forced", "A B")
    one, two = looked([str(folder), TEXT, "--beside", str(other)], capsys)
    assert (one.model, two.model) == ("tiny", "other")
    assert two.target.text == next(iter(Translator.load(other).translate([TEXT]))).text
    one, two = looked([str(folder), TEXT, "--without", "cross.0", "--without", "encoder.1.0=0.5"], capsys)
    assert (one.changed, two.changed) == ((), ("cross.0 x 0", "encoder.1.0 x 0.5"))
    with changed(translator, {"cross.0": 0, "encoder.1.0": 0.5}):
        assert two.search == translator.look(TEXT).search


def test_other_answers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [found] = Translator.load(folder).translate([TEXT], n_best=3)
    [seen] = looked([str(folder), TEXT, "--rank", "3"], capsys)
    assert seen.target.text == found.answers[2].text
    [seen] = looked([str(folder), TEXT, "--set", "decoding.strategy=sampling", "--prefix", "G"], capsys)
    assert (seen.search.name, seen.target.tokens[0]) == ("sampling", "G")


def test_a_text_from_standard_input(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TEXT}\nmore\n"))
    [seen] = looked([str(folder), "-"], capsys)
    assert seen.source.text == TEXT
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "standard input is empty" in refused([str(folder), "-"], capsys)


def test_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told([str(folder), TEXT, "lazy dogs", "--png", "a.png", "--svg", "a.svg", "--part", "encoder"], capsys)
    assert {path.name for path in Path.cwd().iterdir()} == {"a.png", "a.svg", "a-2.png", "a-2.svg"}
    assert Path("a-2.png").read_bytes().startswith(b"\x89PNG")


def test_heads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pairs.tsv").write_text("fox\tA B\nlazy\tC\n", encoding="utf-8")
    shown = told([str(folder), "--heads", "pairs.tsv"], capsys)
    names = set(re.findall(r"^ *((?:encoder|decoder|cross)\.\d\.\d) ", shown, re.MULTILINE))
    assert len(names) == 3 * 2 * 2
    found = json.loads(told([str(folder), "--heads", "pairs.tsv", "--json"], capsys))
    assert {row["name"] for row in found["rows"]} == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "wanted one of TEXT, --heads, found neither"),
        ([TEXT, "--heads", "x.tsv"], "found TEXT and --heads"),
        ([" "], "nothing to look at in a blank text"),
        ([TEXT, "fox", "--target", "A"], "two answers stand side by side, found TEXT TEXT and --target"),
        ([TEXT, "--without", "encoder.7.0"], "there is no head 'encoder.7.0'"),
        ([TEXT, "--without", "encoder.0.0=much"], "encoder.0.0=much"),
        ([TEXT, "--json", "--csv"], "wanted one kind of output, found --json and --csv"),
        ([TEXT, "--keep", "everything"], "everything"),
        ([TEXT, "--png", "a.gif"], "a picture is a .png or .svg file"),
        ([TEXT, "--set", "training.steps=3"], "only decoding.KEY=VALUE can be set here"),
        ([TEXT, "--beside", "nowhere"], "nowhere"),
        (["--heads", "nowhere.tsv"], "nowhere.tsv"),
        (["--heads", "nowhere.tsv", "--png", "a.png"], "--png means nothing beside --heads"),
        (["fox " * 3000], "this model reads at most"),
    ],
)
def test_bad_input(folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused([str(folder), *arguments], capsys)
