"""README.md of a run folder: what the model is, what it scored, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard import __version__
from regard.config import Recipe
from regard.text.neighbours import NeighbourTokenizer
from regard.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from regard.translator import Translator


def model_card(name: str, translator: Translator, events: Sequence[dict[str, Any]]) -> str:
    """Markdown; every number in it was measured in this run."""
    recipe, (source, target) = translator.recipe, (translator.tokenizers.source, translator.tokenizers.target)
    model = recipe.model
    parameters = sum(parameter.numel() for parameter in translator.model.parameters())
    end = next(event for event in reversed(events) if event["event"] == "end")
    numbers = "\n".join(
        f"| {key} | {value:.4g} |"
        for key, value in end.items()
        if isinstance(value, float) and key not in ("seconds", "in_steps")
    )
    # names alone: a card is shown to others, recipe.toml has the paths
    names = ", ".join(f"`{Path(path).name}`" for path in recipe.data.pairs)
    data = f"the task `{recipe.data.task}`" if recipe.data.task else names
    return f"""# {name}

A {model.encoder_name} encoder with a {model.decoder_name} decoder, {parameters:,} parameters, made by
regard {__version__} from {data}: {end["step"]:,} steps in {end["seconds"] / 60:.1f} minutes{_began(recipe)}; the
weights are those of {end["published"]}.

Source: {source.kind}, {len(source)} tokens. Target: {target.kind}, {len(target)} tokens.{_neighbours(source)}

Measured on the development pairs, {end.get("search", "greedy")} (percent; the loss in nats a token):

| measure | value |
|---|---|
{numbers}

![loss and what decoding measured, by steps](curve.svg)

    regard translate {name} --beam {recipe.decoding.beam}
    regard info {name}

`report.html` shows how it was trained and what it answers; `recipe.toml` holds every setting, `metrics.jsonl` every
event of the training, `machine.jsonl` what of it depends on the machine, `curve.svg` the picture
above (its loss in training counts label smoothing); `regard verify` checks every file against `MANIFEST.json`.
"""


def _neighbours(source: Tokenizer) -> str:
    """Who gives the model away gives these away."""
    if not isinstance(source, NeighbourTokenizer):
        return ""
    return (
        f" A source is read with up to two of {len(source.pairs):,} pairs it was trained on: those that begin and end\n"
        "most like it. All of them stand in `tokenizer/neighbours.jsonl`."
    )


def _began(recipe: Recipe) -> str:
    name = recipe.training.begin_with
    return f", begun with the weights of `{Path(name).name}`" if name else ""
