"""From the lines and options of `regard translate` to requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from regard.errors import DataError, UsageError
from regard.translator import Glossary, Request, read_glossary, with_glossary


@dataclass(frozen=True)
class Asking:
    """What is asked for beside the lines: the same for all of them, or in JSON each with its own."""

    file: str
    as_json: bool
    prefix: str
    require: Sequence[str]
    forbid: Sequence[str]
    glossary: Glossary | None

    def conditions(self) -> dict[str, object]:
        """What an answer has to keep to, by the option that says it."""
        given = {"--prefix": self.prefix, "--require": self.require, "--forbid": self.forbid}
        return {"--requests": self.as_json, **given, "--glossary": self.glossary is not None}

    def requests(self, lines: Iterable[str], first: int = 1) -> Iterator[Request]:
        """A request a line; what is asked of all lines comes beside what a line asks for itself.

        DataError names the line at fault; `first` is the number of the first.
        """
        asked = _parsed(lines, self.file, first) if self.as_json else (Request(line) for line in lines)
        if self.glossary is not None:
            asked = with_glossary(asked, self.glossary)
        return (
            replace(
                request,
                prefix=request.prefix or self.prefix,
                required=(*request.required, *self.require),
                forbidden=(*request.forbidden, *self.forbid),
            )
            for request in asked
        )


def asking(
    file: str, *, as_json: bool, prefix: str, require: Sequence[str], forbid: Sequence[str], glossary: str | None
) -> Asking:
    """Reads the glossary. UsageError for a phrase that is both required and forbidden."""
    clash = sorted(set(require) & set(forbid))
    if clash:
        raise UsageError(f"{clash[0]!r} is required and forbidden", fix="take one of the two options out")
    terms: Glossary | None = None
    if glossary is not None:
        from regard.text.pairs import read_lines

        terms = read_glossary(read_lines(glossary), glossary)
    return Asking(file, as_json, prefix, require, forbid, terms)


def _parsed(lines: Iterable[str], file: str, first: int) -> Iterator[Request]:
    """`{"text": ..., "prefix": ..., "required": [...], "forbidden": [...]}` a line; the text is needed."""
    adapter = TypeAdapter(Request)
    for number, line in enumerate(lines, start=first):
        try:
            yield adapter.validate_python({key: _tuple(value) for key, value in dict(json.loads(line)).items()})
        except (ValueError, TypeError, RecursionError) as error:
            found = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            fix = 'write {"text": "...", "prefix": "...", "required": ["..."], "forbidden": ["..."]} on each line'
            raise DataError(f"not a request: {found}", where=f"{file}:{number}", fix=fix) from None


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
