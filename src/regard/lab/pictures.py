"""The pictures of a report: curves and scatters as SVG, which takes the colours of a light or a dark page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from regard.lab.measure import Result
from regard.lab.plan import Plan
from regard.lab.statistics import mean_line
from regard.lab.summary import Summary
from regard.lab.table import heading
from regard.look.svg import Line, Mark, legend, line_chart, scatter_chart


def curves(plan: Plan, results: Sequence[Result]) -> str:
    """Loss and metric against FLOPs and against time: seeds thin, their mean thick."""
    charts = [
        line_chart(
            _with_unit(name),
            list(_lines(plan, results, name, clock)),
            x_name=x_name,
            highest=_highest(results, name),
            named=False,
        )
        for name in dict.fromkeys(("loss", plan.metric))
        for clock, x_name in (("flops", "FLOPs"), ("seconds", "seconds of training"))
    ]
    return _side_by_side(charts, legend(_names(plan)))


def scatters(plan: Plan, results: Sequence[Result], summaries: Sequence[Summary]) -> str:
    """Quality against time and against size: runs small, their mean large with its spread."""
    sizes = {summary.name: float(summary.planned.probe.parameters) for summary in summaries}
    charts = [
        scatter_chart(
            _with_unit(plan.metric),
            [
                mark
                for kind, summary in enumerate(summaries)
                for mark in _marks(plan.metric, kind, summary, results, x_of)
            ],
            x_name=x_name,
        )
        for x_of, x_name in ((None, "seconds of training"), (sizes, "parameters"))
    ]
    return _side_by_side(charts, legend(_names(plan), marks=True))


def _lines(plan: Plan, results: Sequence[Result], name: str, clock: str) -> Iterator[Line]:
    """The means after all seeds: what is drawn last is seen best."""
    means = []
    for kind, planned in enumerate(plan.planned):
        variant = planned.variant.name
        own = [result for result in results if result.variant == variant]
        of, unit = ("step", planned.probe.step_flops) if clock == "flops" else (clock, 1.0)
        lines = [[(each[of] * unit, each[name]) for each in result.curve if name in each] for result in own]
        if len(lines) > 1:
            for result, line in zip(own, lines, strict=True):
                yield Line(f"{variant}, seed {result.seed}", tuple(line), kind=kind, thin=True)
        means.append(Line(variant, tuple(mean_line(lines)), kind=kind))
    yield from means


def _marks(
    metric: str, kind: int, summary: Summary, results: Sequence[Result], x_of: dict[str, float] | None
) -> Iterator[Mark]:
    if metric not in summary.numbers:
        return
    own = [result for result in results if result.variant == summary.name and metric in result.values]
    xs = [x_of[summary.name] if x_of else result.seconds for result in own]
    if len(own) > 1:
        for x, result in zip(xs, own, strict=True):
            yield Mark(f"{summary.name}, seed {result.seed}", x, result.values[metric], kind, small=True)
    spread = summary.numbers[metric]
    yield Mark(summary.name, sum(xs) / len(xs), spread.mean, kind, spread.deviation)


def _highest(results: Sequence[Result], name: str) -> float:
    """Of all checkpoints of the runs that came to their end: one that ran away hides no other."""
    heights = [max(each[name] for each in result.curve) for result in results if not result.fault and result.curve]
    return max(heights, default=1.0) or 1.0


def _with_unit(metric: str) -> str:
    return f"{heading(metric)}, {'nats a token' if metric == 'loss' else 'percent'}"


def _names(plan: Plan) -> list[str]:
    return [planned.variant.name for planned in plan.planned]


def _side_by_side(charts: Sequence[str], names: str) -> str:
    inside = "".join(f"<figure>{chart}</figure>" for chart in charts)
    return f'{names}<div class="charts">{inside}</div>'
