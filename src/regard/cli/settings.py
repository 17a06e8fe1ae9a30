"""From options of a command line to nested settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regard.config import Settings, check_given, merge, parse_override, read_toml
from regard.config.section import one
from regard.errors import UsageError
from regard.text.lines import STDIN
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
    form = PairFormat.parse(columns, separator or "\t", on_bad_line or "error")  # checks them too
    given: Settings = {
        "pairs": list(pairs) or None,
        "valid": list(valid) or None,
        "task": task,
        "columns": columns and list(form.columns or ()),
        "separator": separator and form.separator,
        "on_bad_line": on_bad_line,
    }
    settings = merge(settings, {"data": {key: value for key, value in given.items() if value is not None}})
    check_given(settings)
    return merge(settings, {"data": _located(settings["data"])})


def _located(data: Settings) -> Settings:
    """The files as they can be found from any folder and at any time, since a run may be resumed."""
    found = {key: one(data[key]) for key in ("pairs", "valid", "alignments") if key in data}
    paths = [path for each in found.values() for path in each]
    if paths.count(STDIN) > 1:
        raise UsageError("standard input can be named once", fix="save the rest as files")
    return {key: [_absolute(path) for path in each] for key, each in found.items()}


def _absolute(path: str) -> str:
    if path != STDIN:
        return str(Path(path).absolute())
    from regard.data.origin import keep_stdin  # imports torch

    return str(keep_stdin())
