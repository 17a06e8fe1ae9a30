"""`regard check`: what is odd in a corpus, before anyone trains on it."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from regard.text.report import Finding, Report


def check(
    pairs: Annotated[list[str], typer.Argument(help="A file of pairs (TSV, JSONL; - is stdin) or two parallel files.")],
    valid: Annotated[list[str] | None, typer.Option(help="Validation pairs; twice for two parallel files.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="Test pairs; twice for two parallel files.")] = None,
    columns: Annotated[str | None, typer.Option(help="Source and target column: 1,2 or names in line 1.")] = None,
    separator: Annotated[str, typer.Option(help="What stands between columns.")] = "\\t",
    on_bad_line: Annotated[str, typer.Option(help="error: bad lines are wrong; skip: they are left out.")] = "error",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Report what is odd in a corpus: ok, look or wrong. Exit code 2 if something is wrong."""
    from regard.text.pairs import PairFormat
    from regard.text.report import report
    from regard.text.shards import open_pairs

    format = PairFormat.parse(columns, separator, on_bad_line)
    train, *others = (open_pairs(paths, format) if paths else None for paths in (pairs, valid, test))
    assert train is not None  # typer asks for at least one path
    found = report(train, *others)
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    typer.echo(_as_json(found) if as_json else _as_text(found))
    if found.worst == "wrong":
        raise typer.Exit(2)


def _as_json(report: Report) -> str:
    sections = [dataclasses.asdict(finding) for finding in report.sections]
    return json.dumps({"worst": report.worst, "sections": sections}, indent=2)


def _as_text(report: Report) -> str:
    width = max(len(finding.title) for finding in report.sections)
    lines = [line for finding in report.sections for line in _lines(finding, width)]
    return "\n".join([*lines, "", _summary(report)])


def _lines(finding: Finding, width: int) -> list[str]:
    """The finding in a line; its examples below, unless all is well."""
    head = f"{finding.level:<6} {finding.title:<{width}}  {finding.detail}"
    if finding.level == "ok":
        return [head]
    margin = " " * (width + 9)
    return [head, *(margin + line for example in finding.examples for line in example.split("\n"))]


def _summary(report: Report) -> str:
    wrong = sum(finding.level == "wrong" for finding in report.sections)
    look = sum(finding.level == "look" for finding in report.sections)
    if wrong:
        return f"{wrong} wrong, {look} to look at: mend what is wrong before you train."
    return f"{look} to look at: nothing that stops a training." if look else "All is well."
