"""`regard translate`: lines in, as many lines out."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from regard.translator import Translation


def translate(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    file: Annotated[str, typer.Argument(help="A text file, a sentence a line (.gz, .zst too); - is stdin.")] = "-",
    beam: Annotated[int | None, typer.Option(help="Hypotheses kept; 1 is greedy [default: the recipe's].")] = None,
    n_best: Annotated[int | None, typer.Option(help="Answers a line, as SCORE TAB ANSWER lines, best first.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any decoding.KEY=VALUE; `regard info --settings` lists them.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw answers: decoding.strategy=sampling.")] = False,
    mbr: Annotated[str | None, typer.Option(help="Draw --samples and give those of least risk by this metric.")] = None,
    samples: Annotated[int, typer.Option(help="How many --mbr draws.", min=1, max=1000)] = 32,
    alternatives: Annotated[
        int | None, typer.Option(help="What else could follow the prefix: this many answers, each greedy from there.")
    ] = None,
    mates: Annotated[
        list[Path] | None, typer.Option("--with", help="Another model of an ensemble; may be repeated.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Of an ensemble, one a model: 2,1,1.")] = None,
    average: Annotated[str, typer.Option(help="An ensemble's: probabilities or log_probabilities.")] = "probabilities",
    prefix: Annotated[str, typer.Option(help="How every answer begins.")] = "",
    require: Annotated[list[str] | None, typer.Option(help="A phrase that every answer holds; repeatable.")] = None,
    forbid: Annotated[list[str] | None, typer.Option(help="A phrase that no answer holds; repeatable.")] = None,
    glossary: Annotated[
        str | None, typer.Option(help="SOURCE TAB TARGET lines: the target is required where the source term stands.")
    ] = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="Lines are JSON: text, prefix, required, forbidden.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="The same bits of the scores in any batch; slow.")] = False,
    batch_size: Annotated[int, typer.Option(help="Sentences decoded together.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with scores and symbols.")] = False,
    trace: Annotated[Path | None, typer.Option(help="Write the search, step by step, as JSON lines.")] = None,
) -> None:
    """Translate a file or stdin. One line out for each line in; a blank line stays blank."""
    from regard.cli.answering import write_answers
    from regard.cli.asking import requests as asked
    from regard.cli.searching import load, options
    from regard.cli.streams import lines_out, located
    from regard.text.pairs import read_lines

    chosen = options(settings or [], sample, exact, mbr, alternatives)
    wanted: dict[str, Any] = {
        "prefix": prefix,
        "require": require or [],
        "forbid": forbid or [],
        "glossary": glossary,
    }
    lines = asked(read_lines(file), file, as_json=requests, **wanted)
    translator = load([run, *(mates or [])], weights, average)
    drawn = samples if mbr else alternatives or n_best
    results: Iterable[Translation] = translator.translate(
        lines, beam=beam, n_best=drawn, options=chosen, batch_size=batch_size, trace=trace is not None
    )
    if mbr:
        from regard.metrics.risk import least_risk

        results = (least_risk(result, mbr, n_best or 1) for result in results)
    shown = (n_best or 1) if mbr else translator.decoding(chosen, beam=beam, n_best=drawn).n_best
    with lines_out() as out, located(file), trace.open("w", encoding="utf-8") if trace else nullcontext() as steps:
        write_answers(results, out, steps, None if as_json else shown, translator.tokenizers.target)
