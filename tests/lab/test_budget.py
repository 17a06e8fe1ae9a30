"""What a run may spend."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import UsageError
from regard.lab.budget import MOST_STEPS, SPARE, Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("10m", Budget(600, "seconds")),
        ("90s", Budget(90, "seconds")),
        ("90 s", Budget(90, "seconds")),
        ("1.5h", Budget(5400, "seconds")),
        ("500steps", Budget(500, "steps")),
        ("1e3steps", Budget(1000, "steps")),
        ("1e15flops", Budget(1e15, "flops")),
        ("2.5e+12flops", Budget(2.5e12, "flops")),
    ],
)
def test_reads_amounts_with_units(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10 min", "-5m", "0s", "0.0h", "1.5steps", "1e400flops", "nanm", "10m5s", "2e9steps", "١٠m"]
)
def test_refuses_the_rest_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="--budget wants"):
        parse_budget(text)


amounts = st.floats(min_value=1e-3, max_value=1e18, allow_nan=False)
prices = st.floats(min_value=1e-6, max_value=1e18, allow_nan=False)


@given(amounts, st.sampled_from(["seconds", "flops"]))
def test_written_and_read_again_it_is_the_same(amount: float, unit: str) -> None:
    rounded = float(f"{amount:.15g}")
    budget = Budget(rounded, unit)  # type: ignore[arg-type]
    assert parse_budget(str(budget)) == budget


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_a_usage_error(text: str) -> None:
    try:
        budget = parse_budget(text)
    except UsageError:
        return
    assert 0 < budget.amount < float("inf")


@given(amounts, prices)
def test_the_steps_are_as_many_as_the_flops_pay_for(amount: float, price: float) -> None:
    budget = Budget(amount, "flops")
    if price > amount:
        with pytest.raises(UsageError, match="does not pay for one step"):
            budget.steps(1.0, price)
        return
    steps = budget.steps(1.0, price)
    assert Fraction(steps) * Fraction(price) <= Fraction(amount)
    assert steps == MOST_STEPS or Fraction(steps + 1) * Fraction(price) > Fraction(amount)


def test_steps_are_steps_whatever_they_cost() -> None:
    assert Budget(7, "steps").steps(1e9, 1e30) == 7
    assert Budget(7, "steps").minutes is None


def test_time_ends_by_the_clock_and_has_steps_to_spare() -> None:
    budget = Budget(60, "seconds")
    assert budget.minutes == 1.0
    assert budget.steps(0.1, 1.0) == int(600 * SPARE)
    assert budget.steps(1e6, 1.0) == 1  # one step is always taken
