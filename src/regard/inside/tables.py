"""A look's attentions as a table, a line for each weight."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO

from regard.inside.result import PARTS, Attention, Look, Part

COLUMNS = ("look", "part", "layer", "head", "query", "key", "query_token", "key_token", "weight")
RUNS = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # how a cell begins that a spreadsheet may take for a formula


def to_csv(looks: Sequence[Look], parts: Sequence[Part] = tuple(PARTS)) -> str:
    """All of `csv_lines` together."""
    return "".join(csv_lines(looks, parts))


def csv_lines(looks: Sequence[Look], parts: Sequence[Part] = tuple(PARTS)) -> Iterator[str]:
    """COLUMNS, then a line for each weight, those of 0 too; long texts have many, so they come one after another.

    All count from 0, the looks too, as in the names of heads. Weights have the nine digits that a float32 needs. A
    token is data: one that a spreadsheet would run, as it begins with = + - or @, gets an apostrophe in front (and so
    does one that begins with apostrophes and then so: take one apostrophe away from what matches RUNS, and every token
    is as it was). `to_json` has all tokens untouched.
    """
    yield _line(COLUMNS)
    for number, look in enumerate(looks):
        for attention in look.attentions:
            if attention.part in parts:
                yield from _lines(number, attention, *tokens_of(look, attention.part))


def tokens_of(look: Look, part: Part) -> tuple[Sequence[str], Sequence[str]]:
    """Of the queries and of the keys of a part's attentions: a step is named by the token that it writes."""
    source, target = look.source, look.target
    return {
        "encoder": (source.tokens, source.tokens),
        "decoder": (target.tokens, target.inputs),
        "cross": (target.tokens, source.tokens),
    }[part]


def _lines(look: int, attention: Attention, queries: Sequence[str], keys: Sequence[str]) -> Iterator[str]:
    names = [_defused(token) for token in queries], [_defused(token) for token in keys]
    for head, rows in enumerate(attention.weights.tolist()):
        for query, row in enumerate(rows):
            for key, weight in enumerate(row):
                place = look, attention.part, attention.layer, head, query, key
                yield _line((*place, names[0][query], names[1][key], f"{weight:.9g}"))


def _line(cells: Sequence[object]) -> str:
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue()


def _defused(token: str) -> str:
    return f"'{token}" if RUNS.match(token) else token
