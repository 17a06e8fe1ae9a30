"""Pictures as SVG, in a page or a file of their own: they take its colours, light or dark, and load nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.look.html import KINDS, printable

if TYPE_CHECKING:
    from regard.look.glance import Glance

CELL, LETTER = 16, 7.2  # pixels of a cell of a heat map; width of a letter beside it
LONGEST_LABEL = 12  # letters
FAINT = 0.01  # a weight that is not drawn
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 250, 52, 20, 46, 34  # pixels of a chart and of the margins in it
MOST_POINTS = 400  # of a line
THOUSANDS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
DASHES = ("", "7 4", "2 3", "8 3 2 3")  # of lines whose colours are used up
SMALL, LARGE = 3.0, 6.0  # pixels from the middle of a mark
SHAPES = (  # of marks, from -1 to 1; the first is a circle
    (),
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0.0, -1.1), (1.1, 0.9), (-1.1, 0.9)),
    ((0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)),
    ((0.0, 1.1), (1.1, -0.9), (-1.1, -0.9)),
    (
        *((-0.4, -1.1), (0.4, -1.1), (0.4, -0.4), (1.1, -0.4), (1.1, 0.4), (0.4, 0.4)),
        *((0.4, 1.1), (-0.4, 1.1), (-0.4, 0.4), (-1.1, 0.4), (-1.1, -0.4), (-0.4, -0.4)),
    ),
)


@dataclass(frozen=True)
class Line:
    """A line of a chart: points (x, y) by ascending x, each with a dot if `dotted`, or alone.

    `kind` says its colour, and its dashes where there are more kinds than colours; its place in the chart unless given.
    `thin`: drawn so, as what a mean is of.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    dotted: bool = False
    kind: int | None = None
    thin: bool = False


@dataclass(frozen=True)
class Mark:
    """A point of a scatter: what it stands for, where it is, its colour and shape; `deviation` to both sides of y."""

    name: str
    x: float
    y: float
    kind: int
    deviation: float | None = None
    small: bool = False


def line_chart(
    title: str, lines: Sequence[Line], x_name: str = "step", highest: float | None = None, named: bool = True
) -> str:
    """Lines over a common x, y from 0 (or below it) upwards. Points that are no numbers are left out.

    Of a line with more than MOST_POINTS points the lowest and the highest of each stretch are drawn: no spike is lost.
    What is above `highest` is cut off. Lines that have a name are named under the title, unless not `named`.
    """
    drawn = [_thinned(line.points) for line in lines]
    everything = [point for points in drawn for point in points]
    xs = _ticks(min((x for x, _ in everything), default=0.0), max((x for x, _ in everything), default=1.0))
    most = max((y for _, y in everything), default=1.0)
    ys = _ticks(min((y for _, y in everything), default=0.0), most if highest is None else min(most, highest))
    place = _Scale(xs[0], max((x for x, _ in everything), default=xs[-1]) or xs[-1], ys[0], ys[-1])
    kinds = [number if line.kind is None else line.kind for number, line in enumerate(lines)]
    parts = [_drawn(*each, place) for each in zip(lines, drawn, kinds, strict=True)]
    inside = "".join(parts) if most <= ys[-1] else _cut_off("".join(parts))
    return _framed(title, place, xs, ys, x_name, inside + (_legend(lines) if named else ""))


def scatter_chart(title: str, marks: Sequence[Mark], x_name: str) -> str:
    """Marks over x from 0, so that what is nearly equal looks it; y where they are. Without what is no number."""
    marks = [mark for mark in marks if math.isfinite(mark.x + mark.y + (mark.deviation or 0.0))]
    spreads = [mark.deviation or 0.0 for mark in marks]
    low = min((mark.y - spread for mark, spread in zip(marks, spreads, strict=True)), default=0.0)
    high = max((mark.y + spread for mark, spread in zip(marks, spreads, strict=True)), default=1.0)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    xs = _ticks(0.0, max((mark.x for mark in marks), default=1.0))
    ys = _ticks(max(low - margin, min(low, 0.0)), high + margin, from_zero=False)
    place = _Scale(xs[0], max((mark.x for mark in marks), default=xs[-1]) or xs[-1], ys[0], ys[-1])
    return _framed(title, place, xs, ys, x_name, "".join(_marked(mark, place) for mark in marks))


def legend(names: Sequence[str], marks: bool = False) -> str:
    """The names of kinds 0, 1, ... beside a piece of their line, or their mark: HTML, for all charts of a page."""
    samples = [
        _mark(10, 8, LARGE - 1, kind)
        if marks
        else f'<polyline class="{_class(kind)}" points="0,8 30,8"{_dashes(kind)}/>'
        for kind in range(len(names))
    ]
    entries = [
        f'<li><svg class="chart" viewBox="0 0 {20 if marks else 30} 16" aria-hidden="true">{sample}</svg>'
        f'<span dir="auto">{printable(name)}</span></li>'
        for name, sample in zip(names, samples, strict=True)
    ]
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _framed(title: str, place: _Scale, xs: Sequence[float], ys: Sequence[float], x_name: str, inside: str) -> str:
    """A chart: axes with their ticks, and what is drawn in them."""
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{printable(title)}"><text class="title" x="{LEFT}" y="16">{printable(title)}</text>'
    ]
    parts += [_horizontal(place, y) for y in ys]
    parts += [
        f'<text x="{place.x(x):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{_short(x)}</text>'
        for x in xs
        if x <= place.right
    ]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{printable(x_name)}</text>')
    return "".join([*parts, inside, "</svg>"])


@dataclass(frozen=True)
class _Scale:
    """Numbers to pixels."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = math.ceil(2 * len(finite) / MOST_POINTS)
    if len(finite) <= MOST_POINTS:
        return tuple(finite)
    stretches = [finite[start : start + size] for start in range(0, len(finite), size)]
    ends = [(min(each, key=lambda point: point[1]), max(each, key=lambda point: point[1])) for each in stretches]
    return tuple(point for pair in ends for point in sorted(set(pair)))


def _ticks(least: float, most: float, from_zero: bool = True) -> list[float]:
    """Round numbers from 0 (or below) or from the least value to at least the largest, about six of them."""
    if from_zero:
        least, most = min(0.0, least), max(0.0, most)
    span = (most - least) or 1.0
    rough = span / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    return [step * number for number in range(math.floor(least / step), math.ceil((least + span) / step - 1e-9) + 1)]


def _short(value: float) -> str:
    """2500 as 2.5k."""
    size, letter = next(((size, letter) for size, letter in THOUSANDS if abs(value) >= size), (1.0, ""))
    return f"{value / size:.3g}{letter}"


def _horizontal(place: _Scale, value: float) -> str:
    y = place.y(value)
    return (
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
    )


def _drawn(line: Line, points: Sequence[tuple[float, float]], kind: int, place: _Scale) -> str:
    path = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in points)
    dots = "".join(
        f'<circle class="{_class(kind)}" cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="2.6">'
        f"<title>{printable(line.name)} at {x:,.0f}: {y:.4g}</title></circle>"
        for x, y in (points if line.dotted or len(points) == 1 else ())
    )
    look = f'class="{_class(kind)}{" thin" if line.thin else ""}"{_dashes(kind)}'
    title = f"<title>{printable(line.name)}</title>" if line.name else ""
    return f'<polyline {look} points="{path}">{title}</polyline>{dots}' if points else ""


def _cut_off(inside: str) -> str:
    """An SVG of its own hides what is beyond it; half a line's width is not."""
    x, y, width, height = LEFT - 4, TOP - 2, WIDTH - LEFT - RIGHT + 8, HEIGHT - TOP - BOTTOM + 6
    box = f'x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}"'
    return f"<svg {box}>{inside}</svg>"


def _marked(mark: Mark, place: _Scale) -> str:
    """With a bar from one deviation below to one above."""
    x, spread = place.x(mark.x), mark.deviation or 0.0
    top, bottom = place.y(mark.y + spread), place.y(mark.y - spread)
    ends = "".join(f"M{x - 4:.1f} {y:.1f}h8" for y in (top, bottom))
    bar = f'<path class="{_class(mark.kind)} spread" d="M{x:.1f} {top:.1f}V{bottom:.1f}{ends}"/>' if spread else ""
    title = (
        f"<title>{printable(mark.name)}: {mark.y:.4g}{f' ± {spread:.2g}' if spread else ''} at {mark.x:,.0f}</title>"
    )
    inside = bar + _mark(x, place.y(mark.y), SMALL if mark.small else LARGE, mark.kind)
    return f'<g class="{"small" if mark.small else "large"}">{title}{inside}</g>'


def _mark(x: float, y: float, size: float, kind: int) -> str:
    """Of a shape of its own; when colours come round again, with another one."""
    shape = SHAPES[(kind + kind // KINDS) % len(SHAPES)]
    if not shape:
        return f'<circle class="{_class(kind)}" cx="{x:.1f}" cy="{y:.1f}" r="{size:g}"/>'
    corners = " ".join(f"{x + size * across:.1f},{y + size * down:.1f}" for across, down in shape)
    return f'<polygon class="{_class(kind)}" points="{corners}"/>'


def _class(kind: int) -> str:
    return f"colour{kind % KINDS}"


def _dashes(kind: int) -> str:
    dashes = DASHES[kind // KINDS % len(DASHES)]
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def _legend(lines: Sequence[Line]) -> str:
    """The names in a row under the title."""
    parts, x = [], float(LEFT)
    for number, line in enumerate(lines):
        if not line.name:
            continue
        parts.append(f'<rect class="{_class(number)}" x="{x:.1f}" y="25" width="14" height="4"/>')
        parts.append(f'<text x="{x + 19:.1f}" y="31">{printable(line.name)}</text>')
        x += 19 + 6.6 * len(line.name) + 14
    return "".join(parts)


def heat_map(seen: Glance) -> str:
    """Attention as inline SVG: a row for each symbol of the answer, a column for each one of the source."""
    left = 8 + LETTER * max(len(_cut(symbol)) for symbol in seen.target)
    top = 8 + LETTER * max(len(_cut(symbol)) for symbol in seen.source)
    width, height = left + CELL * len(seen.source) + 4, top + CELL * len(seen.target) + 4
    parts = [
        f'<svg class="heat" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="attention, {len(seen.target)} by {len(seen.source)}">'
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{CELL * len(seen.source)}" '
        f'height="{CELL * len(seen.target)}"/>'
    ]
    for place, symbol in enumerate(seen.source):
        x = left + CELL * (place + 0.7)
        parts.append(f'<text transform="translate({x:.1f} {top - 4:.1f}) rotate(-90)">{printable(_cut(symbol))}</text>')
    for row, (symbol, weights) in enumerate(zip(seen.target, seen.weights, strict=True)):
        y = top + CELL * row
        parts.append(
            f'<text x="{left - 4:.1f}" y="{y + 0.72 * CELL:.1f}" text-anchor="end">{printable(_cut(symbol))}</text>'
        )
        parts += [_cell(left + CELL * place, y, weight) for place, weight in enumerate(weights) if weight >= FAINT]
    return "".join([*parts, "</svg>"])


def _cell(x: float, y: float, weight: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{CELL}" height="{CELL}" fill-opacity="{weight:.2f}"/>'


def _cut(symbol: str) -> str:
    shown = symbol.replace(" ", "␣") or "·"
    return shown if len(shown) <= LONGEST_LABEL else f"{shown[: LONGEST_LABEL - 1]}…"
