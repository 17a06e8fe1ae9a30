"""Word alignments as text, `0-0 2-1` (source word, target word): the form of Pharaoh, fast_align, Marian and the rest.

In a gold file a link is sure, `2-1`, or only possible, `2?1` or `2p1`. Words are counted from 0, or from 1 if that is
said. A word is what stands between spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from regard.errors import DataError
from regard.text.lines import LineFile
from regard.text.pairs import Links, Pair, PairReader
from regard.text.shards import ShardReader

LINK = re.compile(r"([0-9]{1,9})([-?p])([0-9]{1,9})")
Link = tuple[int, int]


@dataclass(frozen=True)
class Gold:
    """The links of a pair, (source, target) from 0: the `sure` ones, and all that are `possible`, sure ones too."""

    sure: frozenset[Link]
    possible: frozenset[Link]

    @staticmethod
    def parse(links: Links, first: int = 0) -> Gold:
        """A line, in which words count from `first`; DataError, at its place, for what is no link."""
        sure, possible = set[Link](), set[Link]()
        for word in links.text.split():
            found = LINK.fullmatch(word)
            link = (int(found[1]) - first, int(found[3]) - first) if found else (-1, -1)
            if not found or min(link) < 0:
                fix = "write source-target, counted from 0: 0-0 2-1; a possible link as 2?1. From 1: say so"
                raise DataError(f"{word[:40]!r} is no link of words counted from {first}", where=links.where, fix=fix)
            possible.add(link)
            if found[2] == "-":
                sure.add(link)
        return Gold(frozenset(sure), frozenset(possible))


class LinkedPairs:
    """The pairs of a reader, each with its line of one or more files of alignments.

    Line n of these files, one after another, is that of line n of the reader's, headers not counted. It is found by
    the number of the pair's line, so whatever is left out before or after, the two stay together. DataError, with the
    place, when they are first read and have not as many lines.
    """

    def __init__(self, reader: PairReader, paths: Sequence[str]) -> None:
        self.reader = reader
        self.files = [LineFile.at(path) for path in paths]

    def __iter__(self) -> Iterator[Pair]:
        headers = self._headers()
        lines, number, links = self._lines(), 0, None
        for pair in self.reader:
            wanted = pair.line - sum(pair.line > header for header in headers)
            while number < wanted:
                number, links = number + 1, next(lines)
            yield replace(pair, links=links)

    def where(self, pair: Pair) -> str:
        """`file:line` of the pair's source."""
        return self.reader.where(pair)

    @property
    def skipped(self) -> int:
        """As the reader's."""
        return self.reader.skipped

    def _headers(self) -> list[int]:
        """The number of each header among the lines of all files; checks that there is a line for each other one."""
        parts = self.reader.shards if isinstance(self.reader, ShardReader) else [self.reader]
        ends = list(accumulate(part.lines for part in parts))
        headers = [end - part.lines + 1 for part, end in zip(parts, ends, strict=True) if part.has_header]
        counts = [file.count() for file in self.files]
        self._compare(counts, ends[-1] - len(headers))
        return headers

    def _compare(self, counts: Sequence[int], wanted: int) -> None:
        found = sum(counts)
        if found == wanted:
            return
        before, place = 0, min(found, wanted) + 1
        for file, count in zip(self.files, counts, strict=True):
            if place <= before + count or file is self.files[-1]:
                message = f"{found:,} lines of alignments for {wanted:,} lines of pairs; wanted as many"
                fix = "make one line for each pair, an empty one where nothing is linked; a header has none"
                raise DataError(message, where=file.where(place - before), fix=fix)
            before += count

    def _lines(self) -> Iterator[Links]:
        for file in self.files:
            for number, line in enumerate(file.raw(), 1):
                yield Links(file.text(line, number), file.where(number))
