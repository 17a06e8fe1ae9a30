"""Attentions as CSV: every number comes back, and nothing that a token says is run by a spreadsheet."""

from __future__ import annotations

import csv
from io import StringIO

import torch

from regard.inside.result import START, Attention, Look, Search, Side
from regard.inside.tables import COLUMNS, RUNS, csv_lines, to_csv

TOKENS = ("=1+1", "'=x", "''-", "'s", "@SUM(A1)", "+", "\t=", '"', "a,b", "\n", "＝1", "␣dog")


def look(source: tuple[str, ...], target: tuple[str, ...]) -> Look:
    sides = [Side("", each, tuple((place, place + 1) for place in range(len(each)))) for each in (source, target)]
    sizes = {
        "encoder": (len(source), len(source)),
        "decoder": (len(target), len(target)),
        "cross": (len(target), len(source)),
    }
    attentions = tuple(
        Attention(part, layer, torch.randn(2, *size).softmax(-1))  # type: ignore[arg-type]
        for part, size in sizes.items()
        for layer in range(2)
    )
    return Look("m", *sides, Search("greedy", 0.0, 0.0), attentions, ())


def test_every_weight_comes_back_as_it_was() -> None:
    seen = look(("a", "b", "c"), ("x", "y"))
    head, *both = csv.reader(StringIO(to_csv([seen, seen])))
    assert tuple(head) == COLUMNS
    rows = [row[1:] for row in both if row[0] == "0"]
    assert rows == [row[1:] for row in both if row[0] == "1"]
    assert len(rows) == sum(each.weights.numel() for each in seen.attentions)
    read = {
        part: [torch.zeros_like(each.weights) for each in seen.of(part)] for part in ("encoder", "decoder", "cross")
    }  # type: ignore[arg-type]
    names = {"encoder": ("abc", "abc"), "decoder": ("xy", (START, "x")), "cross": ("xy", "abc")}
    for part, layer, number, query, key, query_token, key_token, weight in rows:
        read[part][int(layer)][int(number), int(query), int(key)] = float(weight)
        assert (query_token, key_token) == (names[part][0][int(query)], names[part][1][int(key)])
    for part, layers in read.items():
        for attention, weights in zip(seen.of(part), layers, strict=True):  # type: ignore[arg-type]
            assert torch.equal(attention.weights, weights)


def test_some_parts_alone_and_a_line_at_a_time() -> None:
    seen = look(("a",), ("x",))
    lines = list(csv_lines([seen], ["cross"]))
    assert [line.split(",")[0] for line in lines] == ["look", "0", "0", "0", "0"]
    assert lines[1] == "0,cross,0,0,0,0,x,a,1\n"


def test_what_a_spreadsheet_would_run_has_an_apostrophe_in_front_and_can_be_had_back() -> None:
    written = [row[7] for row in csv.reader(StringIO(to_csv([look(TOKENS, ("x",))], ["cross"]), newline=""))][
        1 : len(TOKENS) + 1
    ]
    assert written[:6] == ["'=1+1", "''=x", "'''-", "'s", "'@SUM(A1)", "'+"]
    assert not any(cell.startswith(tuple("=+-@\t\r\n＝＋－＠")) for cell in written)
    assert tuple(cell[1:] if RUNS.match(cell) else cell for cell in written) == TOKENS
