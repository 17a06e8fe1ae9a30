"""Mean, spread, and what a difference is worth: by hand and against the table in every textbook."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.lab.statistics import Spread, at, margin, mean_line, student, within


def test_mean_and_sample_deviation() -> None:
    assert Spread.of([1.0, 2.0, 3.0, 4.0]) == Spread(2.5, math.sqrt(5 / 3), 4)
    assert Spread.of([7.0]) == Spread(7.0, None, 1)
    assert Spread.of([0.1] * 3).deviation == pytest.approx(0.0, abs=1e-16)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_is_what_the_standard_library_says(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert spread.deviation == pytest.approx(statistics.stdev(values), abs=1e-6)


@pytest.mark.parametrize(
    ("freedom", "t"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (10, 2.2281), (30, 2.0423), (10**6, 1.95997)],
)
def test_student_as_in_the_table(freedom: int, t: float) -> None:
    assert student(freedom) == pytest.approx(t, abs=1e-4)


def test_one_degree_of_freedom_is_cauchys() -> None:
    for t in (0.1, 1.0, 5.0, 100.0):
        assert within(t, 1) == pytest.approx(2 / math.pi * math.atan(t), abs=1e-9)
    assert within(1.5, 2) == pytest.approx(1.5 / math.sqrt(2 + 1.5**2), abs=1e-9)


def test_margin_by_hand() -> None:
    one = Spread(10.0, 1.0, 3)
    # pooled variance 1, of the difference of means 1/3 + 1/3, four degrees of freedom
    assert margin(one, Spread(12.0, 1.0, 3)) == pytest.approx(2.7764 * math.sqrt(2 / 3), abs=1e-3)
    # with many seeds the interval of the mean is narrow, and the spread of single runs is what is left
    assert margin(Spread(10.0, 1.0, 100), Spread(12.0, 1.0, 100)) == pytest.approx(math.sqrt(2))
    # pooled variance (0 + 4) / 2, of the difference 2 (1/2 + 1/2), two degrees of freedom
    assert margin(Spread(0.0, 0.0, 2), Spread(1.0, 2.0, 2)) == pytest.approx(4.3027 * math.sqrt(2), abs=1e-3)
    # unequal numbers: (1 * 1 + 3 * 4) / 4 times (1/2 + 1/4)
    assert margin(Spread(0.0, 1.0, 2), Spread(1.0, 2.0, 4)) == pytest.approx(2.7764 * math.sqrt(3.25 * 0.75), abs=1e-3)


def test_margin_where_nothing_varies_or_nothing_is_known() -> None:
    assert margin(Spread(0.0, 0.0, 3), Spread(5.0, 0.0, 3)) == 0.0
    assert margin(Spread(0.0, 1.0, 3), Spread(5.0, None, 1)) is None


@given(st.floats(0, 10), st.floats(0, 10), st.integers(2, 9), st.integers(2, 9))
def test_margin_is_never_below_the_spread_of_two_runs(one: float, other: float, n: int, m: int) -> None:
    found, turned = margin(Spread(0, one, n), Spread(0, other, m)), margin(Spread(0, other, m), Spread(0, one, n))
    assert found is not None
    assert found >= math.hypot(one, other) or found == pytest.approx(0.0)
    assert found == pytest.approx(turned)


def test_a_line_between_points() -> None:
    line = [(0.0, 1.0), (2.0, 3.0), (2.0, 5.0), (4.0, 5.0)]
    assert [at(line, x) for x in (-1.0, 0.0, 1.0, 3.0, 9.0)] == [1.0, 1.0, 2.0, 5.0, 5.0]


def test_the_mean_of_lines_where_all_have_a_height() -> None:
    assert mean_line([[(0.0, 0.0), (2.0, 2.0)], [(1.0, 3.0), (4.0, 3.0)], []]) == [(1.0, 2.0), (2.0, 2.5)]
    assert mean_line([[], []]) == []
