"""regard translate --align, regard score --alignments: lines in, lines out, the same links as in Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regard.cli import run
from regard.folder import seal
from regard.inside.choosing import NAME, Chosen
from regard.translator import Translator
from regard.translator.aligning import aligner, pharaoh
from small import saved, untrained

LINES = ["fox", "", "lazy dogs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a choice of its own, sealed."""
    path = saved(tmp_path_factory.mktemp("model"), untrained())
    (path / NAME).write_bytes(Chosen("cross.0.1", "by hand").to_json())
    names = [str(each.relative_to(path)) for each in path.rglob("*") if each.is_file() and each.name != "MANIFEST.json"]
    seal(path, names)
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(line + "\n" for line in LINES), encoding="utf-8")
    return path


def answers(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert run(["translate", *map(str, words)]) == 0
    return capsys.readouterr().out.split("\n")[:-1]


def in_python(folder: Path, by: str | None = None, n_best: int = 1) -> list[list[str]]:
    translator = Translator.load(folder)
    both = aligner(translator, by).answers(translator.translate(LINES, n_best=n_best))
    return [[pharaoh(each) for each in found] for _, found in both]


def test_an_answer_and_its_links_a_line(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = answers(capsys, folder, text)
    for words, by in ((["--align"], None), (["--align-by", "cross.0:next"], "cross.0:next")):
        lines = answers(capsys, folder, text, *words)
        assert lines == [f"{answer} ||| {links}" for answer, [links] in zip(plain, in_python(folder, by), strict=True)]
        assert lines[1] == " ||| "


def test_n_best_json_and_parts(folder: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    links = in_python(folder, n_best=2)
    lines = answers(capsys, folder, text, "--align", "--n-best", 2)
    assert [line.rpartition(" ||| ")[2] for line in lines] == [each for found in links for each in found]
    objects = [json.loads(line) for line in answers(capsys, folder, text, "--align", "--json", "--n-best", 2)]
    shown = [[" ".join(f"{a}-{b}" for a, b in each["alignment"]) for each in line["answers"]] for line in objects]
    assert shown == links
    assert "alignment" not in json.loads(answers(capsys, folder, text, "--json")[0])["answers"][0]
    out = tmp_path / "out.txt"
    assert answers(capsys, folder, text, "--align", "--n-best", 2, "--out", out, "--batch-size", 1) == []
    assert out.read_text(encoding="utf-8").split("\n")[:-1] == lines


def test_units(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = answers(capsys, folder, text, "--align", "--align-units", "tokens")
    assert tokens == answers(capsys, folder, text, "--align")  # the source's tokens are characters
    words = answers(capsys, folder, text, "--align-units", "words")
    assert all(link.startswith("0-") for link in words[0].partition(" ||| ")[2].split())
    assert all(int(link[0]) < 2 for link in words[2].partition(" ||| ")[2].split())


def test_a_folder_without_a_choice(tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = saved(tmp_path / "bare", untrained())
    assert run(["translate", str(bare), str(text), "--align"]) == 2
    assert "--align-by cross.1.3" in capsys.readouterr().err
    assert len(answers(capsys, bare, text, "--align-by", "cross.0.0")) == len(LINES)
    assert run(["translate", str(bare), str(text), "--align-by", "cross.7"]) == 2
    assert "1 layers of attention" in capsys.readouterr().err


def test_score_alignments(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, gold = tmp_path / "pairs.tsv", tmp_path / "gold"
    pairs.write_text("x\ty\nfox\tA B\n\t\nlazy dogs\tC\n", encoding="utf-8")
    texts = [("fox", "A B"), ("", ""), ("lazy dogs", "C")]
    found = [pharaoh(each) for each in aligner(Translator.load(folder)).pairs(texts)]

    def scored(*lines: str, words: tuple[object, ...] = ()) -> dict[str, float]:
        gold.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        options = ["--alignments", str(gold), "--columns", "x,y", "--json", *map(str, words)]
        assert run(["score", str(folder), str(pairs), *options]) == 0
        read: dict[str, float] = json.loads(capsys.readouterr().out)
        return read

    perfect = scored(*found)
    assert (perfect["aer"], perfect["precision"], perfect["recall"], perfect["links"]) == (0, 100, 100, 3)
    from_one = [
        " ".join(f"{int(a) + 1}-{int(b) + 1}" for a, b in (x.split("-") for x in line.split())) for line in found
    ]
    assert scored(*from_one, words=("--align-first", 1)) == perfect
    half = scored(found[0].split()[0], "", "8-8")  # one of three links is right, of two sure ones
    assert half["aer"] == pytest.approx(100 * (1 - 2 / 5))
    assert run(["score", str(folder), str(pairs), "--alignments", str(gold), "--forced"]) == 2
    assert "--forced has no use" in capsys.readouterr().err
    assert run(["score", str(folder), str(pairs), "--alignments", str(gold)]) == 2
    assert "3 lines of alignments for 4 lines of pairs" in capsys.readouterr().err
