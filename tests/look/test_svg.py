"""Charts as SVG: every point where it belongs, no spike lost, any text and any number."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from regard.look.svg import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, Line, line_chart


def points(svg: str) -> list[list[tuple[float, float]]]:
    """Of each line, in pixels."""
    found = re.findall(r'<polyline[^>]* points="([^"]*)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in found]  # type: ignore[misc]


def labels(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("text")]


def test_points_stand_where_the_axes_say() -> None:
    svg = line_chart("t", [Line("a", ((0, 0), (50, 5), (100, 10)))])
    assert points(svg) == [
        [
            (LEFT, HEIGHT - BOTTOM),
            ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2),
            (WIDTH - RIGHT, TOP),
        ]
    ]
    assert labels(svg) == ["t", "0", "2", "4", "6", "8", "10", "0", "20", "40", "60", "80", "100", "step"]


@pytest.mark.parametrize(
    ("most", "ticks"),
    [(4.2, "0 1 2 3 4 5"), (12_000, "0 2.5k 5k 7.5k 10k 12.5k"), (2e-3, "0 0.0005 0.001 0.0015 0.002")],
)
def test_ticks_are_round(most: float, ticks: str) -> None:
    shown = labels(line_chart("t", [Line("a", ((0, 0.0), (1, most)))]))
    assert shown[1 : 1 + len(ticks.split())] == ticks.split()


def test_no_spike_is_lost_among_many_points() -> None:
    values = [1.0] * 100_000
    values[54_321] = 1000.0
    values[77_777] = -5.0
    [line] = points(line_chart("t", [Line("a", tuple(enumerate(values)))]))
    assert len(line) <= MOST_POINTS
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    heights = sorted(y for _, y in line)
    assert heights[0] < heights[1] - 50
    assert heights[-1] > heights[-2]


@pytest.mark.parametrize(
    "line", [(), ((1, math.nan),), ((1, 5.0),), ((0, 0.0),), ((1, -1.0), (2, -2.0)), ((1, 1e-300), (2, 1e300))]
)
def test_anything_can_be_drawn(line: tuple[tuple[float, float], ...]) -> None:
    svg = line_chart('<b> & "x"', [Line("</svg>", line, dotted=True), Line("b", ((3, 1.0),))])
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in svg
    assert "</svg>" in labels(svg)
