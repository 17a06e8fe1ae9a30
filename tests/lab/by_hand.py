"""Plans and results made by hand, for tests that train nothing."""

from __future__ import annotations

from regard.config import Data
from regard.lab.budget import Budget
from regard.lab.grid import named
from regard.lab.measure import Result
from regard.lab.plan import Plan, Planned
from regard.lab.probe import Probe
from regard.lab.question import Question
from regard.text.pairs import Pair

PROBE = Probe(1_234_567, 5e9, 4000.0, 88_000_000, 0.25, 12, 3_000_000, 12, None)


def plan(names: list[str], metric: str = "wer", seeds: int = 2, varied: tuple[str, ...] = ("model.norm",)) -> Plan:
    question = Question(tuple(named((name, {}) for name in names)), {}, varied, seeds, Budget(600, "seconds"))
    planned = tuple(Planned(variant, 100, 10.0, PROBE) for variant in question.variants)
    pairs = (Pair("a", "b", 1),)
    return Plan(question, planned, metric, 1, "content", Data(task="copy"), 10, "", "regard", pairs)


def result(variant: str, seed: int, value: float | None, metric: str = "wer") -> Result:
    values = {} if value is None else {metric: value, "loss": value / 100}
    curve = (
        {"step": 10, "seconds": 1.0, "loss": 2.0, metric: 90.0},
        {"step": 20, "seconds": 2.0, "loss": 1.0, metric: 50.0},
    )
    fault = "the loss is nan" if value is None else ""
    return Result(variant, seed, fault, values, 0, 600.0, 100, 5e11, 16_000.0, 123.0, curve, (), None)
