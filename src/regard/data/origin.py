"""Where pairs come from: the user's files, a generated task, or a corpus that is built in."""

from __future__ import annotations

import heapq
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regard.config import Data
from regard.data.corpus import cached, content_hash
from regard.data.pronunciations import place, pronunciations
from regard.data.scan import scan_length_pairs
from regard.data.tasks import TASKS, draw, task_named
from regard.errors import DataError, UsageError
from regard.text.lines import STDIN, read_lines, spooled_stdin
from regard.text.pairs import Pair, PairFormat, PairReader, is_blank
from regard.text.pharaoh import LinkedPairs
from regard.text.shards import open_pairs

DICTIONARY = "pronounce"  # English words to phones, without stress


@dataclass(frozen=True)
class Origin:
    """Training pairs, which can be read again and again, and development pairs.

    `redraw` makes the training pairs of an epoch where they are generated. `content` changes when the pairs change.
    `bad_lines` tells how many lines the last reading skipped.
    """

    train: Iterable[Pair]
    valid: Iterable[Pair]
    content: str
    bad_lines: Callable[[], int]
    redraw: Callable[[int], Sequence[Pair]] | None = None


def open_origin(data: Data, seed: int) -> Origin:
    """What the data section of a recipe names.

    Raises UsageError unless it names exactly one thing, and DataError where a file cannot be read at all; what stands
    in the files is looked at only when they are read.
    """
    if bool(data.pairs) == bool(data.task):
        raise UsageError("give a file of pairs or --task NAME, one of them", fix=f"tasks: {', '.join(task_names())}")
    if data.task and data.task not in task_names():
        raise UsageError(f"there is no task {data.task!r}", fix=f"choose one of {', '.join(task_names())}")
    valid = _reader(data, data.valid) if data.valid else None
    if data.task and data.alignments:
        raise UsageError("data.alignments belong to files of pairs, not to a task", fix="leave one of the two out")
    if data.task:
        origin = CORPORA[data.task]() if data.task in CORPORA else _task(data, seed)
        return replace(origin, valid=valid) if valid else origin
    return _files(data, valid)


def keep_stdin() -> Path:
    """Copies standard input into the cache, where equal input is kept once; the path of the copy.

    A run reads its pairs many times, and once more when it is resumed, but standard input can be read only once.
    Raises DataError if it is empty or no text, StorageError if it cannot be kept.
    """
    reader = PairReader((STDIN,))  # the first copy lives as long
    copy = spooled_stdin(reader)
    first = next(copy.raw(), None)
    if first is None:
        raise DataError("standard input is empty", where="stdin", fix="pipe pairs in, or name a file")
    name = f"pairs{'.jsonl' if _is_object(first[1]) else '.tsv'}"

    def write(folder: Path) -> None:
        shutil.copyfile(copy.path, folder / name)

    return cached(f"stdin-{content_hash([copy.path])[:16]}", [name], write) / name


def _is_object(line: bytes) -> bool:
    """Whether a line is a JSON object: standard input has no name to tell its format."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def task_names() -> list[str]:
    """What --task takes."""
    return [*TASKS, *CORPORA]


def pick(pairs: Iterable[Pair], most: int) -> list[Pair]:
    """At most `most` of the pairs that have both sides, chosen by the hash of the source, in their order."""
    full = (pair for pair in pairs if not (is_blank(pair.source) or is_blank(pair.target)))
    chosen = heapq.nsmallest(most, full, key=lambda pair: (place(pair.source), pair.line))
    return sorted(chosen, key=lambda pair: pair.line)


@dataclass(frozen=True)
class Part:
    """One side of a split by the hash of the source, so that a source never stands on both sides."""

    pairs: Iterable[Pair]
    share: float
    held_out: bool

    def __iter__(self) -> Iterator[Pair]:
        """Reads all pairs and gives those of this side."""
        return (pair for pair in self.pairs if (place(pair.source) < self.share) == self.held_out)


def _reader(data: Data, paths: Sequence[str]) -> PairReader:
    """Of files that can be opened; standard input, which can be read once, is not among them."""
    if STDIN in paths:
        raise UsageError("standard input can be read only once", fix="save it as a file, as `regard train -` does")
    for path in paths:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
            raise UsageError(
                "is no file that can be read twice", where=path, fix="save it as a file, or pipe it to `-`"
            )
    reader = open_pairs(paths, PairFormat(data.columns, data.separator, data.on_bad_line))
    for file in reader.paths:
        next(read_lines(str(file), on_bad_line="skip"), None)
    return reader


def _files(data: Data, valid: PairReader | None) -> Origin:
    reader = _reader(data, data.pairs)
    files = [*reader.paths, *map(Path, data.alignments)]
    content = content_hash(files, repr(reader.format), str(data.hold_out if valid is None else 0.0))
    pairs = LinkedPairs(reader, data.alignments) if data.alignments else reader
    if valid:
        return Origin(pairs, valid, content, lambda: reader.skipped)
    train, held_out = (Part(pairs, data.hold_out, held_out) for held_out in (False, True))
    return Origin(train, held_out, content, lambda: reader.skipped)


def _task(data: Data, seed: int) -> Origin:
    task = task_named(data.task or "")

    def redraw(epoch: int) -> list[Pair]:
        return draw(task, seed, epoch, data.task_pairs)

    valid = draw(task, seed, -1, task.valid_count)
    return Origin(redraw(0), valid, f"{task.name} {seed}", lambda: 0, redraw)


def _dictionary() -> Origin:
    parts = {part: list(pronunciations(part, stress=False)) for part in ("train", "valid")}
    return Origin(parts["train"], parts["valid"], DICTIONARY, lambda: 0)


def _scan_length() -> Origin:
    return Origin(scan_length_pairs(long=False), scan_length_pairs(long=True), "scan_length", lambda: 0)


CORPORA: dict[str, Callable[[], Origin]] = {  # tasks whose pairs are not drawn: there are so many and no more
    DICTIONARY: _dictionary,
    "scan_length": _scan_length,
}


def require_some(pairs: int, left_out: str) -> None:
    """DataError unless there is something to train on."""
    if pairs == 0:
        raise DataError(f"no pair is left to train on ({left_out})", fix="`regard check` tells what stands in the file")
