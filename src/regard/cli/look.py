"""`regard look`: how a model came to its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.models import Run
from regard.ready import model_folder


def look(
    run: Run,
    text: Annotated[str | None, typer.Argument(help="What the model is given; - reads a line of stdin.")] = None,
    other: Annotated[str | None, typer.Argument(help="Another text, to stand beside the first.")] = None,
    target: Annotated[
        str | None, typer.Option(help="An answer to stand beside the model's own: what does it think of this one?")
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(help="Another model, or a checkpoint, to stand beside the first.", parser=model_folder),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Beside it the same with a head switched off: encoder.2.5, cross.1 (all heads of a layer); "
            "decoder.0.1=0.5 scales, cross.0.2=uniform (previous, diagonal, first) patches. Repeatable."
        ),
    ] = None,
    beam: Annotated[int | None, typer.Option(help="Hypotheses kept; 1 is greedy [default: the recipe's].")] = None,
    rank: Annotated[int, typer.Option(help="Which answer: 1 is the best, 2 the next.", min=1)] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any decoding.KEY=VALUE; `regard info --settings` lists them.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="How the answer begins.")] = "",
    out: Annotated[Path | None, typer.Option(help="The page [default: look-TEXT.html].")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="In the page of a long text keep these: cross, encoder.2, decoder.1.3.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="A picture of --part, in place of the page; needs regard[pictures].")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="The same as SVG.")] = None,
    part: Annotated[
        str, typer.Option(help="Of a picture: all heads of encoder, decoder or cross; the mean of cross.1; cross.1.3.")
    ] = "cross",
    words: Annotated[bool, typer.Option("--words", help="A picture between words in place of tokens.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON, in place of the page.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="All weights as CSV, in place of the page.")] = False,
    heads: Annotated[
        Path | None, typer.Option(help="Pairs: what each head does, and what these lose without it. No TEXT then.")
    ] = None,
) -> None:
    """Show how a model came to its answer: every attention and every choice, on a page that opens anywhere."""
    if drawn := [path for path in (png, svg) if path]:
        from regard.look.heat_map import check_pictures

        check_pictures(*drawn)
    from regard.cli.looking import Asked, looks, refuse_beside, require_one, show_heads, write
    from regard.cli.searching import options

    require_one({"TEXT": text, "--heads": heads}, "what shall be looked at")
    if heads is not None:
        others = {"--out": out, "--png": png, "--svg": svg, "--csv": as_csv or None, "--without": without}
        refuse_beside("--heads", {**others, "--target": target, "--beside": beside, "--keep": keep})
        show_heads(run, heads, as_json)
        return
    asked = Asked(run, text or "", other, target, beside, tuple(without or ()), prefix)
    found = looks(asked, options(settings or []), beam, rank)
    pictures = (png, svg)
    write(found, out=out, keep=keep or (), pictures=pictures, part=part, words=words, as_json=as_json, as_csv=as_csv)
