"""`regard translate`: lines in, as many lines out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from regard.translator import Translation


def translate(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    file: Annotated[str, typer.Argument(help="A text file, a sentence a line (.gz, .zst too); - is stdin.")] = "-",
    beam: Annotated[int | None, typer.Option(help="Hypotheses kept; 1 is greedy [default: the recipe's].")] = None,
    n_best: Annotated[int, typer.Option(help="Answers a line, as SCORE TAB ANSWER lines, best first.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Sentences decoded together.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with scores and symbols.")] = False,
) -> None:
    """Translate a file or stdin. One line out for each line in; a blank line stays blank."""
    from regard.text.pairs import read_lines
    from regard.translator import Translator

    translator = Translator.load(run)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    results = translator.translate(read_lines(file), beam=beam, n_best=n_best, batch_size=batch_size)
    try:
        for number, result in enumerate(results, start=1):
            sys.stdout.write(_as_json(result) if as_json else _as_text(result, n_best))
            _warn(number, result)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away, as `head` does; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_text(result: Translation, n_best: int) -> str:
    if n_best == 1:
        return result.text + "\n"
    return "".join(f"{answer.score:.4f}\t{answer.text}\n" for answer in result.answers)


def _as_json(result: Translation) -> str:
    answers = [
        {
            "text": answer.text,
            "symbols": answer.symbols,
            "score": answer.score,
            "log_probability": answer.log_probability,
            "finished": answer.finished,
        }
        for answer in result.answers
    ]
    line = {"source": result.source, "unknown": result.unknown, "answers": answers}
    return json.dumps(line, ensure_ascii=False) + "\n"


def _warn(number: int, result: Translation) -> None:
    """What a reader of the answers alone would not see."""
    if result.unknown:
        typer.echo(
            f"warning: line {number}: never seen in training: {' '.join(dict.fromkeys(result.unknown))}", err=True
        )
    if not result.answers[0].finished:
        typer.echo(f"warning: line {number}: the answer was cut at the limit of its length", err=True)
