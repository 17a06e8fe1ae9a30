"""What is asked for: a text, and what its answer shall hold; a glossary that asks by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from regard.errors import DataError


@dataclass(frozen=True)
class Request:
    """A text to translate. The answer begins with `prefix`, holds every `required` phrase and no `forbidden` one."""

    text: str
    prefix: str = ""
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


Glossary: TypeAlias = Sequence[tuple[str, str]]
"""Source terms and what each must be in the target."""


def read_glossary(lines: Iterable[str], where: str) -> Glossary:
    """`source TAB target` a line; blank lines are left out. DataError names the line of a mistake."""
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) != 2 or not all(parts):
            fix = "write the source term, one tab, the target term"
            raise DataError(f"wanted 2 columns, found {len(parts)}: {line!r}", where=f"{where}:{number}", fix=fix)
        entries.append((parts[0], parts[1]))
    return entries


def with_glossary(requests: Iterable[Request], glossary: Glossary) -> Iterator[Request]:
    """Requires the target of each term whose source stands in the text as whole words; a longer term wins."""
    longest_first = sorted(glossary, key=lambda entry: -len(entry[0]))
    for request in requests:
        yield replace(request, required=request.required + tuple(_wanted(request.text, longest_first)))


def _wanted(text: str, glossary: Glossary) -> Iterator[str]:
    for source, target in glossary:
        place = _find(text, source)
        while place >= 0:
            yield target
            text = text[:place] + "\n" * len(source) + text[place + len(source) :]  # no term twice, none inside another
            place = _find(text, source)


def _find(text: str, term: str) -> int:
    """Where a term begins that no letter or digit touches, or -1."""
    place = text.find(term)
    while place >= 0:
        around = text[place - 1 : place] + text[place + len(term) : place + len(term) + 1]
        if not any(character.isalnum() for character in around):
            return place
        place = text.find(term, place + 1)
    return -1
