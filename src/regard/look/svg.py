"""Pictures inside a page, as SVG: they take its colours, light or dark, and load nothing."""

from __future__ import annotations

from html import escape

from regard.look.sentence import Look

CELL, LETTER = 16, 7.2  # pixels of a cell of a heat map; width of a letter beside it
LONGEST_LABEL = 12  # letters
FAINT = 0.01  # a weight that is not drawn


def heat_map(seen: Look) -> str:
    """Attention as inline SVG: a row for each symbol of the answer, a column for each one of the source."""
    left = 8 + LETTER * max(len(_cut(symbol)) for symbol in seen.target)
    top = 8 + LETTER * max(len(_cut(symbol)) for symbol in seen.source)
    width, height = left + CELL * len(seen.source) + 4, top + CELL * len(seen.target) + 4
    parts = [
        f'<svg class="heat" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="attention, {len(seen.target)} by {len(seen.source)}">'
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{CELL * len(seen.source)}" '
        f'height="{CELL * len(seen.target)}"/>'
    ]
    for place, symbol in enumerate(seen.source):
        x = left + CELL * (place + 0.7)
        parts.append(f'<text transform="translate({x:.1f} {top - 4:.1f}) rotate(-90)">{escape(_cut(symbol))}</text>')
    for row, (symbol, weights) in enumerate(zip(seen.target, seen.weights, strict=True)):
        y = top + CELL * row
        parts.append(
            f'<text x="{left - 4:.1f}" y="{y + 0.72 * CELL:.1f}" text-anchor="end">{escape(_cut(symbol))}</text>'
        )
        parts += [_cell(left + CELL * place, y, weight) for place, weight in enumerate(weights) if weight >= FAINT]
    return "".join([*parts, "</svg>"])


def _cell(x: float, y: float, weight: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{CELL}" height="{CELL}" fill-opacity="{weight:.2f}"/>'


def _cut(symbol: str) -> str:
    shown = symbol.replace(" ", "␣") or "·"
    return shown if len(shown) <= LONGEST_LABEL else f"{shown[: LONGEST_LABEL - 1]}…"
