"""Charts as SVG: every point where it belongs, no spike lost, any text and any number."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from regard.look.html import KINDS
from regard.look.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    Mark,
    legend,
    line_chart,
    scatter_chart,
)


def points(svg: str) -> list[list[tuple[float, float]]]:
    """Of each line, in pixels."""
    found = re.findall(r'<polyline[^>]* points="([^"]*)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in found]  # type: ignore[misc]


def labels(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("text")]


def test_points_stand_where_the_axes_say() -> None:
    svg = line_chart("t", [Line("", ((0, 0), (50, 5), (100, 10)))])
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
    shown = labels(line_chart("t", [Line("", ((0, 0.0), (1, most)))]))
    assert shown[1 : 1 + len(ticks.split())] == ticks.split()


def test_no_spike_is_lost_among_many_points() -> None:
    values = [1.0] * 100_000
    values[54_321] = 1000.0
    values[77_777] = -5.0
    [line] = points(line_chart("t", [Line("", tuple(enumerate(values)))]))
    assert len(line) <= MOST_POINTS
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    heights = sorted(y for _, y in line)
    assert heights[0] < heights[1] - 50
    assert heights[-1] > heights[-2]


@pytest.mark.parametrize(
    "line", [(), ((1, math.nan),), ((1, 5.0),), ((0, 0.0),), ((1, -1.0), (2, -2.0)), ((1, 1e-300), (2, 1e300))]
)
def test_anything_can_be_drawn(line: tuple[tuple[float, float], ...]) -> None:
    svg = line_chart('<b> & "x"\x00\ufffe', [Line("</svg>", line, dotted=True), Line("b", ((3, 1.0),))])
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in svg
    assert "</svg>" in labels(svg)


def test_lines_with_a_name_are_named_unless_that_is_done_elsewhere() -> None:
    lines = [Line("a", ((0, 0), (1, 1))), Line("", ((0, 0), (1, 1))), Line("c", ((0, 0), (1, 1)))]
    svg = line_chart("t", lines)
    assert labels(svg)[-2:] == ["a", "c"]
    assert re.findall(r'<rect class="colour(.)"', svg) == ["0", "2"]
    assert not {"a", "c"} & set(labels(line_chart("t", lines, named=False)))


def test_what_is_too_high_is_hidden_and_the_rest_fills_the_chart() -> None:
    lines = [Line("a", ((0, 1e6), (1, 3.0))), Line("b", ((0, 4.0), (1, 3.0)))]
    svg = line_chart("t", lines, highest=4.0)
    assert labels(svg)[1:6] == ["0", "1", "2", "3", "4"]
    inner = ElementTree.fromstring(svg).find("svg")
    assert inner is not None
    assert len(inner.findall("polyline")) == 2
    x, y, width, height = map(float, (inner.get("viewBox") or "").split())
    assert LEFT - 5 < x < LEFT < WIDTH - RIGHT < x + width < WIDTH
    assert TOP - 5 < y < TOP < HEIGHT - BOTTOM < y + height < HEIGHT - BOTTOM + 6  # above the numbers of the axis
    assert points(svg)[1][0] == (LEFT, TOP)
    assert ElementTree.fromstring(line_chart("t", lines[1:], highest=4.0)).find("svg") is None


def test_kinds_are_told_apart_by_colours_then_by_dashes() -> None:
    svg = line_chart("t", [Line("a", ((0, 0), (1, 1)), kind=kind, thin=kind == 7) for kind in (0, 7, 12)])
    looks = re.findall(r'<polyline class="([^"]*)"(?: stroke-dasharray="([^"]*)")?', svg)
    assert looks == [("colour0", ""), ("colour1 thin", "7 4"), ("colour0", "2 3")]


def test_marks_stand_where_the_axes_say_with_their_deviation() -> None:
    svg = scatter_chart("t", [Mark("a", 10, 20.0, 0), Mark("b", 20, 24.0, 0, deviation=2.0)], "seconds")
    assert labels(svg) == ["t", "18", "20", "22", "24", "26", "28", "0", "5", "10", "15", "20", "seconds"]
    circles = [
        (float(each.get("cx", 0)), float(each.get("cy", 0))) for each in ElementTree.fromstring(svg).iter("circle")
    ]
    assert [x for x, _ in circles] == [(LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT]
    [bar] = [each.get("d", "") for each in ElementTree.fromstring(svg).iter("path")]
    _, top, bottom = map(float, re.findall(r"[\d.]+", bar)[:3])
    a_unit = (circles[0][1] - circles[1][1]) / 4
    assert circles[1][1] - top == pytest.approx(2 * a_unit, abs=0.2)
    assert bottom - circles[1][1] == pytest.approx(2 * a_unit, abs=0.2)
    assert "<title>b: 24 ± 2 at 20</title>" in svg


@pytest.mark.parametrize(
    "marks",
    [(), (Mark("a", 0.0, 0.0, 0),), (Mark("a", 5.0, 40.0, 3),) * 2, (Mark("<b>", 5.0, -1e9, 99, 1e-9, small=True),)],
)
def test_any_marks_can_be_drawn(marks: tuple[Mark, ...]) -> None:
    svg = scatter_chart('<b> & "x"', [*marks, Mark("no number", 1.0, math.nan, 0)], "</svg>")
    assert len(list(ElementTree.fromstring(svg).iter("g"))) == len(marks)
    assert "nan" not in svg


def test_a_legend_has_a_sample_of_each_kind_as_it_is_drawn() -> None:
    names = [f"<{place}>" for place in range(2 * KINDS)]
    for marks in (True, False):
        entries = ElementTree.fromstring(legend(names, marks)).findall("li")
        assert [entry.findtext("span") for entry in entries] == names
        samples = [next(iter(entry.find("svg") or ())) for entry in entries]
        assert [each.get("class") for each in samples] == [f"colour{place % KINDS}" for place in range(2 * KINDS)]
        looks = {(each.tag, each.get("class"), each.get("points"), each.get("stroke-dasharray")) for each in samples}
        assert len(looks) == 2 * KINDS


def test_a_point_alone_is_seen() -> None:
    svg = line_chart("t", [Line("a", ((4, 2.0),))])
    assert [each.get("cx") for each in ElementTree.fromstring(svg).iter("circle")] == [f"{WIDTH - RIGHT:.1f}"]
