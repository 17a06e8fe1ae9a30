"""A training that begins with the weights of another model, whose settings and tokenizers come with them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from torch import Tensor

from regard.config import Recipe, Settings, merge
from regard.data.corpus import content_hash
from regard.errors import ModelFolderError, UsageError
from regard.models import build
from regard.models.weights import load_weights
from regard.ready import ready_models
from regard.text.pairs import Pair
from regard.training.journal import Event
from regard.translator import Tokenizers, read_recipe, verified

WEIGHTS = "model.safetensors"
SAMPLE = 2000  # pairs in which unknown tokens are looked for
SHOWN = 10  # of them that are named
EVENT = "beginning"


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
    """The weights to begin with, by name, as float32. ModelFolderError if the model of `recipe` has others."""
    folder = verified(_name(recipe))
    model = build(recipe.model, len(tokenizers.source), len(tokenizers.target))
    try:
        load_weights(model, folder / WEIGHTS)
    except ModelFolderError as error:
        fix = "leave model.* out where it changes the weights: layers, sizes and kinds are those of the model"
        raise ModelFolderError(error.message, where=error.where, fix=fix) from None
    return model.state_dict()


def beginning(pairs: Iterable[Pair], recipe: Recipe, tokenizers: Tokenizers) -> Event | None:
    """What is told of it, with the hash of the weights; None if a recipe begins with none."""
    if not recipe.training.begin_with:
        return None
    text = f"begins with the weights of {recipe.training.begin_with}{_never_seen(pairs, tokenizers)}"
    return {"event": EVENT, "text": text, "content": _content(recipe)}


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


def _never_seen(pairs: Iterable[Pair], tokenizers: Tokenizers) -> str:
    """What stands in `pairs` and not in the vocabularies, in words."""
    sample = list(islice(pairs, SAMPLE))
    sides = {
        "sources": dict.fromkeys(each for pair in sample for each in tokenizers.source.unknown(pair.source)),
        "targets": dict.fromkeys(each for pair in sample for each in tokenizers.target.unknown(pair.target)),
    }
    said = [f"{_some(found)} in the {side}" for side, found in sides.items() if found]
    return f"; it has no tokens for {' and '.join(said)} of the first {len(sample):,} pairs" if said else ""


def _named(settings: Settings) -> str | None:
    name = settings.get("training", {}).get("begin_with")
    return None if name == "none" else name


def _name(recipe: Recipe) -> str:
    assert recipe.training.begin_with is not None, "asked of recipes that begin with a model"
    return recipe.training.begin_with


def _some(found: Iterable[str]) -> str:
    shown = list(islice(found, SHOWN + 1))
    return " ".join(shown[:SHOWN]) + (" …" if len(shown) > SHOWN else "")
