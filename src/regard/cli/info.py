"""`regard info`: what a model folder is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def info(
    run: Annotated[Path | None, typer.Argument(help="A model folder.")] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting there is, with its meaning.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of text.")] = False,
) -> None:
    """Say what a model is: architecture, sizes, tokenizers, data, how it searches. Or list all settings."""
    from regard.errors import UsageError

    if settings:
        _list_settings(as_json)
        return
    if run is None:
        raise UsageError("name a model folder, or ask for --settings")
    from regard.translator import Translator

    translator = Translator.load(run)
    facts = {
        "folder": str(run),
        "parameters": sum(parameter.numel() for parameter in translator.model.parameters()),
        "source_tokens": len(translator.tokenizers.source),
        "target_tokens": len(translator.tokenizers.target),
    }
    if as_json:
        typer.echo(json.dumps({**facts, "recipe": translator.recipe.model_dump(mode="json")}, ensure_ascii=False))
        return
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' '):16} {value:,}" if isinstance(value, int) else f"{key:16} {value}")
    typer.echo("\n" + translator.recipe.to_toml())


def _list_settings(as_json: bool) -> None:
    from regard.config import known_settings

    described = known_settings()
    if as_json:
        typer.echo(json.dumps([setting.__dict__ for setting in described], ensure_ascii=False))
        return
    for setting in described:
        typer.echo(f"{setting.key:28} {setting.default:22} {setting.meaning}")
