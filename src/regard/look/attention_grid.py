"""A look's attentions as a picture, PNG or SVG: all heads of a part, or one head, or a mean of heads.

    save_grid(look, Path("cross.png"))                        # rows are layers, columns are heads
    save_map(look, Path("head.svg"), "cross.1.3")

Limits, and what happens past them: of a side with more than MOST_TOKENS tokens, and of more than MOST_PANELS layers or
heads, the first ones are drawn, and the title says so. Where labels have no room, every second, third, ... is written.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import UsageError
from regard.inside.result import PARTS, Look, Part
from regard.inside.tables import tokens_of
from regard.inside.words import Spans, merge, words_of_part
from regard.look.fonts import families
from regard.look.heat_map import draw_heat_map, new_figure, save_figure, shown

MOST_TOKENS, MOST_PANELS = 256, 32
LABEL, LONGEST_LABEL, LONGEST_TITLE = 0.125, 14, 120  # inches across a label's line; characters
LEAST, MOST, MOST_TOGETHER = 1.1, 3.0, 50.0  # inches of a side of a panel, and of all panels side by side
POINTS = 7  # of labels in a grid
BAR, LETTERS = 0.2, 9  # inches that a bar of colours is wide; letters of a title an inch
NUMBER = r"(?:\.([0-9]{1,6}))?"
NAME = re.compile(rf"({'|'.join(PARTS)}){NUMBER}{NUMBER}")


@dataclass(frozen=True)
class _Seen:
    """Weights [L, H, Q, K] with the names of queries and keys; NaN where a layer has fewer heads than others.

    `note` says what is not drawn.
    """

    weights: Float[Tensor, "L H Q K"]
    rows: Sequence[str]
    columns: Sequence[str]
    note: str = ""


def save_grid(look: Look, path: Path, part: Part = "cross", words: bool = False) -> None:
    """Every head of a part: rows are layers, columns heads, one scale of colours for all of them.

    `words`: between words in place of tokens (`regard.inside.words.merge`). A label without a glyph in any font here
    is a box in a PNG; an SVG keeps it as text. UsageError for a part that the model does not have, and for a file that
    is neither .png nor .svg; StorageError.
    """
    seen = _cut(_seen(look, part, words))
    layers, heads, rows, columns = seen.weights.shape
    width, height = _side(columns, heads), _side(rows, layers)
    gap = max(1, round(0.06 * max(rows, columns)))
    figure = new_figure(heads * width + 2.4, layers * height + 1.8)
    axis = figure.subplots()
    image = axis.imshow(
        _tiled(seen.weights, gap).tolist(),
        vmin=0.0,
        vmax=_largest(seen.weights),
        cmap="viridis",
        aspect="auto",
        interpolation="none" if path.suffix.lower() == ".svg" else "auto",  # none: each number is in the file
    )
    _label(axis.set_xticks, seen.columns, heads, gap, width, rotation=90)
    _label(axis.set_yticks, seen.rows, layers, gap, height)
    _number(axis.secondary_xaxis("top"), "head", heads, columns, gap)
    _number(axis.secondary_yaxis("right"), "layer", layers, rows, gap)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    together = heads * width, layers * height
    figure.colorbar(image, ax=axis, label="weight", pad=0.01, fraction=BAR / together[0], aspect=together[1] / BAR)
    _entitle(figure, look, part, seen)
    _save(figure, path, seen, look)


def save_map(look: Look, path: Path, name: str = "cross", words: bool = False) -> None:
    """One head large, such as `cross.1.3`; of `cross.1` the mean over the heads of a layer, of `cross` over all.

    UsageError for a name that there is not; the rest as `save_grid`.
    """
    part, layer, head = _place(name)
    every = _seen(look, part, words)
    chosen = every.weights[layer, head].flatten(0, 1)
    chosen = chosen[~chosen[:, 0, 0].isnan()]
    if not len(chosen):
        raise UsageError(f"there is no head {name!r}", fix=_what_there_is(look))
    mean = f", mean of {len(chosen)} heads" if len(chosen) > 1 else ""
    seen = _cut(_Seen(chosen.mean(0)[None, None], every.rows, every.columns, mean))
    width, height = (min(12.0, max(3.0, 0.22 * len(names))) for names in (seen.columns, seen.rows))
    figure = new_figure(width + 2.6, height + 1.8)
    draw_heat_map(figure.subplots(), seen.weights[0, 0].tolist(), seen.rows, seen.columns, most_labels=60)
    _entitle(figure, look, name, seen)
    _save(figure, path, seen, look)


def _place(name: str) -> tuple[Part, slice, slice]:
    """The part, and which of its layers and heads."""
    found = NAME.fullmatch(name)
    if not found:
        raise UsageError(f"there is no head {name!r}", fix="name one as cross.1.3, a layer as cross.1, or a part")
    part = next(part for part in PARTS if part == found[1])
    layer, head = (
        slice(None) if number is None else slice(int(number), int(number) + 1) for number in found.groups()[1:]
    )
    return part, layer, head


def _seen(look: Look, part: Part, words: bool) -> _Seen:
    layers = [each.weights.float() for each in look.of(part)]
    if not layers or not layers[0].numel():
        raise UsageError(f"this answer has no {part} attention to draw", fix=_what_there_is(look))
    tokens = tokens_of(look, part)
    spans = (
        words_of_part(look, part)
        if words
        else tuple(tuple((place, place + 1) for place in range(len(each))) for each in tokens)
    )
    rows, columns = (_joined(each, of) for each, of in zip(tokens, spans, strict=True))
    if words:
        layers = [merge(weights, *spans) for weights in layers]
    most = max(len(weights) for weights in layers)
    filled = [nn.functional.pad(each, (0, 0, 0, 0, 0, most - len(each)), value=torch.nan) for each in layers]
    return _Seen(torch.stack(filled), rows, columns)


def _joined(tokens: Sequence[str], spans: Spans) -> list[str]:
    """Words without the spaces around them."""
    whole = ["".join(tokens[first:past]) for first, past in spans]
    return [
        word if past - first == 1 else word.strip("␣") or word for word, (first, past) in zip(whole, spans, strict=True)
    ]


def _what_there_is(look: Look) -> str:
    there = ", ".join(f"{each.name} of {len(each.weights)} heads" for each in look.attentions)
    return f"there are {there}" if there else "ask a model that has attention"


def _cut(seen: _Seen) -> _Seen:
    """The first ones of each side, if they are too many."""
    sizes, most = seen.weights.shape, (MOST_PANELS, MOST_PANELS, MOST_TOKENS, MOST_TOKENS)
    names = ("layers", "heads", "rows", "columns")
    cut = [
        f", first {limit} of {size} {name}"
        for name, size, limit in zip(names, sizes, most, strict=True)
        if size > limit
    ]
    layers, heads, rows, columns = most
    weights = seen.weights[:layers, :heads, :rows, :columns]
    return _Seen(weights, seen.rows[:rows], seen.columns[:columns], "".join([seen.note, *cut]))


def _side(tokens: int, panels: int) -> float:
    """Inches of a panel: room for each label if that is not too much."""
    return min(max(LEAST, tokens * LABEL), MOST, MOST_TOGETHER / panels)


def _tiled(weights: Float[Tensor, "L H Q K"], gap: int) -> Float[Tensor, "Y X"]:
    """All panels as one picture, NaN between them."""
    layers, heads, rows, columns = weights.shape
    spaced = nn.functional.pad(weights, (0, gap, 0, gap), value=torch.nan)
    tiled = spaced.permute(0, 2, 1, 3).reshape(layers * (rows + gap), heads * (columns + gap))
    return tiled[:-gap, :-gap]


def _largest(weights: Tensor) -> float:
    return weights.nan_to_num(0.0).max().item() or 1.0


def _label(set_ticks: Any, names: Sequence[str], panels: int, gap: int, room: float, rotation: int = 0) -> None:
    """Tokens beside each panel of a side."""
    step = math.ceil(len(names) * LABEL / room)
    texts = [shown(name, LONGEST_LABEL) for name in names[::step]]
    places = [panel * (len(names) + gap) + place for panel in range(panels) for place in range(0, len(names), step)]
    upright = rotation if max(map(len, texts)) > 1 else 0
    set_ticks(places, texts * panels, parse_math=False, fontsize=POINTS, rotation=upright)


def _number(axis: Any, name: str, panels: int, tokens: int, gap: int) -> None:
    """`head 0`, `head 1` ... at the middle of each panel of a side."""
    places = [panel * (tokens + gap) + (tokens - 1) / 2 for panel in range(panels)]
    ticks = axis.set_xticks if name == "head" else axis.set_yticks
    ticks(places, [f"{name} {panel}" for panel in range(panels)])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _entitle(figure: Any, look: Look, name: str, seen: _Seen) -> None:
    """The model, what is drawn and what is not, in lines as long as the figure is wide."""
    part = next(part for part in PARTS if name.startswith(part))
    title = shown(f"{look.model}: {name}, {PARTS[part]}{seen.note}".removeprefix(": "), LONGEST_TITLE)
    lines = textwrap.wrap(title, width=int(figure.get_size_inches()[0] * LETTERS))
    figure.suptitle("\n".join(lines), parse_math=False)


def _save(figure: Any, path: Path, seen: _Seen, look: Look) -> None:
    """With a font for every label, as far as there is one."""
    from matplotlib.text import Text

    known = families([*seen.rows, *seen.columns, look.model])
    for text in figure.findobj(Text):
        text.set_fontfamily(known)
    save_figure(figure, path)
