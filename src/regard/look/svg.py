"""Pictures inside a page, as SVG: they take its colours, light or dark, and load nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from regard.look.glance import Glance
from regard.look.html import printable

CELL, LETTER = 16, 7.2  # pixels of a cell of a heat map; width of a letter beside it
LONGEST_LABEL = 12  # letters
FAINT = 0.01  # a weight that is not drawn
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 250, 52, 20, 46, 34  # pixels of a chart and of the margins in it
MOST_POINTS = 400  # of a line
THOUSANDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Line:
    """A line of a chart: points (x, y) by ascending x, each with a dot if `dotted`."""

    name: str
    points: tuple[tuple[float, float], ...]
    dotted: bool = False


def line_chart(title: str, lines: Sequence[Line], x_name: str = "step") -> str:
    """Lines over a common x, y from 0 (or below it) upwards. Points that are no numbers are left out.

    Of a line with more than MOST_POINTS points the lowest and the highest of each stretch are drawn: no spike is lost.
    """
    drawn = [Line(line.name, _thinned(line.points), line.dotted) for line in lines]
    everything = [point for line in drawn for point in line.points]
    xs = _ticks(min((x for x, _ in everything), default=0.0), max((x for x, _ in everything), default=1.0))
    ys = _ticks(min((y for _, y in everything), default=0.0), max((y for _, y in everything), default=1.0))
    right = max((x for x, _ in everything), default=xs[-1]) or xs[-1]
    place = _Scale(xs[0], right, ys[0], ys[-1])
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{printable(title)}">'
        f'<text class="title" x="{LEFT}" y="16">{printable(title)}</text>'
    ]
    parts += [_horizontal(place, y) for y in ys]
    parts += [
        f'<text x="{place.x(x):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{_short(x)}</text>'
        for x in xs
        if x <= right
    ]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{printable(x_name)}</text>')
    parts += [_drawn(line, number, place) for number, line in enumerate(drawn)]
    return "".join([*parts, _legend(lines), "</svg>"])


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


def _ticks(least: float, most: float) -> list[float]:
    """Round numbers from 0 (or below) to at least the largest value, about six of them."""
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


def _drawn(line: Line, number: int, place: _Scale) -> str:
    path = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in line.points)
    dots = "".join(
        f'<circle class="colour{number}" cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="2.6">'
        f"<title>{printable(line.name)} at {x:,.0f}: {y:.4g}</title></circle>"
        for x, y in (line.points if line.dotted else ())
    )
    return f'<polyline class="colour{number}" points="{path}"/>{dots}' if line.points else ""


def _legend(lines: Sequence[Line]) -> str:
    """The names in a row under the title; nothing where one line needs none."""
    parts, x = [], float(LEFT)
    for number, line in enumerate(lines if len(lines) > 1 else ()):
        parts.append(f'<rect class="colour{number}" x="{x:.1f}" y="25" width="14" height="4"/>')
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
