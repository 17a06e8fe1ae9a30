"""One pass over a corpus that keeps, in compact arrays, all that a report on it needs."""

from __future__ import annotations

import unicodedata
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from regard.errors import DataError
from regard.text.drift import DriftFinder
from regard.text.lines import BadLine
from regard.text.pairs import Pair, PairReader, UnequalLengths, is_blank

CHUNK = 4096  # pairs whose characters are counted together
SHOWN = 5  # examples kept of anything
NO_BREAK_SPACES = "\u00a0\u2007\u202f"
INVISIBLE = "\u00ad\u200b\u2060\ufeff\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
KINDS = {
    "Cc": "control character",
    "Co": "private use",
    "Cn": "not assigned in Unicode",
    "Zl": "line separator",
    "Zp": "paragraph separator",
}


@dataclass
class Tally:
    """How often something was met, and on which lines first."""

    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """Once more, on this line."""
        self.count += 1
        if len(self.lines) < SHOWN:
            self.lines.append(line)


class Side:
    """The characters of one side."""

    def __init__(self) -> None:
        self.characters: Counter[str] = Counter()
        self.odd: dict[str, int] = {}  # odd character: the first line it stands on
        self.not_composed = Tally()  # lines that are not in the composed form, NFC
        self.lengths = array("I")  # characters, of the pairs without a blank side

    def add(self, texts: list[str], lines: list[int]) -> None:
        """Counts the characters of a chunk of texts."""
        joined = "".join(texts)
        known = set(self.characters)
        self.characters.update(joined)
        for character in self.characters.keys() - known:
            if oddity(character):
                self.odd[character] = next(n for text, n in zip(texts, lines, strict=True) if character in text)
        if not joined.isascii():
            for text, line in zip(texts, lines, strict=True):
                if not text.isascii() and not unicodedata.is_normalized("NFC", text):
                    self.not_composed.add(line)


class Census:
    """What one pass over a reader found; the arrays hold pairs without a blank side, in the order of the file."""

    def __init__(self) -> None:
        self.pairs = 0
        self.lines, self.all_lines = array("I"), array("I")
        self.source, self.target = Side(), Side()
        self.source_hashes, self.pair_hashes = array("q"), array("q")
        self.blank_source, self.blank_target, self.blank = Tally(), Tally(), Tally()
        self.same = Tally()
        self.bad_lines = 0
        self.first_faults: list[DataError] = []
        self.unreadable: DataError | None = None
        self.unequal: UnequalLengths | None = None
        self.drift = DriftFinder()

    def note(self, fault: BadLine) -> None:
        """Keeps a bad line's fault."""
        self.bad_lines += 1
        if len(self.first_faults) < SHOWN:
            self.first_faults.append(fault)

    def add(self, chunk: list[Pair]) -> None:
        """Counts a chunk of pairs."""
        self.pairs += len(chunk)
        lines = [pair.line for pair in chunk]
        self.all_lines.extend(lines)
        self.source.add([pair.source for pair in chunk], lines)
        self.target.add([pair.target for pair in chunk], lines)
        for pair in chunk:
            source, target = pair.source, pair.target
            self.drift.add(source, target)
            if is_blank(source) or is_blank(target):
                self._add_blank(source, target, pair.line)
                continue
            self.lines.append(pair.line)
            self.source.lengths.append(len(source))
            self.target.lengths.append(len(target))
            key = hash(source)
            self.source_hashes.append(key)
            self.pair_hashes.append(hash((key, target)))
            if source == target:
                self.same.add(pair.line)

    def _add_blank(self, source: str, target: str, line: int) -> None:
        if not is_blank(source):
            self.blank_target.add(line)
        elif not is_blank(target):
            self.blank_source.add(line)
        else:
            self.blank.add(line)


def take_census(reader: PairReader) -> Census:
    """Reads all that can be read; faults of the data are kept in the census, not raised."""
    census = Census()
    pairs = _until_fault(reader, census)
    while chunk := list(islice(pairs, CHUNK)):
        census.add(chunk)
    return census


def _until_fault(reader: PairReader, census: Census) -> Iterator[Pair]:
    """The pairs up to the first fault that ends the reading; that one is kept."""
    try:
        yield from reader.read(census.note)
    except UnequalLengths as fault:
        census.unequal = fault
    except DataError as fault:
        census.unreadable = fault


def fetch(reader: PairReader, wanted: Collection[int]) -> dict[int, Pair]:
    """The pairs on these lines, by line; reads the file again up to the last of them."""
    found: dict[int, Pair] = {}
    if not wanted:
        return found
    last = max(wanted)
    for pair in reader.read(lambda fault: None):
        if pair.line in wanted:
            found[pair.line] = pair
        if pair.line >= last:
            break
    return found


def oddity(character: str) -> str:
    """What is odd about a character; empty if nothing is."""
    if character == "\ufffd":
        return "replacement character, left by a failed decoding"
    if character in NO_BREAK_SPACES:
        return "no-break space"
    if character in INVISIBLE:
        return "invisible"
    return (
        ""
        if character.isascii() and character >= " " and character != "\x7f"
        else KINDS.get(unicodedata.category(character), "")
    )
