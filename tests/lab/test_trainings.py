"""The experiments that train: their judges on results made by hand, and that each of them runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from by_hand import PROBE, plan, result
from quick import try_less

from regard.config import Settings
from regard.errors import UsageError
from regard.lab import trainings
from regard.lab.budget import Budget
from regard.lab.compare import Comparison
from regard.lab.finding import Asked, conduct
from regard.lab.recipes import RECIPES, recipe_named
from regard.lab.statistics import Spread
from regard.lab.summary import _summary
from regard.lab.trainings import SMALL_AND_LARGE, saturation
from regard.trainer import Listener

pytestmark = pytest.mark.usefixtures("unchecked")  # many equal steps: tests/training checks one

TRAINED = ["scaling", "heads", "no-positions", "norm-position", "norms-on-text"]
TINY: Settings = {
    "model": {"layers": 1, "size": 8, "inner": 8},
    "data": {"task_pairs": 20},
    "training": {"valid_pairs": 3, "average": 1},
    "decoding": {"limit_factor": 0.01, "limit_extra": 2},
}


@pytest.fixture
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    try_less(monkeypatch)


def test_recipes_are_found_by_name() -> None:
    assert set(TRAINED) <= set(RECIPES)
    for name, experiment in RECIPES.items():
        assert recipe_named(name) is experiment
        assert experiment.name == name
        assert experiment.rows.startswith("N")
    with pytest.raises(UsageError, match="there is no recipe 'nothing'\n  fix: choose one of scaling"):
        recipe_named("nothing")


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("name", TRAINED)
def test_every_recipe_runs_and_one_seed_decides_nothing(name: str, tmp_path: Path) -> None:
    settings = {**TINY, "data": {"task_pairs": 20, "tokens_per_batch": 300}}
    finding = conduct(RECIPES[name], tmp_path / "out", Asked(settings, 1, Budget(1, "steps")), Listener())
    assert finding.holds is None
    assert finding.claim == RECIPES[name].claim
    rows = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))["summary"]
    assert all(row["variant"] in {cells[0] for cells in finding.tables[-1].rows} for row in rows)


def test_n6_unscaled_scores_have_variance_d_and_saturate() -> None:
    rows = saturation((4, 256)).rows
    small, large = ([float(cell) for cell in row[1:]] for row in rows)
    assert [row[0] for row in rows] == ["4", "256"]
    variance, scaled, weight, weight_scaled, gradient, gradient_scaled = large
    assert variance == pytest.approx(256, rel=0.05)
    assert small[0] == pytest.approx(4, rel=0.05)
    assert scaled == pytest.approx(1, rel=0.05)
    assert weight > 0.9 > 2 * weight_scaled
    assert gradient < 0.5 * gradient_scaled
    assert gradient_scaled == pytest.approx(small[5], rel=0.05)


def test_the_gradient_is_that_of_softmax() -> None:
    scores = torch.tensor([[1.0, 2.0, 4.0]])
    jacobian = torch.autograd.functional.jacobian(lambda row: row.softmax(-1), scores[0])
    assert float(trainings._saturated(scores)[2]) == pytest.approx(float(jacobian.norm()), rel=1e-2)


def judged(
    name: str, numbers: dict[str, tuple[float, float] | None], parameters: dict[str, int]
) -> tuple[bool | None, str]:
    """The verdict of a recipe on a mean and a deviation a variant; None diverged."""
    made = plan(list(numbers), seeds=2)
    spreads = {variant: Spread(*found, 2) for variant, found in numbers.items() if found}
    best = min(spreads.values(), key=lambda spread: spread.mean)
    summaries = []
    for planned in made.planned:
        variant = planned.variant.name
        probe = type(PROBE)(**{**vars(PROBE), "parameters": parameters.get(variant, 1)})
        own = [result(variant, seed, 1.0 if variant in spreads else None) for seed in (1, 2)]
        known = {"wer": spreads[variant]} if variant in spreads else {}
        summaries.append(_summary("wer", type(planned)(planned.variant, 1, None, probe), own, known, best))
    judge = {
        "heads": trainings._judge_heads,
        "no-positions": trainings._judge_positions,
        "scaling": trainings._judge_scaling,
        "norm-position": trainings._judge_norm_position,
        "norms-on-text": trainings._judge_norms,
    }[name]
    return judge(Comparison(made, (), tuple(summaries)))


SMALL, LARGE = SMALL_AND_LARGE
NORMS = [f"layer, {SMALL}", f"layer, {LARGE}", f"batch, {SMALL}", f"batch, {LARGE}"]


@pytest.mark.parametrize(
    ("name", "means", "holds", "said"),
    [
        ("heads", {"1": 20.0, "2": 5.0}, True, "All have 1 parameters"),
        ("heads", {"1": 5.1, "2": 5.0}, None, "within the spread"),
        ("no-positions", {"none": 90.0, "sinusoidal": 1.0}, True, "Without: 90.00 ± 0.10; with: 1.00 ± 0.10"),
        ("no-positions", {"none": 1.0, "sinusoidal": 1.0}, False, "Without"),
        ("scaling", {"d1": 90.0, "d8": 50.0, "s1": 1.0, "s8": 2.0}, True, "loses 89.00 points, eight heads lose 48.00"),
        ("scaling", {"d1": 50.0, "d8": 90.0, "s1": 1.0, "s8": 2.0}, False, "loses 49.00"),
        ("scaling", {"d1": None, "d8": 90.0, "s1": 1.0, "s8": 2.0}, True, "everything (it diverged)"),
        ("norm-position", {"pre": 1.0, "pre0": 2.0, "post": 1.0, "post0": 90.0}, True, "pre-norm loses 1.00 points"),
        ("norm-position", {"pre": 1.0, "pre0": 90.0, "post": 1.0, "post0": 2.0}, False, "post-norm 1.00"),
        ("norm-position", {"pre": 1.0, "pre0": 2.0, "post": 1.0, "post0": None}, True, "post-norm everything"),
        ("norms-on-text", dict(zip(NORMS, [1.0, 1.0, 90.0, 2.0], strict=True)), True, "loses 89.00 points in small"),
        ("norms-on-text", dict(zip(NORMS, [90.0, 1.0, 80.0, 2.0], strict=True)), False, "loses -10.00 points in small"),
    ],
)
def test_n6_n7_n8_n12_n22_are_judged_by_their_numbers(
    name: str, means: dict[str, float | None], holds: bool | None, said: str
) -> None:
    numbers = {variant: None if mean is None else (mean, 0.1) for variant, mean in means.items()}
    found, text = judged(name, numbers, {})
    assert found is holds
    assert said in text


def test_n7_does_not_hold_where_heads_cost_parameters() -> None:
    found, text = judged("heads", {"1": (5.0, 0.1), "2": (50.0, 0.1)}, {"1": 10, "2": 20})
    assert found is False
    assert "differ" in text
