"""The weights a training begins with: new ones, or another model's, whose settings and tokenizers come with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from regard.config import Recipe, Settings, merge
from regard.data.batches import mix
from regard.data.corpus import content_hash
from regard.errors import ModelFolderError, UsageError
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.models.weights import load_weights
from regard.ready import ready_models
from regard.text.neighbours import NeighbourTokenizer
from regard.text.tokenizer import Tokenizer
from regard.training.journal import Event
from regard.translator import Tokenizers, read_recipe, verified

WEIGHTS = "model.safetensors"
READ = "encoder.embed.table.weight"  # what an encoder knows of each token of a source
SHOWN = 10  # new tokens that are named
EVENT = "beginning"


def new_model(recipe: Recipe, tokenizers: Tokenizers) -> EncoderDecoder:
    """With random weights, which follow from the seed alone."""
    torch.manual_seed(mix(recipe.training.seed))
    return build(recipe.model, len(tokenizers.source), len(tokenizers.target))


def located(settings: Settings) -> Settings:
    """`settings` with `training.begin_with` as a path that leads there from any folder; a model of the package's has
    a name that does.
    """
    name = _named(settings)
    if name is None or name in ready_models():
        return settings
    return merge(settings, {"training": {"begin_with": str(Path(name).absolute())}})


def inherited(settings: Settings) -> Settings:
    """The sections `tokenizer` and `model` of the model that `training.begin_with` names; {} if it names none.

    ModelFolderError if that is no model folder as it was written; UsageError for settings of other tokenizers, whose
    ids the weights would not know.
    """
    name = _named(settings)
    if name is None:
        return {}
    recipe = read_recipe(verified(name))
    tokenizer, given = recipe.tokenizer.model_dump(), settings.get("tokenizer", {})
    if merge(tokenizer, given) != tokenizer:
        raise UsageError(
            "other tokenizer settings than those of the model that the training begins with",
            where=name,
            fix="leave tokenizer.* out: its weights know the tokens of its own tokenizers alone",
        )
    return {"tokenizer": tokenizer, "model": recipe.model.model_dump()}


def first_weights(recipe: Recipe, tokenizers: Tokenizers) -> dict[str, Tensor]:
    """The weights to begin with, by name, as float32: the model's; tokens that it does not know have new ones.

    ModelFolderError if the model of `recipe` has others.
    """
    folder = verified(_name(recipe))
    before = Tokenizers.load(folder)
    model = build(recipe.model, len(before.source), len(before.target))
    try:
        load_weights(model, folder / WEIGHTS)
    except ModelFolderError as error:
        fix = "leave model.* out where it changes the weights: layers, sizes and kinds are those of the model"
        raise ModelFolderError(error.message, where=error.where, fix=fix) from None
    weights = new_model(recipe, tokenizers).state_dict()
    for name, known in model.state_dict().items():
        if name == READ:
            weights[name][list(tokenizers.source.places(before.source))] = known
        else:
            weights[name][tuple(slice(size) for size in known.shape)] = known
    return weights


def beginning(recipe: Recipe, tokenizers: Tokenizers) -> Event | None:
    """What is told of it, with the hash of the weights; None if a recipe begins with none."""
    if not recipe.training.begin_with:
        return None
    before = Tokenizers.load(verified(_name(recipe)))
    sides = {
        "source": _new(before.source, tokenizers.source),
        "target": _new(before.target, tokenizers.target),
    }
    new = "".join(f"; new in the {side}: {tokens}" for side, tokens in sides.items() if tokens)
    return {"event": EVENT, "text": f"begins with the weights of {_name(recipe)}{new}", "content": _content(recipe)}


def _new(before: Tokenizer, now: Tokenizer) -> str:
    """The tokens that a widened tokenizer has more."""
    if isinstance(before, NeighbourTokenizer) and isinstance(now, NeighbourTokenizer):
        before, now = before.plain, now.plain
    new = now.symbols(range(len(before), len(now)))
    return " ".join(new[:SHOWN]) + (f" and {len(new) - SHOWN:,} more" if len(new) > SHOWN else "")


def require_same_weights(events: Iterable[Event], recipe: Recipe) -> None:
    """UsageError if the model that a run began with has other weights by now."""
    began = next(event for event in events if event["event"] == EVENT)
    if began["content"] != _content(recipe):
        raise UsageError(
            "the weights are not those this run began with",
            where=_name(recipe),
            fix="put the old model back, or train a new run",
        )


def _content(recipe: Recipe) -> str:
    return content_hash([verified(_name(recipe)) / WEIGHTS])


def _named(settings: Settings) -> str | None:
    name = settings.get("training", {}).get("begin_with")
    return None if name == "none" else name


def _name(recipe: Recipe) -> str:
    assert recipe.training.begin_with is not None, "asked of recipes that begin with a model"
    return recipe.training.begin_with
