"""A corpus in many files: three or more, or all the files of a folder, each with both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from regard.errors import DataError, UsageError
from regard.text.lines import STDIN, BadLine
from regard.text.pairs import Pair, PairFormat, PairReader


def open_pairs(paths: Sequence[str | Path], format: PairFormat) -> PairReader:
    """A reader of one file of pairs, two parallel files, three or more files of pairs, or a folder of them.

    UsageError for paths that cannot be meant, DataError for a folder without files.
    """
    if len(paths) > 2 or any(Path(path).is_dir() for path in paths):
        return ShardReader([file for path in paths for file in _files(Path(path))], format)
    return PairReader(paths, format)


class ShardReader(PairReader):
    """Reads files of pairs one after another; `line` counts on from file to file."""

    def __init__(self, paths: Sequence[str | Path], format: PairFormat) -> None:
        if STDIN in map(str, paths):
            raise UsageError("standard input is not one of many files", fix="save it as a file")
        self.paths = tuple(Path(path) for path in paths)
        self.format = format
        self.skipped = 0
        self.shards = [PairReader([path], format) for path in paths]

    def read(self, on_bad: Callable[[BadLine], None]) -> Iterator[Pair]:
        """Yields every pair that can be read and gives each line that cannot to `on_bad`; other faults are raised."""
        before = 0
        for shard in self.shards:
            for pair in shard.read(on_bad):
                yield replace(pair, line=before + pair.line)
            before += shard.lines

    def where(self, pair: Pair) -> str:
        """`file:line` of the pair."""
        line = pair.line
        for shard in self.shards:
            if line <= (count := shard.lines):
                return shard.where(replace(pair, line=line))
            line -= count
        raise ValueError(f"there is no line {pair.line}")


def _files(path: Path) -> list[Path]:
    """The files of a folder by name, hidden ones left out; a file is itself."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    if not found:
        raise DataError("no file is in this folder", where=str(path), fix="name a folder of files of pairs")
    return found
