"""Which fonts a picture needs: matplotlib's own has no Chinese, Japanese, Korean, nor most scripts of India."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.font_manager import FontEntry

OWN = "DejaVu Sans"  # comes with matplotlib
REGULAR = (400, "normal", "regular")
NEVER = ("Last Resort", "cm", "STIXNonUnicode", "STIXSize")  # boxes, and fonts with a code of their own


def families(texts: Iterable[str]) -> list[str]:
    """matplotlib's own font, then those of this machine that have what it lacks, as few as do.

    What no font here has is drawn as a box in a PNG; an SVG keeps its text, and who opens it brings the fonts. Right to
    left is drawn so by matplotlib 3.11 and later, and by whatever opens an SVG.
    """
    from matplotlib.font_manager import fontManager

    wanted = {character for text in texts for character in text if not character.isspace()}
    faces = sorted((entry for entry in fontManager.ttflist if entry.style == "normal"), key=_is_plain)
    paths = {entry.name: entry.fname for entry in faces}  # the last of a family, so a plain one if there is one
    chosen = [OWN]
    lacking = wanted - _has(paths.pop(OWN), wanted)
    # A plain face first: "Noto Sans Arabic" before "Noto Nastaliq Urdu".
    for name in sorted(paths, key=lambda name: ("Sans" not in name, len(name), name)):
        if not lacking:
            break
        if not name.startswith(NEVER) and (found := _has(paths[name], lacking)):
            chosen.append(name)
            lacking -= found
    return chosen


def _is_plain(entry: FontEntry) -> bool:
    """Neither bold nor light nor narrow: others of a family may have fewer characters, and it is what is drawn with."""
    return entry.weight in REGULAR and entry.stretch == "normal"


def _has(path: str, characters: set[str]) -> set[str]:
    """Those that a font has; none of a file that is gone since matplotlib wrote its list."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
    except (OSError, RuntimeError):
        return set()
    return {character for character in characters if font.get_char_index(ord(character))}
