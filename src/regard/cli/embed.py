"""`regard embed`: texts and symbols as the vectors that a model has for them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regard.cli.models import Run

if TYPE_CHECKING:
    from regard.translator import Encoded


def embed(
    run: Run,
    file: Annotated[str, typer.Argument(help="A text file, a sentence a line (.gz, .zst too); - is stdin.")] = "-",
    states: Annotated[bool, typer.Option("--states", help="A vector for each symbol of a line as well.")] = False,
    near: Annotated[str | None, typer.Option(help="The symbols nearest to this one, in place of texts.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="A picture of all symbols in a plane (.png, .svg), in place of texts; needs regard[pictures]."
        ),
    ] = None,
    positions: Annotated[
        Path | None,
        typer.Option(
            help="A picture of the model's positions (.png, .svg), in place of texts; needs regard[pictures]."
        ),
    ] = None,
    side: Annotated[Literal["source", "target"], typer.Option(help="Whose symbols or positions.")] = "source",
    count: Annotated[int, typer.Option(min=1, help="How many neighbours.")] = 10,
) -> None:
    """Vectors: of each line (as JSON lines, the mean of its states), or what the model knows of single symbols."""
    if drawn := [path for path in (picture, positions) if path]:
        from regard.look.heat_map import check_pictures

        check_pictures(*drawn)
    from regard.text.pairs import read_lines
    from regard.translator import Translator

    translator = Translator.load(run)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    if positions is not None:
        from regard.look.positions import position_map, save_positions

        part = translator.model.encoder if side == "source" else translator.model.decoder
        save_positions(position_map(part), positions)
        typer.echo(f"{positions}: the positions of the {side}", err=True)
    if near is None and picture is None and positions is None:
        for encoded in translator.encode_many(read_lines(file)):
            sys.stdout.write(_as_json(encoded, states))
    if near is None and picture is None:
        return
    from regard.look.embeddings import Symbols, save_plane

    symbols = Symbols.of(translator, side)
    if near is not None:
        for name, cosine in symbols.nearest(near, count):
            typer.echo(f"{cosine:7.4f}\t{name}")
    if picture is not None:
        save_plane(symbols.names, symbols.vectors, picture, f"{side} symbols of {run.name}")
        typer.echo(f"{picture}: {len(symbols.names)} symbols", err=True)


def _as_json(encoded: Encoded, states: bool) -> str:
    line = {"text": encoded.text, "symbols": encoded.symbols, "vector": encoded.pooled.tolist()}
    return json.dumps(line | ({"states": encoded.states.tolist()} if states else {}), ensure_ascii=False) + "\n"
