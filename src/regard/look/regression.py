"""Kernel regressions as a picture: what they predict, and where they look for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.attention.pooling import NadarayaWatson
from regard.errors import UsageError
from regard.look.heat_map import check_pictures, draw_heat_map, new_figure, save_figure, shown

COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee", "#ccbb44")  # told apart by colour-blind eyes too
ASKED = 101  # places that a prediction is drawn at


def save_regression(
    regressions: Mapping[str, NadarayaWatson], truth: Callable[[Tensor], Tensor] | None, path: Path
) -> None:
    """A PNG or SVG: points, truth and each prediction on the left, the weights of each regression beside them.

    A heat map has a row for each place that is asked about and a column for each training point, both in ascending
    order, in the same colours. `truth` gets places [M] and returns [M].
    UsageError without matplotlib, for no regressions, for such as have other points than the first or more than one
    feature; StorageError.
    """
    check_pictures(path)
    _check(regressions)
    x, y = (values.detach().flatten() for values in _points(next(iter(regressions.values()))))
    low, high = x.min().item(), x.max().item()
    margin = 0.0 if high > low else 0.5
    asked = torch.linspace(low - margin, high + margin, ASKED, dtype=x.dtype, device=x.device)
    answers = {name: _ask(regression, asked) for name, regression in regressions.items()}
    figure = new_figure(5.0 + 3.0 * len(regressions), 4.2)
    fit, *maps = figure.subplots(1, 1 + len(regressions), width_ratios=[1.7, *[1.0] * len(regressions)])
    _draw_fit(fit, x, y, asked, truth, {name: predicted for name, (predicted, _) in answers.items()})
    order = x.argsort()
    highest = max(weights.max().item() for _, weights in answers.values())
    for axis, (name, (_, weights)) in zip(maps, answers.items(), strict=True):
        image = draw_heat_map(
            axis,
            weights[:, order].tolist(),
            rows=_numbers(asked),
            columns=_numbers(x[order]),
            row_name="x asked about" if axis is maps[0] else "",
            column_name="x of training point",
            highest=highest,
            upward=True,
            colour_bar=False,
            most_labels=4,
        )
        axis.set_title(f"{shown(name)}\nwidth {regressions[name].width:.3g}", parse_math=False)
        axis.tick_params(labelleft=axis is maps[0])
    figure.colorbar(image, ax=maps, label="weight")
    save_figure(figure, path)


def _draw_fit(
    axis: Any, x: Tensor, y: Tensor, asked: Tensor, truth: Callable[[Tensor], Tensor] | None, lines: dict[str, Tensor]
) -> None:
    axis.plot(x.tolist(), y.tolist(), "o", color="#bbbbbb", markersize=4, label="training points")
    if truth is not None:
        axis.plot(asked.tolist(), truth(asked).tolist(), "--", color="black", linewidth=1.2, label="truth")
    for i, (name, predicted) in enumerate(lines.items()):
        label = shown(name).lstrip("_")  # matplotlib hides a label that starts with "_"
        axis.plot(asked.tolist(), predicted.tolist(), color=COLOURS[i % len(COLOURS)], linewidth=2, label=label)
    axis.set(xlabel="x", ylabel="y", title="prediction")
    for text in axis.legend(frameon=False).get_texts():
        text.set_parse_math(False)
    axis.locator_params(axis="x", nbins=6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)


def _points(regression: NadarayaWatson) -> tuple[Tensor, Tensor]:
    return regression.x, regression.y


@torch.no_grad()
def _ask(regression: NadarayaWatson, asked: Tensor) -> tuple[Tensor, Tensor]:
    predicted, weights = regression.predict(asked if regression.x.dim() == 1 else asked[:, None])
    return predicted.flatten(), weights


def _numbers(values: Tensor) -> list[str]:
    """With as many decimals as tell a hundred places of their range apart."""
    span = (values.max() - values.min()).item() or 1.0
    return [f"{round(value, 2 - math.floor(math.log10(span))):g}" for value in values.tolist()]


def _check(regressions: Mapping[str, NadarayaWatson]) -> None:
    if not regressions:
        raise UsageError("a picture needs one regression at least, found none", fix="give them by name")
    first, *others = regressions.values()
    if any(values.dim() > 1 and values.shape[1] != 1 for values in _points(first)):
        raise UsageError(
            f"a regression in a picture has one x and one y, found x {list(first.x.shape)} and y {list(first.y.shape)}",
            fix="take one feature of each",
        )
    if not all(torch.equal(one.x, first.x) and torch.equal(one.y, first.y) for one in others):
        raise UsageError(
            "regressions in one picture should have the same training points, found others",
            fix="draw one picture for each set of points",
        )
