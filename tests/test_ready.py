"""Models that come with the package: a name stands wherever a folder may, and a folder of that name wins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import regard.ready
from regard.cli import run
from regard.errors import ModelFolderError
from regard.ready import first_sentence, model_folder, names_like, ready_models
from regard.translator import Translator
from regard.translator.shrinking import shrink
from small import saved, untrained

LINES = ["fox", "", "lazy dogs"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models as they would come with the package, and what is no model."""
    home = tmp_path_factory.mktemp("ready")
    for seed, name in enumerate(("spell", "letters")):
        folder = saved(tmp_path_factory.mktemp(name), untrained(seed=seed))
        shrink(folder, home / name)
    text = "# spell\n\n<!-- made by hand -->\n\nSays words\nin letters. Is small.\n"
    (home / "spell/README.md").write_text(text, encoding="utf-8")
    (home / "__pycache__").mkdir()
    (home / "unfinished").mkdir()
    return home


@pytest.fixture(autouse=True)
def _at_home(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regard.ready, "HERE", models)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    (tmp_path / "pairs.tsv").write_text("fox\tA B\n", encoding="utf-8")


def test_every_command_takes_a_name(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says the same as with the folder, but for the times."""
    for words in (
        ["translate", "RUN", "in.txt", "--with", "letters"],
        ["look", "RUN", "fox", "--beside", "letters", "--json"],
        ["score", "RUN", "pairs.tsv"],
        ["info", "RUN"],
        ["embed", "RUN", "in.txt"],
        ["verify", "RUN"],
    ):
        said = []
        for name in ("spell", str(models / "spell")):
            assert run([name if word == "RUN" else word for word in words]) == 0, words
            said.append(capsys.readouterr().out)
        assert said[0] == said[1]
        assert said[0]
    assert run(["shrink", "spell", "copy"]) == 0
    for name in ("model.safetensors", "recipe.toml"):
        assert Path("copy", name).read_bytes() == (models / "spell" / name).read_bytes()


def test_python_takes_a_name(models: Path) -> None:
    by_name, by_path = (Translator.load(each) for each in ("letters", models / "letters"))
    texts = [result.text for result in by_name.translate(LINES)]
    assert texts == [result.text for result in by_path.translate(LINES)]
    assert texts != [result.text for result in Translator.load("spell").translate(LINES)]
    both = Translator.load_ensemble(["letters", models / "spell"])
    assert len(both.mates.models if both.mates else ()) == 1


def test_a_folder_here_wins_and_a_path_is_a_path(models: Path, tmp_path: Path) -> None:
    assert model_folder("spell") == models / "spell"
    assert model_folder("./spell") == model_folder("spell/") == model_folder(Path("spell")) == Path("spell")
    assert model_folder("letters/..") == Path("letters/..")
    assert model_folder("unfinished") == Path("unfinished")
    for word in ("", ".", "..", "/"):
        assert model_folder(word) == Path(word)
    (tmp_path / "spell").write_text("a file is no folder", encoding="utf-8")
    assert model_folder("spell") == models / "spell"
    (tmp_path / "spell").unlink()
    shutil.copytree(models / "letters", tmp_path / "spell")
    assert model_folder("spell") == Path("spell")
    here = [result.text for result in Translator.load("spell").translate(LINES)]
    assert here == [result.text for result in Translator.load("letters").translate(LINES)]


def test_what_is_neither_is_told_the_names(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert names_like("lettres") == ["letters", "spell"]
    assert names_like("spel") == ["spell", "letters"]
    for words in (
        ["translate", "spel"],
        ["verify", "./spel"],
        ["info", "spel"],
        ["look", "spell", "a", "--beside", "spel"],
    ):
        assert run(words) == 2
        told = capsys.readouterr().err
        assert "spel: MANIFEST.json: expected a list of files, found a fault: no such file" in told
        assert told.endswith("models that come with the package: spell, letters\n")
    (tmp_path / "spell").mkdir()
    with pytest.raises(ModelFolderError, match=f"of that name that comes with the package is {models / 'spell'}"):
        Translator.load("spell")
    shutil.copytree(models / "letters", tmp_path / "broken")
    (tmp_path / "broken/recipe.toml").unlink()
    with pytest.raises(ModelFolderError) as caught:
        Translator.load("broken")
    assert "comes with the package" not in str(caught.value)


@pytest.mark.parametrize("text", ["x" * 300, "a sentence " * 40, "nul\0"])
def test_what_cannot_be_a_path_is_no_model(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["translate", text]) == 2
    told = capsys.readouterr().err
    assert "MANIFEST.json: expected a list of files, found a fault" in told


def test_info_lists_them(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info"]) == 0
    assert capsys.readouterr().out == "letters\nspell    Says words in letters.\n"
    assert run(["info", "--json"]) == 0
    wanted = {
        name: {"folder": str(models / name), "about": about}
        for name, about in (("letters", ""), ("spell", "Says words in letters."))
    }
    assert json.loads(capsys.readouterr().out) == wanted
    assert run(["info", "--layers"]) == 2
    assert "name a model folder" in capsys.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_without_any(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if there:
        (tmp_path / "none").mkdir()
    monkeypatch.setattr(regard.ready, "HERE", tmp_path / "none")
    assert ready_models() == {}
    assert run(["info"]) == 2
    assert "name a model folder, or ask for --settings" in capsys.readouterr().err
    assert run(["translate", "spell"]) == 2
    assert "come" not in capsys.readouterr().err.replace("where it came", "")


def test_the_first_sentence(tmp_path: Path) -> None:
    for text, sentence in {
        "# a\n\nOne. Two.\n": "One.",
        "---\nlicense: x\n---\n\n# a\n\nIs it?\nYes!\n": "Is it?",
        "One": "One",
        "# only a heading\n": "",
        "": "",
    }.items():
        (tmp_path / "README.md").write_text(text, encoding="utf-8")
        assert first_sentence(tmp_path) == sentence
    assert first_sentence(tmp_path / "nowhere") == ""


def test_those_in_the_package_load_and_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever really comes with it."""
    monkeypatch.setattr(regard.ready, "HERE", Path(regard.ready.__file__).parent)
    for name, folder in ready_models().items():
        assert Translator.load(name).recipe == Translator.load(folder).recipe
        assert first_sentence(folder)
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 4_100_000
