"""A model folder made small, to be handed on: what is needed to use the model, its weights in 16 bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from regard.config import Recipe
from regard.errors import DataError, ModelFolderError, UsageError
from regard.folder import new_folder, write_new
from regard.inside.choosing import NAME as ALIGNMENT
from regard.models.weights import halved, save_weights
from regard.ready import model_folder
from regard.translator.folders import Tokenizers
from regard.translator.translator import Translator

WEIGHTS, CARD, RECIPE = "model.safetensors", "README.md", "recipe.toml"
NOTE = (
    "The weights in this folder are float16, rounded by `regard shrink`; the files of the run that are not here stayed"
)


class Sizes(NamedTuple):
    """Bytes: of the weights before and after, and of all files of the new folder but its manifest."""

    before: int
    after: int
    folder: int


def shrink(run: str | Path, out: Path, card: Path | None = None) -> Sizes:
    """Writes the model of the folder `run` to the new folder `out`, whole or not at all, its weights as float16.

    There: the recipe, whose files are names without folders, tokenizers, weights, where alignments are read, and as
    README.md the file `card`, None: the run's, without its pictures. ModelFolderError if `run` does not load or float16
    cannot hold a weight, UsageError if `out` exists, DataError for a card that cannot be read, StorageError if the
    folder cannot be written.
    """
    if os.path.lexists(out):
        raise UsageError(f"{out} exists, and is never written over", fix="delete it, or choose another folder")
    run, translator = model_folder(run), Translator.load(run)
    try:
        weights = save_weights(halved(translator.model.state_dict()))
    except ModelFolderError as error:
        raise ModelFolderError(error.message, where=str(run / WEIGHTS), fix=error.fix) from None
    recipe = _without_folders(translator.recipe).to_toml().encode()
    contents = {WEIGHTS: weights, RECIPE: recipe, **_files(run), **_cards(run, card)}

    def write(folder: Path) -> None:
        for name, content in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_new(folder / name, content)

    whole = sum(map(len, contents.values()))
    new_folder(out, write, needed=whole)
    return Sizes((run / WEIGHTS).stat().st_size, len(weights), whole)


def _files(run: Path) -> dict[str, bytes]:
    """What is copied: all that a translator reads beside the weights, and the card."""
    files = {name: (run / name).read_bytes() for name in Tokenizers.names(run)}
    if (run / ALIGNMENT).exists():
        files[ALIGNMENT] = (run / ALIGNMENT).read_bytes()
    return files


def _without_folders(recipe: Recipe) -> Recipe:
    """Where its maker keeps files is nobody else's business, and of no use to them."""
    data, training = recipe.data, recipe.training
    names = {key: tuple(Path(path).name for path in getattr(data, key)) for key in ("pairs", "valid", "alignments")}
    begun = training.begin_with and Path(training.begin_with).name
    return recipe.model_copy(
        update={"data": data.model_copy(update=names), "training": training.model_copy(update={"begin_with": begun})}
    )


def _cards(run: Path, card: Path | None) -> dict[str, bytes]:
    """README.md, if there is to be one."""
    if card:
        return {CARD: _read(card).encode()}
    return {CARD: _card(_read(run / CARD)).encode()} if (run / CARD).exists() else {}


def _read(card: Path) -> str:
    try:
        return card.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fix = "name a text file in UTF-8, which becomes README.md, with --card"
        raise DataError(f"cannot be read: {error}", where=str(card), fix=fix) from None


def _card(text: str) -> str:
    """Without the pictures, which stay with the run; with a note that says so."""
    kept = [line for line in text.split("\n") if not line.startswith("![")]
    return "\n".join(kept) if NOTE in text else "\n".join([*kept, f"{NOTE} there.", ""])
