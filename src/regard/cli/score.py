"""`regard score`: a model on a test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def score(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    pairs: Annotated[list[str], typer.Argument(help="The test pairs: one file, or two parallel files.")],
    beam: Annotated[int | None, typer.Option(help="Hypotheses kept; 1 is greedy [default: the recipe's].")] = None,
    batch_size: Annotated[int, typer.Option(help="Sentences decoded together.")] = 64,
    columns: Annotated[str | None, typer.Option(help="Source and target column, as 1,2 or by header.")] = None,
    separator: Annotated[str, typer.Option(help="What stands between columns.")] = "\t",
    on_bad_line: Annotated[str, typer.Option(help="error, or skip and count.")] = "error",
    worst: Annotated[int, typer.Option(help="How many of the worst answers are shown.", min=0)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of a table.")] = False,
) -> None:
    """Score a model. Where a source has several right answers, both ways of counting are printed, by name."""
    from regard.metrics.evaluate import evaluate
    from regard.text.pairs import PairFormat, PairReader
    from regard.translator import Translator

    reader = PairReader(pairs, PairFormat.parse(columns, separator, on_bad_line))
    test = list(reader)
    translator = Translator.load(run)
    result = evaluate(translator, test, beam=beam, batch_size=batch_size)
    used = translator.recipe.decoding.beam if beam is None else beam
    search = "greedy" if used == 1 else f"beam {used}"
    if as_json:
        facts = {"lines": result.lines, "sources": result.sources, "search": search, "skipped": reader.skipped}
        typer.echo(json.dumps({**result.values, **facts, "notes": result.notes}, ensure_ascii=False))
        return
    typer.echo(f"{result.lines:,} lines, {result.sources:,} distinct sources, {search}")
    if reader.skipped:
        typer.echo(f"{reader.skipped:,} lines could not be read and were skipped")
    for name, value in result.values.items():
        typer.echo(f"  {name:14} {value:7.2f}")
    for note in result.notes:
        typer.echo(f"  ({note})")
    shown = [line for line in result.worst(worst) if line.edits]
    if shown:
        typer.echo("furthest from right:")
    for line in shown:
        typer.echo(f"  {line.source}\n    got     {line.hypothesis}\n    wanted  {' | '.join(line.references)}")
