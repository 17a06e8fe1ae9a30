"""The pictures of a report: curves and scatters as PNG, for a light and for a dark page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regard.lab.measure import Result
from regard.lab.plan import Plan
from regard.lab.statistics import mean_line
from regard.lab.summary import Summary
from regard.lab.table import heading, varied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by the colour-blind (Okabe and Ito), without the yellow that white paper swallows.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")
WIDTH, LEGEND_ROW = 10.0, 0.22  # inches


@dataclass(frozen=True)
class Theme:
    """Colours of a page."""

    paper: str
    ink: str


THEMES = (Theme("#ffffff", "#1a1c20"), Theme("#16181d", "#d8dbe2"))  # a light page and a dark one, as in html.py


def curves(plan: Plan, results: Sequence[Result]) -> tuple[bytes, bytes]:
    """Loss and metric against step and against time: seeds thin, their mean thick."""
    names = list(dict.fromkeys(("loss", plan.metric)))
    figure = _figure(plan, 0.6 + 3.2 * len(names))
    axes = figure.subplots(len(names), 2, sharex="col", sharey="row", squeeze=False)
    for row, name in zip(axes, names, strict=True):
        for axis, clock in zip(row, ("step", "seconds"), strict=True):
            _draw_curves(axis, plan, results, name, clock)
        row[0].set_ylabel(_with_unit(name))
        row[0].set_ylim(*_limits(results, name))
    axes[-1][0].set_xlabel("step")
    axes[-1][1].set_xlabel("seconds of training")
    _legend(figure, plan)
    return _in_both_themes(figure)


def scatters(plan: Plan, results: Sequence[Result], summaries: Sequence[Summary]) -> tuple[bytes, bytes]:
    """Quality against time and against size: runs small, their mean large with its spread."""
    figure = _figure(plan, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    sizes = {summary.name: float(summary.planned.probe.parameters) for summary in summaries}
    for axis, x_of in ((left, None), (right, sizes)):
        for place, summary in enumerate(summaries):
            _draw_points(axis, plan.metric, place, summary, results, x_of)
    left.set(xlabel="seconds of training", ylabel=_with_unit(plan.metric))
    right.set(xlabel="parameters")
    for axis in (left, right):
        axis.set_xlim(left=0)  # so that what is nearly equal looks it
    right.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    right.locator_params(axis="x", nbins=5)
    _legend(figure, plan, points=True)
    return _in_both_themes(figure)


def _figure(plan: Plan, height: float) -> Figure:
    """Higher by the rows of its legend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(plan.planned) // _legend_columns(plan))
    figure = Figure(figsize=(WIDTH, height + LEGEND_ROW * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_curves(axis: Axes, plan: Plan, results: Sequence[Result], name: str, clock: str) -> None:
    for place, planned in enumerate(plan.planned):
        own = [result for result in results if result.variant == planned.variant.name]
        lines = [[(each[clock], each[name]) for each in result.curve if name in each] for result in own]
        look: dict[str, Any] = {"color": _colour(place), "linestyle": _style(place)}
        if len(lines) > 1:
            for line in filter(None, lines):
                axis.plot(*zip(*line, strict=True), linewidth=0.9, alpha=0.6, **look)
        if mean := mean_line(lines):
            axis.plot(*zip(*mean, strict=True), linewidth=2.2, **look)


def _draw_points(
    axis: Axes, metric: str, place: int, summary: Summary, results: Sequence[Result], x_of: dict[str, float] | None
) -> None:
    if metric not in summary.numbers:
        return
    spread = summary.numbers[metric]
    look: dict[str, Any] = {"color": _colour(place), "marker": _marker(place), "linestyle": "none"}
    own = [result for result in results if result.variant == summary.name and metric in result.values]
    xs = [x_of[summary.name] if x_of else result.seconds for result in own]
    if len(own) > 1:
        axis.plot(xs, [result.values[metric] for result in own], markersize=4, alpha=0.45, **look)
    axis.errorbar(sum(xs) / len(xs), spread.mean, yerr=spread.deviation, markersize=9, capsize=3, **look)


def _with_unit(metric: str) -> str:
    return f"{heading(metric)}, {'nats a token' if metric == 'loss' else 'percent'}"


def _limits(results: Sequence[Result], name: str) -> tuple[float, float]:
    """From 0 to the highest first checkpoint of a run that came to its end: one that ran away hides no other."""
    heights = [max(each[name] for each in result.curve) for result in results if not result.fault and result.curve]
    return 0.0, 1.05 * max(heights, default=1.0) or 1.0


def _legend(figure: Figure, plan: Plan, points: bool = False) -> None:
    from matplotlib.lines import Line2D

    names = [planned.variant.name for planned in plan.planned]
    handles = [
        Line2D([], [], color=_colour(place), linewidth=2.2, **_drawn(place, points)) for place in range(len(names))
    ]
    shown, columns, title = [_short(name) for name in names], _legend_columns(plan), varied(plan)
    legend = figure.legend(handles, shown, loc="outside lower center", ncols=columns, frameon=False, title=title)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)  # a name may hold dollar signs


def _legend_columns(plan: Plan) -> int:
    longest = max(len(_short(planned.variant.name)) for planned in plan.planned)
    return max(1, min(4, 110 // (6 + longest)))


def _drawn(place: int, points: bool) -> dict[str, Any]:
    return {"marker": _marker(place), "linestyle": "none"} if points else {"linestyle": _style(place)}


def _in_both_themes(figure: Figure) -> tuple[bytes, bytes]:
    """PNGs for a light and for a dark page."""
    light, dark = THEMES
    first = _png(figure, light)
    figure.set_layout_engine("none")  # as it was laid out the first time, which takes half of the drawing
    return first, _png(figure, dark)


def _png(figure: Figure, theme: Theme) -> bytes:
    texts = [text for legend in figure.legends for text in (*legend.get_texts(), legend.get_title())]
    for axis in figure.axes:
        axis.set_facecolor(theme.paper)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(theme.ink)
        axis.tick_params(colors=theme.ink)
        axis.grid(color=theme.ink, alpha=0.13)
        texts += [axis.xaxis.label, axis.yaxis.label]
    for text in texts:
        text.set_color(theme.ink)
    stream = io.BytesIO()
    with warnings.catch_warnings():  # a name in a script without glyphs here is drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(stream, format="png", facecolor=theme.paper)
    return stream.getvalue()


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _style(place: int) -> str:
    return STYLES[place // len(COLOURS) % len(STYLES)]


def _marker(place: int) -> str:
    return MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"
