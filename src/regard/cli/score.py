"""`regard score`: a model on a test set."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from regard.cli.models import Mates, Run

if TYPE_CHECKING:
    from regard.metrics.scoring import Score
    from regard.translator import Translator


def score(
    run: Run,
    pairs: Annotated[list[str], typer.Argument(help="The test pairs: one file, or two parallel files.")],
    forced: Annotated[
        bool, typer.Option("--forced", help="Score the targets given: log-probability and perplexity, no search.")
    ] = False,
    alignments: Annotated[str | None, typer.Option(help="A gold file, 0-0 2?1 a line: AER of these pairs.")] = None,
    first: Annotated[int, typer.Option("--align-first", help="What the gold counts from.", min=0, max=1)] = 0,
    by: Annotated[str | None, typer.Option("--align-by", help="Where links are read, such as cross.1.3:next.")] = None,
    units: Annotated[Literal["words", "tokens"] | None, typer.Option("--align-units", help="To be linked.")] = None,
    beam: Annotated[int | None, typer.Option(help="Hypotheses kept; 1 is greedy [default: the recipe's].")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any decoding.KEY=VALUE; `regard info --settings` lists them.")
    ] = None,
    mates: Mates = None,
    weights: Annotated[str | None, typer.Option(help="Of an ensemble, one a model: 2,1,1.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="The same with a head switched off, beside it: encoder.2.5, as `regard look` takes it."),
    ] = None,
    average: Annotated[str, typer.Option(help="An ensemble's: probabilities or log_probabilities.")] = "probabilities",
    batch_size: Annotated[int, typer.Option(help="Sentences decoded, or pairs scored, together.")] = 64,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it is computed.")] = "cpu",
    columns: Annotated[str | None, typer.Option(help="Source and target column, as 1,2 or by header.")] = None,
    separator: Annotated[str, typer.Option(help="What stands between columns.")] = "\t",
    on_bad_line: Annotated[str, typer.Option(help="error, or skip and count.")] = "error",
    worst: Annotated[int, typer.Option(help="How many of the worst answers are shown.", min=0)] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON in place of a table; with --forced an object a pair, totals on stderr.")
    ] = False,
) -> None:
    """Score a model. Where a source has several right answers, both ways of counting are printed, by name."""
    from regard.cli.aligned import GoldFile, score_alignments
    from regard.cli.forced import refuse_search, score_forced
    from regard.cli.searching import load, options
    from regard.metrics.evaluate import evaluate
    from regard.text.pairs import PairFormat
    from regard.text.shards import open_pairs

    what, again = "--alignments" if alignments else "--forced", bool(alignments and forced)
    if forced or alignments:
        refuse_search({"--beam": beam, "--set": settings, "--without": without, "--forced": again}, what)
    chosen = options(settings or [])
    reader = open_pairs(pairs, PairFormat.parse(columns, separator, on_bad_line))
    loaded = partial(load, [run, *(mates or [])], weights, average, device)
    if alignments:
        return score_alignments(loaded(), reader, GoldFile(alignments, first, by, units), batch_size, as_json)
    if forced:
        return score_forced(loaded(), reader, batch_size, as_json)
    test, translator = list(reader), loaded()
    scored = partial(evaluate, translator, test, beam=beam, options=chosen, batch_size=batch_size)
    result = scored()
    changed = _changed(translator, without or (), scored)
    search = translator.decoding(chosen, beam=beam).search
    if as_json:
        facts = {"lines": result.lines, "sources": result.sources, "search": search, "skipped": reader.skipped}
        return typer.echo(json.dumps({**result.values, **facts, **changed, "notes": result.notes}, ensure_ascii=False))
    return _show(result, search, reader.skipped, worst, changed)


def _changed(translator: Translator, without: Sequence[str], scored: Callable[[], Score]) -> dict[str, Any]:
    """In words what was `changed`, and the `changed_values` then; nothing if nothing is asked for."""
    if not without:
        return {}
    from regard.inside.interventions import changed, describe, parse

    changes = parse(without)
    with changed(translator, changes):
        return {"changed": describe(changes), "changed_values": dict(scored().values)}


def _show(result: Score, search: str, skipped: int, worst: int, changed: dict[str, Any]) -> None:
    typer.echo(f"{result.lines:,} lines, {result.sources:,} distinct sources, {search}")
    if skipped:
        typer.echo(f"{skipped:,} lines could not be read and were skipped")
    for name, value in result.values.items():
        typer.echo(f"  {name:14} {value:7.2f}")
    for note in result.notes:
        typer.echo(f"  ({note})")
    shown = [line for line in result.worst(worst) if line.edits]
    if shown:
        typer.echo("furthest from right:")
    for line in shown:
        typer.echo(f"  {line.source}\n    got     {line.hypothesis}\n    wanted  {' | '.join(line.references)}")
    if changed:
        typer.echo(f"with {', '.join(changed['changed'])}:")
        for name, value in changed["changed_values"].items():
            typer.echo(f"  {name:14} {value:7.2f}  ({value - result.values[name]:+.2f})")
