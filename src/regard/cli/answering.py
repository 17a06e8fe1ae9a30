"""What `regard translate` writes: answers as text or JSON, with their alignments, warnings, the trace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from regard.inside.result import Alignment
    from regard.text.tokenizer import Tokenizer
    from regard.translator import Translation

# In JSON, of an answer that no model gave.
NO_SCORE = {"lexicon": True, **dict.fromkeys(("score", "log_probability", "length_penalty", "coverage"))}


def write_answers(
    results: Iterable[tuple[Translation, Sequence[Alignment]]],
    out: TextIO,
    steps: TextIO | None,
    shown: int | None,
    target: Tokenizer,
    first: int = 1,
) -> None:
    """Each result as it comes: `shown` answers as text, None: all as JSON; its trace to `steps`; warnings.

    With each result come the alignments of its answers, or none. `first` is the number of the first result's line.
    """
    for number, (result, alignments) in enumerate(results, start=first):
        out.write(as_json(result, alignments) if shown is None else as_text(result, shown, alignments))
        warn(number, result)
        if steps:
            write_trace(steps, number, result, target)


def as_text(result: Translation, n_best: int, alignments: Sequence[Alignment] = ()) -> str:
    """The best answer, or all as SCORE TAB ANSWER lines; then ` ||| ` and its links, if there are alignments."""
    from regard.translator.aligning import pharaoh

    ends = [f" ||| {pharaoh(each)}" for each in alignments] or [""] * len(result.answers)
    if n_best == 1:
        return f"{result.text}{ends[0]}\n"
    return "".join(
        f"{answer.score:.4f}\t{answer.text}{end}\n" for answer, end in zip(result.answers, ends, strict=True)
    )


def as_json(result: Translation, alignments: Sequence[Alignment] = ()) -> str:
    """One object a line."""
    links = [{"alignment": each.links} for each in alignments] or [{}] * len(result.answers)
    answers = [
        {
            "text": answer.text,
            "symbols": answer.symbols,
            "score": answer.score,
            "log_probability": answer.log_probability,
            "log_probabilities": answer.log_probabilities,
            "length_penalty": answer.length_penalty,
            "coverage": answer.coverage,
            "finished": answer.finished,
            "met": answer.met,
            **linked,
            **(NO_SCORE if answer.from_lexicon else {}),
        }
        for answer, linked in zip(result.answers, links, strict=True)
    ]
    line = {"source": result.source, "unknown": result.unknown, "settled": result.settled, "answers": answers}
    return json.dumps(line, ensure_ascii=False) + "\n"


def warn(number: int, result: Translation) -> None:
    """What a reader of the answers alone would not see."""
    best = result.answers[0]
    if result.unknown:
        typer.echo(
            f"warning: line {number}: never seen in training: {' '.join(dict.fromkeys(result.unknown))}", err=True
        )
    if not best.finished:
        typer.echo(f"warning: line {number}: the answer was cut at the limit of its length", err=True)
    if not best.met:
        typer.echo(
            f"warning: line {number}: not all that was required or forbidden could be kept; this is the best", err=True
        )


def write_trace(file: TextIO, number: int, result: Translation, target: Tokenizer) -> None:
    """A JSON line a step, each candidate with its symbol."""
    for step in result.trace:
        candidates = [{**each, "symbol": target.symbols([each["id"]])[0]} for each in step["candidates"]]
        file.write(json.dumps({"line": number, **step, "candidates": candidates}, ensure_ascii=False) + "\n")
