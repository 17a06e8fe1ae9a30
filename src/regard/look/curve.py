"""The learning curve of a run as a picture: an SVG that a browser opens and a page of code shows, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regard.folder import write_file
from regard.look.heat_map import shown
from regard.look.html import COLOURS, printable
from regard.look.svg import HEIGHT, WIDTH, Line, line_chart

SHOWN = ("wer", "per", "bleu", "chrf", "exact")  # the numbers of a checkpoint that get a curve, if they are there
PER_LINE = "_per_line"
MARGIN, TITLE = 12, 24  # pixels around the charts, and those that the title takes
LONGEST_TITLE = 90  # characters
ENLARGED = 1.2  # to where the smallest letters are as large as a page's small print
STYLE = f"""{COLOURS}
.paper {{ fill: var(--paper); }} .run {{ font: 600 15px system-ui, sans-serif; fill: var(--ink); }}
"""

Event = dict[str, Any]


def save_curve(events: Sequence[Event], path: Path, title: str) -> None:
    """An SVG: loss on the left; what validation measured, in percent, on the right. Without events, empty axes.

    It loads nothing, and brings its paper: who shows it may have another colour behind it. StorageError.
    """
    width, height = 2 * WIDTH + 2 * MARGIN, TITLE + HEIGHT + 2 * MARGIN
    checkpoints = [event for event in events if event["event"] == "checkpoint"]
    loss = lines_of_loss([event for event in events if event["event"] == "step"], checkpoints)
    charts = (
        line_chart("loss, nats a token", loss),
        line_chart("development pairs, decoded, percent", lines_of_metrics(checkpoints)),
    )
    placed = (
        f'<g transform="translate({MARGIN + place * WIDTH} {MARGIN + TITLE})">{chart}</g>'
        for place, chart in enumerate(charts)
    )
    name = printable(shown(title, LONGEST_TITLE))
    size = f'width="{ENLARGED * width:.0f}" height="{ENLARGED * height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} role="img" '
        f'aria-label="learning curve of {name}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="run" x="{width / 2:.0f}" y="{MARGIN + 12}" text-anchor="middle">{name}</text>',
        *placed,
        "</svg>\n",
    ]
    write_file(path, "\n".join(parts).encode(errors="replace"))


def lines_of_loss(steps: Sequence[Event], checkpoints: Sequence[Event]) -> list[Line]:
    """In training, on targets that may be smoothed, and on development pairs; those of which there are points."""
    lines = [line_of("training", steps, "loss"), line_of("development", checkpoints, "loss", dotted=True)]
    return [line for line in lines if line.points]


def lines_of_metrics(checkpoints: Sequence[Event]) -> list[Line]:
    """What decoding the development pairs measured."""
    lines = [line_of(heading(key), checkpoints, key, dotted=True) for key in SHOWN]
    return [line for line in lines if line.points]


def line_of(name: str, events: Sequence[Event], key: str, dotted: bool = False) -> Line:
    """A number of events by their steps."""
    return Line(name, tuple((event["step"], event[key]) for event in events if key in event), dotted)


def heading(key: str) -> str:
    """A metric as people write it."""
    short = key.removesuffix(PER_LINE)
    name = short.upper() if short in ("per", "wer", "bleu", "ter") else {"chrf": "chrF"}.get(short, short)
    return f"{name}, per line" if short != key else name
