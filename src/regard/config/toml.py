"""A recipe as TOML text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from regard.config.section import Section


def toml_value(value: Any) -> str:
    """A setting as TOML writes it, and as --set takes it."""
    if value is None:
        return '"none"'
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def toml_lines(section: Section, prefix: str = "") -> Iterator[str]:
    """The lines of a section and of the sections in it. None is "none", or left out as the default."""
    tables = {key: value for key, value in section if isinstance(value, Section)}
    for key, value in section:
        default = type(section).model_fields[key].default
        if key not in tables and (value is not None or default is not None):
            yield f"{key} = {toml_value(value)}"
    for key, table in tables.items():
        yield f"\n[{prefix}{key}]"
        yield from toml_lines(table, f"{prefix}{key}.")
