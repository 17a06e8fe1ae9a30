"""All runs of a variant in one row, and how it stands against the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regard.lab.measure import Result
from regard.lab.plan import Plan, Planned
from regard.lab.statistics import Spread, margin

LOWER_IS_BETTER = ("loss", "wer", "per", "ter")
SECOND = {"wer": "per", "bleu": "chrf", "chrf": "bleu"}  # what is shown beside the metric that judges
RUN_NUMBERS = ("seconds", "steps", "flops", "tokens_per_second", "sentences_per_second")


@dataclass(frozen=True)
class Summary:
    """A variant over its seeds.

    `numbers`: mean and spread of everything measured, by name, over the runs that came to their end. `behind`: how much
    worse than the best variant its metric is, 0.0 for the best; `margin`: how much of that says nothing. None where
    not known.
    """

    planned: Planned
    runs: int
    diverged: int
    numbers: dict[str, Spread]
    behind: float | None
    margin: float | None

    @property
    def name(self) -> str:
        """The variant's."""
        return self.planned.variant.name

    @property
    def is_clear(self) -> bool:
        """Whether it is worse than the best by more than the spread."""
        return self.behind is not None and self.margin is not None and self.behind > self.margin

    def record(self) -> dict[str, Any]:
        """A flat row for CSV and JSON."""
        row: dict[str, Any] = {"variant": self.name, "runs": self.runs, "diverged": self.diverged}
        for name, spread in self.numbers.items():
            row |= {name: spread.mean, f"{name}_deviation": spread.deviation}
        row |= {"behind": self.behind, "margin": self.margin, **asdict(self.planned.probe)}
        return row


def summarise(plan: Plan, results: Sequence[Result]) -> list[Summary]:
    """A summary a variant, in the order of the question. Variants without a finished run are not compared."""
    rows = []
    for planned in plan.planned:
        own = [result for result in results if result.variant == planned.variant.name]
        rows.append((planned, own, _spreads([result for result in own if result.values])))
    finished = [numbers[plan.metric] for _, _, numbers in rows if plan.metric in numbers]
    best = min(finished, key=lambda spread: _sign(plan.metric) * spread.mean, default=None)
    return [_summary(plan.metric, planned, own, numbers, best) for planned, own, numbers in rows]


def _summary(
    metric: str, planned: Planned, own: Sequence[Result], numbers: dict[str, Spread], best: Spread | None
) -> Summary:
    diverged = sum(bool(result.fault) for result in own)
    if best is None or metric not in numbers:
        return Summary(planned, len(own), diverged, numbers, None, None)
    mine = numbers[metric]
    behind = _sign(metric) * (mine.mean - best.mean)
    return Summary(planned, len(own), diverged, numbers, behind, 0.0 if mine is best else margin(mine, best))


def _spreads(results: Sequence[Result]) -> dict[str, Spread]:
    """By name; what some runs have no number for is left out."""
    rows = [{**result.values, **{name: getattr(result, name) for name in RUN_NUMBERS}} for result in results]
    names = [name for name in rows[0] if all(row.get(name) is not None for row in rows)] if rows else []
    return {name: Spread.of([row[name] for row in rows]) for name in names}


def _sign(metric: str) -> float:
    return 1.0 if metric in LOWER_IS_BETTER else -1.0


def verdict(summary: Summary, all_of_them: Sequence[Summary]) -> str:
    """How a variant stands, in a few words; with the spread where that is known."""
    lost = f"{summary.diverged} of {summary.runs} diverged" if summary.diverged else ""
    if summary.behind is None:
        return lost or ("no run yet" if not summary.runs else "not compared")
    return ", ".join(part for part in (_standing(summary, all_of_them), lost) if part)


def _standing(summary: Summary, all_of_them: Sequence[Summary]) -> str:
    assert summary.behind is not None
    unknown = "one seed: no spread known" if summary.runs == 1 else "no spread known"
    if summary.margin is None:
        return f"{summary.behind:.2f} worse; {unknown}"
    if summary.behind == 0.0:
        rivals = [other for other in all_of_them if other is not summary and other.behind is not None]
        if any(other.margin is None for other in rivals):
            return f"best; {unknown}"
        close = sum(not other.is_clear for other in rivals)
        return f"best, {close} within the spread" if close else "best"
    if summary.is_clear:
        return f"{summary.behind:.2f} worse"
    return f"{summary.behind:.2f} worse, within the spread ({summary.margin:.2f})"
