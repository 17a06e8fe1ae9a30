"""`regard embed`: vectors of lines, neighbours and a picture of symbols."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regard.cli import run
from small import saved, untrained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", untrained())


def test_a_vector_for_each_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines.txt").write_text("fox\n\nlazy dogs\n", encoding="utf-8")
    assert run(["embed", str(folder), str(tmp_path / "lines.txt"), "--states"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.strip().split("\n")]
    assert [line["text"] for line in lines] == ["fox", "", "lazy dogs"]
    assert [len(line["vector"]) for line in lines] == [16, 16, 16]
    assert [len(line["states"]) for line in lines] == [4, 1, 10]
    states = lines[0]["states"]
    assert lines[0]["vector"] == pytest.approx([sum(column) / 4 for column in zip(*states, strict=True)], abs=1e-5)


def test_neighbours_and_a_picture(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "symbols.png"
    assert run(["embed", str(folder), "--near", "f", "--count", "3", "--picture", str(picture)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.strip().split("\n")]
    assert len(rows) == 3
    assert [float(row[0]) for row in rows] == sorted((float(row[0]) for row in rows), reverse=True)
    assert picture.stat().st_size > 1000
    assert run(["embed", str(folder), "--near", "字"]) == 2
    assert "no symbol '字'" in capsys.readouterr().err


def test_layers_of_a_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(folder), "--layers", "--length", "5", "--depth", "2"]) == 0
    out = capsys.readouterr().out
    assert "encoder (TransformerEncoder)" in out
    assert "1x5x16" in out
    assert "widen" not in out
    assert run(["info", str(folder), "--layers", "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)
    assert {"name", "kind", "output", "parameters", "own_parameters", "flops", "memory"} == set(layers[0])
    assert run(["info", str(folder)]) == 0
    assert "score ScaledDot" in capsys.readouterr().out
