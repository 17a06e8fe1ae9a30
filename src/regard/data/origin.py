"""Where pairs come from: the user's files, a generated task, or the built-in dictionary."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.config import Data
from regard.data.corpus import content_hash
from regard.data.pronunciations import pronunciations
from regard.data.tasks import TASKS, draw, task_named
from regard.errors import DataError, UsageError
from regard.text.pairs import Pair, PairFormat, PairReader, is_blank

DICTIONARY = "pronounce"  # the task that is not generated: English words to phones, without stress


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
    """What the data section of a recipe names; UsageError unless it names exactly one thing."""
    if bool(data.pairs) == bool(data.task):
        raise UsageError("give a file of pairs or --task NAME, one of them", fix=f"tasks: {', '.join(task_names())}")
    if data.task == DICTIONARY:
        return _dictionary()
    return _task(data, seed) if data.task else _files(data)


def task_names() -> list[str]:
    """What --task takes."""
    return [*TASKS, DICTIONARY]


def pick(pairs: Iterable[Pair], most: int) -> list[Pair]:
    """At most `most` of the pairs that have both sides, chosen by the hash of the source, in their order."""
    full = (pair for pair in pairs if not (is_blank(pair.source) or is_blank(pair.target)))
    chosen = heapq.nsmallest(most, full, key=lambda pair: (_place(pair.source), pair.line))
    return sorted(chosen, key=lambda pair: pair.line)


@dataclass(frozen=True)
class Part:
    """One side of a split by the hash of the source, so that a source never stands on both sides."""

    pairs: Iterable[Pair]
    share: float
    held_out: bool

    def __iter__(self) -> Iterator[Pair]:
        """Reads all pairs and gives those of this side."""
        return (pair for pair in self.pairs if (_place(pair.source) < self.share) == self.held_out)


def _files(data: Data) -> Origin:
    pair_format = PairFormat(data.columns, data.separator, data.on_bad_line)
    reader = PairReader(data.pairs, pair_format)
    settings = (repr(pair_format), str(data.hold_out))
    content = content_hash([Path(path) for path in data.pairs], *settings)
    if data.valid:
        return Origin(reader, PairReader(data.valid, pair_format), content, lambda: reader.skipped)
    train, valid = (Part(reader, data.hold_out, held_out) for held_out in (False, True))
    return Origin(train, valid, content, lambda: reader.skipped)


def _task(data: Data, seed: int) -> Origin:
    task = task_named(data.task or "")

    def redraw(epoch: int) -> list[Pair]:
        return draw(task, seed, epoch, data.task_pairs)

    valid = draw(task, seed, -1, task.valid_count)
    return Origin(redraw(0), valid, f"{task.name} {seed}", lambda: 0, redraw)


def _dictionary() -> Origin:
    parts = {part: list(pronunciations(part, stress=False)) for part in ("train", "valid")}
    return Origin(parts["train"], parts["valid"], DICTIONARY, lambda: 0)


def _place(source: str) -> float:
    """A number from 0 to 1 that depends on the text alone."""
    return (
        int.from_bytes(hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big") / 2**56
    )


def require_some(pairs: int, left_out: str) -> None:
    """DataError unless there is something to train on."""
    if pairs == 0:
        raise DataError(f"no pair is left to train on ({left_out})", fix="`regard check` tells what stands in the file")
