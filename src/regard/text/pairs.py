"""Pairs of texts from two parallel files, a table (TSV) or JSON lines, each with its line number.

Everything streams: a reader holds one line a side, whatever the size of the file, and can be read again.
"""

import difflib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from regard.errors import DataError, UsageError
from regard.text.drift import DriftFinder
from regard.text.lines import STDIN, BadLine, LineFile, read_lines, spooled_stdin

__all__ = ["Links", "Pair", "PairFormat", "PairReader", "UnequalLengths", "is_blank", "read_lines"]


@dataclass(frozen=True, slots=True)
class Links:
    """A line of a file of alignments, such as `0-0 2-1`, and its `file:line`; text/pharaoh.py reads it."""

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One source with its target; `line` is counted from 1 in the file (in both files, if there are two).

    `links`: how their words belong together, where that is given.
    """

    source: str
    target: str
    line: int
    links: Links | None = None


@dataclass(frozen=True)
class PairFormat:
    """How to read a file of pairs; the defaults read most.

    `columns` are the source's and the target's: numbers from "1", or names that the first line (the header) holds;
    in JSON lines they are keys. `separator` is plain text (`\\t` typed
    as two characters is a tab); there is no quoting. Raises UsageError at values that
    cannot be meant.
    """

    columns: tuple[str, str] | None = None
    separator: str = "\t"
    on_bad_line: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "separator", self.separator.replace("\\t", "\t"))  # as typed on a command line
        if not self.separator or "\n" in self.separator:
            raise UsageError(
                f"the separator cannot be {self.separator!r}", fix="give one or more characters of one line"
            )
        if self.on_bad_line not in ("error", "skip"):
            raise UsageError(f"on_bad_line is {self.on_bad_line!r}; known: error, skip", fix="choose one of them")
        if self.columns is not None and (len(self.columns) != 2 or not all(self.columns)):
            raise UsageError(f"two columns are wanted, found {self.columns!r}", fix="for example --columns 1,2")

    @property
    def names_columns(self) -> bool:
        """Whether a column is chosen by its name, so that the first line of a table is a header."""
        return self.columns is not None and not all(name.isdecimal() for name in self.columns)

    @classmethod
    def parse(cls, columns: str | None = None, separator: str = "\t", on_bad_line: str = "error") -> "PairFormat":
        """The format from what stands on a command line: `1,2` or `word,phones`."""
        chosen = None if columns is None else tuple(name.strip() for name in columns.split(","))
        if chosen is not None and len(chosen) != 2:
            fix = "give the source's and the target's, for example --columns 1,2"
            raise UsageError(f"two columns are wanted, found {columns!r}", fix=fix)
        return cls(chosen, separator, on_bad_line)  # type: ignore[arg-type]  # both are checked at run time


class UnequalLengths(DataError):
    """Two parallel files have different numbers of lines: `counts`."""

    def __init__(self, names: tuple[str, str], counts: tuple[int, int], hint: str = "") -> None:
        self.counts = counts
        message = f"{names[0]} has {counts[0]:,} lines and {names[1]} has {counts[1]:,}; wanted as many in both"
        fix = f"compare the files there, or see `regard check {names[0]} {names[1]}`"
        super().__init__(message + hint, where=f"{names[0]}:{min(counts) + 1}", fix=fix)


class PairReader:
    """Reads pairs from one path (a table or JSON lines; `-` is standard input) or from two parallel files.

    The name tells the kind, after `.gz` or `.zst`: `.jsonl` holds objects with keys "source" and "target" (or
    `columns`), anything else is a table cut at `separator`. Standard input is copied once to a temporary file and is
    taken for JSON lines if its first line is a JSON object. Iterating again reads the file again. Blank pairs are
    yielded. Raises DataError naming `file:line`; UsageError for a number of paths that cannot be meant.
    """

    def __init__(self, paths: Sequence[str | Path], format: PairFormat = PairFormat()) -> None:
        self.paths = tuple(Path(path) for path in paths)
        self.format = format
        self.skipped = 0
        self._files: tuple[LineFile, ...] = ()
        _check_paths(self.paths, format)

    def __iter__(self) -> Iterator[Pair]:
        """Yields every pair; bad lines end it or are counted in `skipped`, as the format says."""
        skipped = 0

        def on_bad(fault: BadLine) -> None:
            nonlocal skipped
            if self.format.on_bad_line == "error":
                raise fault
            skipped += 1

        try:
            yield from self.read(on_bad)
        except UnequalLengths as fault:
            raise self._located(fault) from None
        self.skipped = skipped

    def read(self, on_bad: Callable[[BadLine], None]) -> Iterator[Pair]:
        """Yields every pair that can be read and gives each line that cannot to `on_bad`; other faults are raised."""
        files = self._opened()
        empty = True
        for pair in _parallel(files[0], files[1], on_bad) if len(files) == 2 else self._single(files[0], on_bad):
            empty = False
            if pair is not None:
                yield pair
        if empty:
            raise _empty(files[0])

    def where(self, pair: Pair) -> str:
        """`file:line` of the pair's source."""
        return LineFile.at(self.paths[0]).where(pair.line)

    @property
    def has_header(self) -> bool:
        """Whether the first line names the columns."""
        return self.format.names_columns and len(self.paths) == 1 and not self._is_json(self._opened()[0])

    @cached_property
    def lines(self) -> int:
        """Lines of the first file; counting reads it."""
        return self._opened()[0].count()

    def _opened(self) -> tuple[LineFile, ...]:
        if not self._files:
            self._files = tuple(spooled_stdin(self) if str(path) == STDIN else LineFile.at(path) for path in self.paths)
        return self._files

    def _single(self, file: LineFile, on_bad: Callable[[BadLine], None]) -> Iterator[Pair | None]:
        if self._is_json(file):
            return _json_lines(file, self.format.columns or ("source", "target"), on_bad)
        return _table(file, self.format, on_bad)

    def _is_json(self, file: LineFile) -> bool:
        return _kind(self.paths[0]) == ".jsonl" or (str(self.paths[0]) == STDIN and _starts_as_json(file))

    def _located(self, fault: UnequalLengths) -> UnequalLengths:
        """The fault with the place where the two files seem to part, if one can be found."""
        files = self._opened()
        finder = DriftFinder()
        for left, right in zip(files[0].raw(), files[1].raw(), strict=False):
            finder.add(left[1].decode("utf-8", "replace"), right[1].decode("utf-8", "replace"))
        drift = finder.find()
        hint = "" if drift is None else f"; they seem to part about line {drift.start + 1:,}"
        return UnequalLengths((files[0].name, files[1].name), fault.counts, hint)


def is_blank(text: str) -> bool:
    """Whether there is nothing in the text but white space."""
    return not text or text.isspace()


def nearest(wanted: str, known: Iterable[str]) -> str:
    """` (nearest: 'source')`, or nothing if no known name is like the wanted one."""
    close = difflib.get_close_matches(wanted, list(known), n=1)
    return f" (nearest: {close[0]!r})" if close else ""


def _check_paths(paths: tuple[Path, ...], format: PairFormat) -> None:
    if len(paths) not in (1, 2):
        fix = "name one file with both sides, or two parallel files"
        raise UsageError(f"one or two files of pairs are wanted, found {len(paths)}", fix=fix)
    if len(paths) == 1:
        return
    if format.columns is not None:
        raise UsageError("two parallel files have no columns to choose", fix="leave --columns out, or name one file")
    if all(str(path) == STDIN for path in paths):
        raise UsageError("standard input cannot be both sides", fix="save one side as a file")
    for path in paths:
        if _kind(path) == ".jsonl":
            fix = "name it alone, or give two plain text files"
            raise UsageError(
                "a JSON lines file holds both sides; it is not one of two parallel files", where=str(path), fix=fix
            )


def _kind(path: Path) -> str:
    """The ending that tells what is inside: `.jsonl` of `a.jsonl.gz`."""
    return (path.with_suffix("") if path.suffix.lower() in (".gz", ".zst") else path).suffix.lower()


def _empty(file: LineFile) -> DataError:
    return DataError("the file is empty", where=file.name, fix="check that it is the right file and was written fully")


def _parallel(left: LineFile, right: LineFile, on_bad: Callable[[BadLine], None]) -> Iterator[Pair | None]:
    """A pair a line, None where either side is bad: both are left out together, so the sides stay in step."""
    for number, (source, target) in enumerate(itertools.zip_longest(left.raw(), right.raw()), 1):
        if source is None or target is None:
            if number == 1:
                raise _empty(left if source is None else right)
            raise UnequalLengths((left.name, right.name), (left.count(), right.count()))
        try:
            pair = Pair(left.text(source, number), right.text(target, number), number)
        except BadLine as fault:
            on_bad(fault)
            yield None
        else:
            yield pair


@dataclass(frozen=True)
class _Columns:
    """Where the two texts stand in a line of a table: indices from 0, of `width` columns."""

    source: int
    target: int
    width: int

    def pair(self, line: str, separator: str, where: str, number: int) -> Pair:
        cells = line.split(separator)
        if len(cells) == self.width:
            return Pair(cells[self.source], cells[self.target], number)
        if is_blank(line):
            return Pair("", "", number)  # an empty line is a blank pair, not one with too few columns
        message = f"{_many(len(cells), 'column')}; the first line has {self.width}"
        raise BadLine(message, where=where, fix=f"cut every line by {separator!r} alike, or pass --on-bad-line skip")


def _table(file: LineFile, format: PairFormat, on_bad: Callable[[BadLine], None]) -> Iterator[Pair | None]:
    """A pair a line, None for a bad line. The first line that is not blank says how many columns there are."""
    header = format.names_columns
    columns: _Columns | None = None
    number = 0
    for number, line in enumerate(file.raw(), 1):
        try:
            text = file.text(line, number)
            if number == 1 and header:
                columns = _choose(text, format, file.where(number))
                continue
            if columns is None and not is_blank(text):
                columns = _choose(text, format, file.where(number))
            pair = columns.pair(text, format.separator, file.where(number), number) if columns else Pair("", "", number)
        except BadLine as fault:
            if number == 1 and header:
                raise
            on_bad(fault)
            yield None
        else:
            yield pair
    if header and number == 1:
        raise DataError("nothing follows the header", where=file.where(1), fix="check that the file was written fully")


def _choose(line: str, format: PairFormat, where: str) -> _Columns:
    """Finds the two columns from the first line; raises DataError where that is not possible."""
    cells = line.split(format.separator)
    if format.columns is not None:
        source, target = (_index(name, cells, where) for name in format.columns)
        return _Columns(source, target, len(cells))
    if len(cells) == 2:
        return _Columns(0, 1, 2)
    if len(cells) == 1:
        fix = "give the character between the columns (--separator), or name two parallel files"
        raise DataError(f"one column; wanted two with {format.separator!r} between them", where=where, fix=fix)
    fix = "say which hold source and target: --columns 1,2, or names if the first line holds names"
    raise DataError(f"{len(cells)} columns; wanted 2, or a choice", where=where, fix=fix)


def _index(name: str, cells: list[str], where: str) -> int:
    if not name.isdecimal():
        if name in cells:
            return cells.index(name)
        known = ", ".join(repr(cell) for cell in cells[:20])
        message = f"no column is named {name!r}{nearest(name, cells)}; the first line names {known}"
        raise DataError(message, where=where, fix="use one of these names, or a number: --columns 1,2")
    if not 1 <= int(name) <= len(cells):
        message = f"column {name} is out of range: the first line has {_many(len(cells), 'column')}"
        raise DataError(message, where=where, fix="columns count from 1; check --columns and --separator")
    return int(name) - 1


def _json_lines(file: LineFile, keys: tuple[str, str], on_bad: Callable[[BadLine], None]) -> Iterator[Pair | None]:
    """A pair a line, None for a bad line; a line of white space is a blank pair, as in a table."""
    for number, line in enumerate(file.raw(), 1):
        try:
            text = file.text(line, number)
            pair = Pair("", "", number) if is_blank(text) else _json_pair(text, keys, file.where(number), number)
        except BadLine as fault:
            on_bad(fault)
            yield None
        else:
            yield pair


def _json_pair(text: str, keys: tuple[str, str], where: str, number: int) -> Pair:
    fix = f'write one object a line: {{"{keys[0]}": "...", "{keys[1]}": "..."}}, or pass --on-bad-line skip'
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise BadLine(f"not JSON: {fault}", where=where, fix=fix) from None
    if not isinstance(record, dict):
        raise BadLine(f"a JSON object is wanted, found {_json_type(record)}", where=where, fix=fix)
    source, target = (_json_text(record, key, where, fix) for key in keys)
    return Pair(source, target, number)


def _json_text(record: dict[str, object], key: str, where: str, fix: str) -> str:
    """The text under a key; escapes can bring in what a line of text cannot hold, so that is checked here."""
    if key not in record:
        known = ", ".join(repr(name) for name in list(record)[:20]) or "no key"
        raise BadLine(f"no key {key!r}{nearest(key, record)}; the object has {known}", where=where, fix=fix)
    text = record[key]
    if not isinstance(text, str):
        raise BadLine(f"{key!r} holds {_json_type(text)}; wanted a string", where=where, fix=fix)
    if "\0" in text or "\n" in text:
        found = "a NUL" if "\0" in text else "a line break"
        raise BadLine(f"{key!r} holds {found}; wanted one line of text", where=where, fix="replace it by a space")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise BadLine(
            f"{key!r} holds half of a surrogate pair, which is no character",
            where=where,
            fix="repair the \\ud8.. escape",
        )
    return text


def _json_type(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _starts_as_json(file: LineFile) -> bool:
    """Whether the first line is a JSON object; used for standard input, which has no name to tell."""
    for _, line in file.raw():
        try:
            return line.lstrip().startswith(b"{") and isinstance(json.loads(line), dict)
        except (ValueError, RecursionError):
            return False
    return False


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
