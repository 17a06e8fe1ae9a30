"""`regard shrink`: the model that is loaded is the one that was, each weight as float16 has it; and whole or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import regard
from regard.cli import run
from regard.config import build_recipe
from regard.errors import ModelFolderError, StorageError, UsageError
from regard.folder import MANIFEST, seal, verify
from regard.inside.choosing import Chosen
from regard.model_card import model_card
from regard.models.weights import is_halved, save_weights, tied_names
from regard.training.checkpoint import newest_good
from regard.translator import Translator
from regard.translator.shrinking import shrink
from small import saved, untrained

LINES = ["fox", "", "the lazy dogs", "quick"]
MODELS: dict[str, dict[str, Any]] = {
    "transformer": {},
    "nothing tied": {"share_embeddings": "none"},
    "recurrent": {"architecture": "recurrent"},
    "convolutional": {"architecture": "convolutional"},
    "batch norm": {"norm": "batch", "decoder_norm": "layer"},  # statistics that are no parameters, and a count
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a card and a place of alignments."""
    folder = saved(tmp_path_factory.mktemp("model"), untrained())
    (folder / "README.md").write_text("# small\n\nSays letters.\n\n![loss](curve.svg)\n", encoding="utf-8")
    (folder / "alignment.json").write_bytes(Chosen("cross.0.1", "made up").to_json())
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    seal(folder, [name for name in names if name != MANIFEST])
    return folder


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_what_is_loaded_is_what_was_in_float16(settings: dict[str, Any], tmp_path: Path) -> None:
    before = untrained({"model": settings})
    sizes = shrink(saved(tmp_path / "run", before), tmp_path / "small")
    verify(tmp_path / "small", required=("recipe.toml", "model.safetensors"))
    after = Translator.load(tmp_path / "small")
    own, loaded = before.model.state_dict(), after.model.state_dict()
    assert own.keys() == loaded.keys()
    for name, one in own.items():
        wanted = one.half().float() if one.is_floating_point() else one
        assert loaded[name].dtype == one.dtype
        assert torch.equal(loaded[name], wanted), name
    assert tied_names(loaded) == tied_names(own)
    assert bool(tied_names(own)) == (settings.get("share_embeddings") != "none")
    assert after.tokenizers.files() == before.tokenizers.files()
    assert after.recipe == before.recipe
    assert sizes.after < 0.6 * sizes.before
    for name, one in own.items():  # the answers are those of the rounded weights
        one.copy_(loaded[name])
    assert [each.answers for each in after.translate(LINES)] == [each.answers for each in before.translate(LINES)]


def test_no_folder_of_the_maker_is_handed_on(tmp_path: Path) -> None:
    data = {"pairs": ["/home/me/a.en", "/home/me/a.de"], "valid": ["/home/me/b.tsv"]}
    translator = untrained({"data": data})
    run = saved(tmp_path / "run", translator)
    card = model_card("run", translator, [{"event": "end", "step": 1, "seconds": 1.0, "published": "step 1"}])
    (run / "README.md").write_text(card, encoding="utf-8")
    shrink(run, tmp_path / "small")
    assert "`a.en`, `a.de`" in (tmp_path / "small" / "README.md").read_text("utf-8")
    assert not any(b"/home/me" in path.read_bytes() for path in (tmp_path / "small").rglob("*") if path.is_file())
    found = Translator.load(tmp_path / "small").recipe.data
    assert (found.pairs, found.valid) == (("a.en", "a.de"), ("b.tsv",))


def test_command_line_equals_python(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "there" / "small"
    assert run(["shrink", str(folder), str(out)]) == 0
    told = capsys.readouterr().out
    weights = [(each / "model.safetensors").stat().st_size for each in (folder, out)]
    whole = sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and path.name != MANIFEST)
    assert told == f"{out}: {whole:,} bytes; of these the weights take {weights[1]:,}, they took {weights[0]:,}\n"
    assert run(["verify", str(out)]) == 0
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    capsys.readouterr()
    assert run(["translate", str(out), str(tmp_path / "in.txt")]) == 0
    found = capsys.readouterr().out.split("\n")[:-1]
    assert found == [result.text for result in regard.Translator.load(out).translate(LINES)]
    assert run(["info", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "float16, computed in float32"
    assert run(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "float32"


def test_every_command_reads_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small"
    shrink(folder, small)
    (tmp_path / "pairs.tsv").write_text("fox\tA B\nlazy\tC\n", encoding="utf-8")
    (tmp_path / "in.txt").write_text("fox\nlazy\n", encoding="utf-8")
    pairs, text = str(tmp_path / "pairs.tsv"), str(tmp_path / "in.txt")
    for words in (
        ["score", pairs],
        ["score", pairs, "--forced"],
        ["look", "fox", "--json"],
        ["embed", text],
        ["info", "--layers"],
        ["translate", text, "--align"],
        ["translate", text, "--with", str(folder)],
    ):
        assert run([words[0], str(small), *words[1:]]) == 0, words
    both = [result.text for result in Translator.load_ensemble([small, folder]).translate(["fox", "lazy"])]
    assert both == capsys.readouterr().out.split("\n")[-3:-1]


def test_what_is_copied(folder: Path, tmp_path: Path) -> None:
    shrink(folder, tmp_path / "small")
    names = {path.relative_to(tmp_path / "small").as_posix() for path in (tmp_path / "small").rglob("*.*")}
    tokenizers = {f"tokenizer/{side}.tokenizer.json" for side in ("source", "target")}
    assert names == {MANIFEST, "README.md", "alignment.json", "model.safetensors", "recipe.toml", *tokenizers}
    for name in names - {MANIFEST, "README.md", "model.safetensors"}:
        assert (tmp_path / "small" / name).read_bytes() == (folder / name).read_bytes()
    card = (tmp_path / "small/README.md").read_text(encoding="utf-8")
    assert "curve.svg" not in card
    assert "float16" in card
    shrink(tmp_path / "small", tmp_path / "again")
    assert (tmp_path / "again/README.md").read_text(encoding="utf-8") == card
    assert (tmp_path / "again" / MANIFEST).read_bytes() == (tmp_path / "small" / MANIFEST).read_bytes()


def test_a_card_of_ones_own(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "card.md").write_bytes("# mine\r\n\n![x](y.svg) é".encode())
    assert run(["shrink", str(folder), str(tmp_path / "small"), "--card", str(tmp_path / "card.md")]) == 0
    assert (tmp_path / "small/README.md").read_bytes() == (tmp_path / "card.md").read_bytes()
    verify(tmp_path / "small", required=["README.md"])
    assert run(["shrink", str(folder), str(tmp_path / "other"), "--card", str(tmp_path / "nowhere.md")]) == 2
    assert "nowhere.md: cannot be read" in capsys.readouterr().err
    (tmp_path / "latin.md").write_bytes("# é".encode("latin-1"))
    assert run(["shrink", str(folder), str(tmp_path / "other"), "--card", str(tmp_path / "latin.md")]) == 2
    assert "latin.md: cannot be read: 'utf-8' codec" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_weight_that_is_too_large(tmp_path: Path) -> None:
    large = untrained()
    weight = next(each for each in large.model.parameters() if each.dim() == 2)
    with torch.no_grad():
        weight[5, 3] = 70_000.0
    with pytest.raises(ModelFolderError, match=r"model\.safetensors: float16 holds at most 65,504:\n  .* holds 70000"):
        shrink(saved(tmp_path / "run", large), tmp_path / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_there_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for there in (folder, tmp_path, tmp_path / "link"):
        before = sorted(there.glob("*"))
        with pytest.raises(UsageError, match="never written over"):
            shrink(folder, there)
        assert sorted(there.glob("*")) == before


def test_whole_or_not_at_all(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:3])
        if path.name == "recipe.toml":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("regard.translator.shrinking.write_new", full)
    with pytest.raises(StorageError, match="No space left"):
        shrink(folder, tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_it_is_not_trained_on(folder: Path, tmp_path: Path) -> None:
    """Neither as a run, which it looks like when it is finished, nor as a checkpoint."""
    shrink(folder, tmp_path / "small")
    with pytest.raises(UsageError, match="is finished"):
        regard.resume(tmp_path / "small")
    shrink(folder, tmp_path / "run/checkpoints/00000500")
    with pytest.raises(ModelFolderError, match=r"training\.safetensors: expected in MANIFEST\.json"):
        newest_good(tmp_path / "run")


def test_a_file_shorter_than_its_recipe_is_refused_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the bytes are enough for float16 alone."""
    translator = untrained()
    wanted = sum(4 * parameter.numel() for parameter in translator.model.parameters())
    folder = saved(tmp_path, translator)

    def nothing(*_: object) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr("regard.translator.translator.build", nothing)
    for name, tensors in {
        "half the weights": {"a": torch.zeros(wanted // 4 * 2 // 3)},
        "too few of float16": {"a": torch.zeros(wanted // 4 - 600, dtype=torch.float16)},
        "mixed": {"a": torch.zeros(wanted // 4, dtype=torch.float16), "b": torch.zeros(1)},
        "integers": {"a": torch.zeros(wanted // 4, dtype=torch.int16)},
    }.items():
        (folder / "model.safetensors").write_bytes(save_weights(tensors))
        reseal(folder)
        with pytest.raises(ModelFolderError, match=f"at least {wanted:,} bytes of weights"):
            Translator.load(folder)
        assert is_halved(folder / "model.safetensors") == (name == "too few of float16")
    (folder / "model.safetensors").write_bytes(b"\0" * (wanted * 3 // 4))
    reseal(folder)
    with pytest.raises(ModelFolderError, match="expected a safetensors file"):
        Translator.load(folder)
    assert build_recipe(translator.recipe.model_dump()) == translator.recipe


def reseal(folder: Path) -> None:
    seal(folder, list(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]))
