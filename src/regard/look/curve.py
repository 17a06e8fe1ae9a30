"""The learning curve of a run as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHOWN = ("wer", "per", "bleu", "chrf", "exact")  # the numbers of a checkpoint that get a curve, if they are there


def save_curve(events: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """A PNG: loss on the left; what validation measured, in percent, on the right. Without events, empty axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [event for event in events if event["event"] == "step"]
    checkpoints = [event for event in events if event["event"] == "checkpoint"]
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(
        [e["step"] for e in steps], [e["loss"] for e in steps], label="training (smoothed targets)", color="#4477aa"
    )
    left.plot(
        [e["step"] for e in checkpoints], [e["loss"] for e in checkpoints], "o-", label="validation", color="#ee6677"
    )
    left.set(xlabel="step", ylabel="loss, nats a token", title="loss")
    left.legend(frameon=False)
    for name in SHOWN:
        points = [(e["step"], e[name]) for e in checkpoints if name in e]
        if points:
            right.plot(*zip(*points, strict=True), "o-", label=name)
    right.set(xlabel="step", ylabel="percent", title="validation by decoding")
    right.set_ylim(bottom=0)
    if right.lines:
        right.legend(frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    figure.suptitle(title, parse_math=False)  # a name may hold dollar signs
    with warnings.catch_warnings():  # a name in a script without glyphs here is drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path)
