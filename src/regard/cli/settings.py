"""From options of a command line to nested settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regard.config import Settings, merge, parse_override, read_toml
from regard.text.pairs import PairFormat


def gather(
    pairs: Sequence[str],
    task: str | None,
    valid: Sequence[str],
    overrides: Sequence[str],
    config: Path | None,
    columns: str | None,
    separator: str | None,
    on_bad_line: str | None,
) -> Settings:
    """What the user said, the more specific winning: a file of settings, then --set, then the options of their own."""
    settings: Settings = read_toml(config) if config else {}
    for override in overrides:
        settings = merge(settings, parse_override(override))
    data: Settings = {}
    if pairs:
        data["pairs"] = [_absolute(path) for path in pairs]
    if valid:
        data["valid"] = [_absolute(path) for path in valid]
    given = {"task": task, "separator": separator, "on_bad_line": on_bad_line}
    data |= {key: value for key, value in given.items() if value is not None}
    if columns:
        data["columns"] = list(PairFormat.parse(columns).columns or ())
    return merge(settings, {"data": data})


def _absolute(path: str) -> str:
    """A run may be resumed from another folder."""
    return path if path == "-" else str(Path(path).absolute())
