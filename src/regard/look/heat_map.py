"""A matrix of weights as a picture: rows ask, columns are looked at. Shared by everything that draws one.

figure = new_figure(6, 5)
draw_heat_map(figure.subplots(), weights, rows=target_symbols, columns=source_symbols)
save_figure(figure, Path("attention.png"))

matplotlib is an extra, `regard[pictures]`: `check_pictures` says so before any work.
"""

from __future__ import annotations

import math
import unicodedata
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from regard.errors import UsageError
from regard.folder import write_file

LONGEST_LABEL, LONGEST_TITLE = 24, 60  # characters
SIZES = ((20, 10.0), (30, 8.0), (math.inf, 7.0))  # up to so many labels on a side: points of their font
CHARACTER = 0.64 / 72  # inches a point of the font, about
FORMATS = {".png": "png", ".svg": "svg"}


def check_pictures(*paths: Path) -> None:
    """UsageError unless matplotlib is installed and each path names a picture."""
    if find_spec("matplotlib") is None:
        raise UsageError(
            "a picture of this kind is drawn by matplotlib, which is not installed",
            fix="pip install 'regard[pictures]'",
        )
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise UsageError(
                f"a picture is a .png or .svg file, found {path.suffix or 'no suffix'!r}",
                where=str(path),
                fix=f"name it {path.with_suffix('.png').name}",
            )


def new_figure(width: float, height: float) -> Any:
    """An empty figure, sizes in inches, that knows nothing of matplotlib's global state.

    UsageError without matplotlib.
    """
    check_pictures()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_heat_map(
    axis: Any,
    weights: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    row_name: str = "",
    column_name: str = "",
    highest: float | None = None,
    upward: bool = False,
    colour_bar: bool = True,
    most_labels: int = 40,
) -> Any:
    """Draws weights [rows][columns] on an axis, from 0 to `highest` (the largest weight unless given).

    A label is drawn as it is: nothing in it is mathematics, what is too long ends in "…", a blank is seen as "␣". Of
    more than `most_labels` on a side every second, third, ... is written. `upward`: the first row is the lowest.
    Returns matplotlib's image, for a colour bar of several maps. UsageError if the labels do not fit the weights.
    """
    widths = {len(row) for row in weights} or {len(columns)}
    if len(weights) != len(rows) or widths != {len(columns)}:
        raise UsageError(
            f"a heat map of {len(rows)} rows and {len(columns)} columns needs as many weights, "
            f"found {len(weights)} rows of {', '.join(map(str, sorted(widths)))}",
            fix="give a label for each row and each column of the weights",
        )
    cells = weights if rows and columns else [[math.nan]]
    largest = max((weight for row in weights for weight in row if math.isfinite(weight)), default=0.0)
    image = axis.imshow(
        cells,
        vmin=0.0,
        vmax=highest or largest or 1.0,
        cmap="viridis",
        aspect="auto",
        interpolation="nearest",
        origin="lower" if upward else "upper",
    )
    # Before the layout is computed this is roughly the room that there will be.
    _label(axis.set_xticks, columns, most_labels, axis.get_position().width * axis.figure.get_size_inches()[0])
    _label(axis.set_yticks, rows, most_labels, math.inf)
    axis.set_title(shown(title, LONGEST_TITLE), parse_math=False)
    axis.set_xlabel(shown(column_name, LONGEST_TITLE), parse_math=False)
    axis.set_ylabel(shown(row_name, LONGEST_TITLE), parse_math=False)
    if colour_bar:
        axis.figure.colorbar(image, ax=axis, label="weight")
    return image


def save_figure(figure: Any, path: Path) -> None:
    """A PNG or an SVG by the suffix; whole or not there. UsageError for another suffix, StorageError."""
    check_pictures(path)
    import matplotlib

    kind, content = FORMATS[path.suffix.lower()], BytesIO()
    settings: dict[Any, Any] = {"svg.fonttype": "none"}  # text in an SVG stays text: a browser brings the glyphs
    with warnings.catch_warnings(), matplotlib.rc_context(settings):
        warnings.filterwarnings("ignore", message="Glyph")  # a script without glyphs here is drawn as boxes
        figure.savefig(content, format=kind)
    write_file(path, content.getvalue())


def _label(set_ticks: Any, labels: Sequence[str], most: int, room: float) -> None:
    """`room`: inches along the side. Words that would touch each other there stand upright; letters never do."""
    step = max(1, math.ceil(len(labels) / most))
    texts = [shown(label) for label in labels[::step]]
    size = next(points for count, points in SIZES if len(texts) <= count)
    longest = max(map(len, texts), default=0)
    crowded = longest > 2 and (longest + 1) * len(texts) * size * CHARACTER > room
    set_ticks(range(0, len(labels), step), texts, parse_math=False, fontsize=size, rotation=90 if crowded else 0)


def shown(label: str, longest: int = LONGEST_LABEL) -> str:
    """A label as it can be drawn: one line, no control characters, not too long."""
    text = "".join(_shown(character) for character in label)
    text = text if text.strip() else "␣" * len(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    invisible = unicodedata.category(character) == "Cf"  # joiners, marks of direction
    return character if character.isprintable() else "" if invisible else "\N{REPLACEMENT CHARACTER}"
