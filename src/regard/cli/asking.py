"""From the lines and options of `regard translate` to requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from regard.errors import DataError, UsageError
from regard.translator import Request, read_glossary, with_glossary


def requests(
    lines: Iterable[str],
    file: str,
    *,
    as_json: bool,
    prefix: str,
    require: Sequence[str],
    forbid: Sequence[str],
    glossary: str | None,
) -> Iterator[Request]:
    """A request a line; what the options ask of all lines comes beside what a line asks for itself."""
    clash = sorted(set(require) & set(forbid))
    if clash:
        raise UsageError(f"{clash[0]!r} is required and forbidden", fix="take one of the two options out")
    asked = _parsed(lines, file) if as_json else (Request(line) for line in lines)
    if glossary is not None:
        from regard.text.pairs import read_lines

        asked = with_glossary(asked, read_glossary(read_lines(glossary), glossary))
    return (
        replace(
            request,
            prefix=request.prefix or prefix,
            required=(*request.required, *require),
            forbidden=(*request.forbidden, *forbid),
        )
        for request in asked
    )


def _parsed(lines: Iterable[str], file: str) -> Iterator[Request]:
    """`{"text": ..., "prefix": ..., "required": [...], "forbidden": [...]}` a line; the text is needed."""
    adapter = TypeAdapter(Request)
    for number, line in enumerate(lines, start=1):
        try:
            yield adapter.validate_python({key: _tuple(value) for key, value in dict(json.loads(line)).items()})
        except (ValueError, TypeError, RecursionError) as error:
            found = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            fix = 'write {"text": "...", "prefix": "...", "required": ["..."], "forbidden": ["..."]} on each line'
            raise DataError(f"not a request: {found}", where=f"{file}:{number}", fix=fix) from None


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
