"""What `regard look` looks at, and what it writes: a page, pictures, numbers, and a few lines for the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from regard.errors import DataError, UsageError
from regard.text.lines import STDIN

if TYPE_CHECKING:
    from regard.inside.result import Look
    from regard.translator import Translator

LONGEST_NAME = 40  # characters of a text in a file's name


@dataclass(frozen=True)
class Asked:
    """A text, and what shall stand beside the answer to it: at most one of the four."""

    run: Path
    text: str
    other: str | None = None
    target: str | None = None
    beside: Path | None = None
    without: tuple[str, ...] = ()
    prefix: str = ""


def require_one(given: Mapping[str, object], question: str) -> None:
    """UsageError unless exactly one of these was given."""
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        found = " and ".join(named) or "neither"
        raise UsageError(f"{question}? wanted one of {', '.join(given)}, found {found}", fix="give one of them")


def refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """UsageError for the first of the others that was given: it would do nothing."""
    if named := next((name for name, value in others.items() if value is not None), None):
        raise UsageError(f"{named} means nothing beside {option}", fix=f"leave {named} out")


def looks(asked: Asked, options: Mapping[str, Any], beam: int | None, rank: int) -> list[Look]:
    """One look, or two to compare. UsageError where more than one comparison is asked for."""
    choices = {"TEXT TEXT": asked.other, "--target": asked.target, "--beside": asked.beside, "--without": asked.without}
    wanted = [name for name, value in choices.items() if value]
    if len(wanted) > 1:
        raise UsageError(f"two answers stand side by side, found {' and '.join(wanted)}", fix="choose one of them")
    from regard.inside.interventions import changed, describe, parse
    from regard.translator import Request, Translator

    changes = parse(asked.without)
    translator, text = Translator.load(asked.run), _read(asked.text)

    def seen(text: str, by: Translator = translator, run: Path = asked.run, target: str | None = None) -> Look:
        request = Request(text, prefix="" if target is not None else asked.prefix)
        return by.look(request, options=options, beam=beam, rank=rank, target=target, model=run.resolve().name)

    found = [seen(text)]
    if asked.other is not None:
        found.append(seen(asked.other))
    if asked.target is not None:
        found.append(seen(text, target=asked.target))
    if asked.beside is not None:
        found.append(seen(text, Translator.load(asked.beside), asked.beside))
    if changes:
        with changed(translator, changes):
            found.append(replace(seen(text), changed=describe(changes)))
    return found


def _read(text: str) -> str:
    if text != STDIN:
        return text
    line = sys.stdin.readline()
    if not line.strip():
        raise DataError("standard input is empty", where="stdin", fix="pipe a line in, or give TEXT")
    return line.rstrip("\r\n")


def write(
    found: Sequence[Look],
    *,
    out: Path | None,
    keep: Sequence[str],
    pictures: tuple[Path | None, Path | None],
    part: str,
    words: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Numbers to standard output; or pictures, or the page, and what a terminal can show of it."""
    ways = {"--json": as_json, "--csv": as_csv, "a picture": any(pictures), "--out": out is not None}
    named = [name for name, value in ways.items() if value]
    if len(named) > 1:
        raise UsageError(f"wanted one kind of output, found {' and '.join(named)}", fix="run the command once for each")
    if as_json or as_csv:
        _write_numbers(found, as_csv)
        return
    from regard.folder import write_file
    from regard.look.in_words import in_words

    written = [_drawn(found, path, part, words) for path in pictures if path]
    if not written:
        from regard.inside.page import page

        path = out or Path(f"look-{_file_name(found[0].source.text)}.html")
        write_file(path, page(found, keep=tuple(keep)).encode())
        written = [f"{path}: open it in a browser"]
    typer.echo("\n\n".join([*map(in_words, found), "\n".join(written)]))


def _write_numbers(found: Sequence[Look], as_csv: bool) -> None:
    from regard.cli.streams import lines_out
    from regard.inside.tables import csv_lines

    with lines_out() as file:
        file.writelines(csv_lines(found) if as_csv else (each.to_json() + "\n" for each in found))


def _drawn(found: Sequence[Look], path: Path, part: str, words: bool) -> str:
    from regard.inside.result import PARTS
    from regard.look.attention_grid import save_grid, save_map

    paths = [path, *(path.with_stem(f"{path.stem}-{place}") for place in range(2, len(found) + 1))]
    for look, each in zip(found, paths, strict=True):
        if whole := next((name for name in PARTS if name == part), None):
            save_grid(look, each, whole, words)
        else:
            save_map(look, each, part, words)
    return f"{' and '.join(map(str, paths))}: attention, {part}"


def _file_name(text: str) -> str:
    """Letters and digits of a text, of any script."""
    return re.sub(r"[^\w]+", "-", text).strip("-")[:LONGEST_NAME] or "text"


def show_heads(run: Path, pairs: Path, as_json: bool) -> None:
    """The table of heads, the most important first."""
    from regard.look.heads_table import head_table
    from regard.text.pairs import PairFormat
    from regard.text.shards import open_pairs
    from regard.translator import Translator

    reader = open_pairs([str(pairs)], PairFormat())
    found = head_table(Translator.load(run), reader, tell=lambda text: typer.echo(text, err=True))
    typer.echo(found.to_json() if as_json else found.to_text())
