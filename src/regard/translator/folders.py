"""What a model folder holds beside its weights: tokenizers and the recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from regard.config import Recipe, build_recipe, parse_toml
from regard.errors import ModelFolderError, RecipeError
from regard.folder import MANIFEST, verify
from regard.models import outline
from regard.models.weights import is_halved
from regard.ready import model_folder, names_like, ready_models
from regard.text.neighbours import NeighbourTokenizer, read_pairs_text
from regard.text.tokenizer import Tokenizer, read_text

JOINT, SOURCE, TARGET = (f"tokenizer/{side}tokenizer.json" for side in ("", "source.", "target."))
NEIGHBOURS = "tokenizer/neighbours.jsonl"


@dataclass(frozen=True)
class Tokenizers:
    """The source's and the target's; the same object twice if they are joint."""

    source: Tokenizer
    target: Tokenizer

    def files(self) -> dict[str, bytes]:
        """The files of a model folder that hold them."""
        if self.source is self.target:
            return {JOINT: self.source.to_json().encode()}
        files = {SOURCE: self.source.to_json(), TARGET: self.target.to_json()}
        if isinstance(self.source, NeighbourTokenizer):
            files[NEIGHBOURS] = self.source.pairs_text()
        return {name: text.encode() for name, text in files.items()}

    @staticmethod
    def names(folder: Path) -> tuple[str, ...]:
        """The files of a model folder that hold them: one that is joint, or one a side, and the neighbours if any."""
        if os.path.exists(folder / JOINT):
            return (JOINT,)
        return (SOURCE, TARGET, *([NEIGHBOURS] if os.path.exists(folder / NEIGHBOURS) else []))

    @staticmethod
    def load(folder: Path) -> Tokenizers:
        """From a model folder."""
        return Tokenizers.of({name: read_text(folder / name) for name in Tokenizers.names(folder)}, folder)

    @staticmethod
    def of(files: Mapping[str, str], folder: Path = Path()) -> Tokenizers:
        """The inverse of `files`, whose contents are text; ModelFolderError for what is not ours, as in `folder`."""
        made = {
            name: Tokenizer.from_json(text, where=str(folder / name))
            for name, text in files.items()
            if name != NEIGHBOURS
        }
        if JOINT in made:
            return Tokenizers(made[JOINT], made[JOINT])
        source, target = made[SOURCE], made[TARGET]
        if NEIGHBOURS in files:
            pairs = read_pairs_text(files[NEIGHBOURS], str(folder / NEIGHBOURS))
            source = NeighbourTokenizer(source, target, pairs)
        return Tokenizers(source, target)


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a model folder."""
    path = folder / "recipe.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"cannot be read: {error}", where=str(path)) from None
    try:
        return build_recipe(parse_toml(text, str(path)))
    except RecipeError as error:
        fix = error.fix or "if it names a part of your own, add that before the model is loaded: regard.add_part"
        raise RecipeError(error.message, where=str(path), fix=fix) from None


def verified(run: str | Path) -> Path:
    """The model folder that is meant (see `regard.ready`), when every file of it is as it was written.

    ModelFolderError says what is not, and where there is no such folder, which models come with the package.
    """
    folder = model_folder(run)
    try:
        verify(folder, required=("recipe.toml", "model.safetensors", *Tokenizers.names(folder)))
    except ModelFolderError as error:
        fix = error.fix if os.path.exists(folder / MANIFEST) else "; ".join([error.fix, *_ready(folder)])
        raise ModelFolderError(error.message, where=error.where, fix=fix) from None
    return folder


def _ready(folder: Path) -> list[str]:
    """What comes with the package, for who named a folder that is none."""
    if os.path.isdir(folder) and folder.name in ready_models():
        return [f"the model of that name that comes with the package is {ready_models()[folder.name]}"]
    names = ", ".join(names_like(folder.name))
    return [f"models that come with the package: {names}"] if names else []


def check_size(recipe: Recipe, tokenizers: Tokenizers, folder: Path) -> None:
    """ModelFolderError, before anything is built, if the weights in the file cannot be those the recipe asks for."""
    drawn = outline(recipe.model, len(tokenizers.source), len(tokenizers.target))
    wanted = sum(parameter.nbytes for parameter in drawn.parameters())
    halves = sum(min(parameter.nbytes, 2 * parameter.numel()) for parameter in drawn.parameters())
    path = folder / "model.safetensors"
    found = path.stat().st_size if path.exists() else 0
    if found < wanted and not (found >= halves and is_halved(path)):
        raise ModelFolderError(
            f"the recipe asks for at least {wanted:,} bytes of weights, the file has {found:,}",
            where=str(path),
            fix="the recipe does not belong to these weights; train again or restore recipe.toml",
        )
