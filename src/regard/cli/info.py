"""`regard info`: what a model folder is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.models import HELP
from regard.ready import first_sentence, model_folder, ready_models

if TYPE_CHECKING:
    from regard.text.tokenizer import Tokenizer
    from regard.translator import Translator


def info(
    run: Annotated[Path | None, typer.Argument(help=HELP, parser=model_folder)] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting there is, with its meaning.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="A table of the layers: output, parameters, FLOPs, memory.")
    ] = False,
    length: Annotated[int, typer.Option(min=1, help="Tokens of source and target that --layers counts with.")] = 20,
    depth: Annotated[int, typer.Option(min=0, help="How deep --layers goes into the model.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of text.")] = False,
) -> None:
    """Say what a model is: architecture, sizes, tokenizers, data, how it searches. Or list all settings.

    Without RUN, the models that come with the package.
    """
    from regard.errors import UsageError

    if settings:
        _list_settings(as_json)
        return
    if run is None:
        if layers or not (models := ready_models()):
            raise UsageError("name a model folder, or ask for --settings")
        _list_models(models, as_json)
        return
    from regard.translator import Translator

    translator = Translator.load(run)
    if layers:
        _list_layers(translator, length, depth, as_json)
        return
    from regard.engine import why_not
    from regard.look.summary import kernels
    from regard.models.weights import is_halved

    reason = why_not(translator.model.decoder)
    facts = {
        "folder": str(run),
        "parameters": sum(parameter.numel() for parameter in translator.model.parameters()),
        "weights": "float16, computed in float32" if is_halved(run / "model.safetensors") else "float32",
        "source_tokens": len(translator.tokenizers.source),
        "target_tokens": len(translator.tokenizers.target),
        **_neighbours(translator.tokenizers.source),
        **{f"score_{name}": kernel for name, kernel in kernels(translator.model).items()},
        "decoding": f"the modules' own steps: {reason}" if reason else "the engine's steps",
    }
    if as_json:
        typer.echo(json.dumps({**facts, "recipe": translator.recipe.model_dump(mode="json")}, ensure_ascii=False))
        return
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' '):16} {f'{value:,}' if isinstance(value, int) else value}")
    typer.echo("\n" + translator.recipe.to_toml())


def _neighbours(source: Tokenizer) -> dict[str, str]:
    from regard.text.neighbours import NeighbourTokenizer

    return {"neighbours": f"of {len(source.pairs):,} pairs"} if isinstance(source, NeighbourTokenizer) else {}


def _list_models(models: Mapping[str, Path], as_json: bool) -> None:
    about = {name: first_sentence(folder) for name, folder in models.items()}
    if as_json:
        typer.echo(json.dumps({name: {"folder": str(models[name]), "about": about[name]} for name in models}))
        return
    width = max(map(len, models))
    for name, sentence in about.items():
        typer.echo(f"{name:{width}}  {sentence}".rstrip())


def _list_layers(translator: Translator, length: int, depth: int, as_json: bool) -> None:
    from regard.look.summary import summary

    layers = [layer for layer in summary(translator.model, length, length) if layer.depth <= depth]
    if as_json:
        typer.echo(json.dumps([layer.__dict__ for layer in layers]))
        return
    typer.echo(f"one pair of {length} tokens a side; FLOPs of one pass forward, two a multiply-add; indented: a part")
    typer.echo(f"{'layer':44} {'output':>16} {'parameters':>12} {'FLOPs':>14} {'memory':>12}")
    for layer in layers:
        name = "  " * layer.depth + (layer.name.rpartition(".")[2] or "model")
        shape = "x".join(map(str, layer.output))
        label = f"{name} ({layer.kind})"[:44]
        typer.echo(
            f"{label:44} {shape:>16} {layer.parameters:>12,} {layer.flops:>14,} {layer.memory / 1024:>8,.0f} KiB"
        )


def _list_settings(as_json: bool) -> None:
    from regard.config import known_settings

    described = known_settings()
    if as_json:
        typer.echo(json.dumps([setting.__dict__ for setting in described], ensure_ascii=False))
        return
    for setting in described:
        typer.echo(f"{setting.key:28} {setting.default:22} {setting.meaning}")
