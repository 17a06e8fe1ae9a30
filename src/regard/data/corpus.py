"""Pairs as ids: on disk and memory-mapped, so that a corpus larger than memory trains; or in memory, for small ones.

The ids of all pairs stand one after another in one file a side; a row is found by its offset and its length, which have
files of their own. A source ends with eos; a target starts with bos and ends with eos.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from regard import __version__
from regard.data.links import token_links
from regard.data.tokens import Batch, Tokens
from regard.errors import DataError, ModelFolderError, StorageError
from regard.folder import new_folder, remove_folder, verify
from regard.text.pairs import Pair, is_blank
from regard.text.tokenizer import BOS, EOS, PAD, Tokenizer

CHUNK = 10_000  # pairs encoded at a time
PARTS = {"ids": "i", "lengths": "i", "offsets": "q"}  # files of a side, and the type of their numbers
SIDES, LINKS = ("source", "target"), "links"  # the links between tokens are kept as a third side
FILES = (*(f"{side}.{part}" for side in SIDES for part in PARTS), "left.json")
BUFFER = 1 << 16  # numbers that wait to be written


@dataclass(frozen=True)
class Side:
    """The ids of one side of all pairs, one row after another, and the length of each row [N]."""

    ids: Int[Tensor, " total"]
    lengths: Int[Tensor, " N"]
    offsets: Int[Tensor, " N"]

    @staticmethod
    def of(ids: Tensor, lengths: Tensor) -> Side:
        """The offsets follow from the lengths."""
        return Side(ids, lengths, lengths.cumsum(0, dtype=torch.int64) - lengths)

    @staticmethod
    def of_rows(rows: Sequence[Sequence[int]]) -> Side:
        """The ids of each row."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return Side.of(torch.tensor([id for row in rows for id in row], dtype=torch.int64), lengths)

    def tokens(self, rows: Int[Tensor, " B"]) -> Tokens:
        """The given rows, padded to the longest of them."""
        lengths = self.lengths[rows].to(torch.int64)
        within = torch.arange(int(lengths.max()))
        is_real = within < lengths[:, None]
        places = (self.offsets[rows][:, None] + within).where(is_real, 0)
        return Tokens(self.ids[places].to(torch.int64).where(is_real, PAD), lengths)


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs as ids, row i of `source` with row i of `target`, and of `links` (see `Batch`), if there are any."""

    source: Side
    target: Side
    links: Side | None = None

    @staticmethod
    def mapped(folder: Path) -> EncodedPairs:
        """From the files that `PairEncoder.on_disk` makes: of them, memory holds what the system has room for."""
        return EncodedPairs(*(_map(folder, side) for side in (*SIDES, LINKS) if (folder / f"{side}.lengths").exists()))

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.source.lengths)

    def batch(self, rows: Int[Tensor, " B"]) -> Batch:
        """The given pairs as a batch."""
        links = None if self.links is None else self.links.tokens(rows)
        return Batch(self.source.tokens(rows), self.target.tokens(rows), links)


class Corpus(Protocol):
    """What training reads: the pairs of an epoch. A file gives the same ones each time, a generated task new ones."""

    def epoch(self, number: int) -> EncodedPairs:
        """A pure function of the number."""
        ...


@dataclass(frozen=True)
class FileCorpus:
    """The pairs of files."""

    pairs: EncodedPairs

    def epoch(self, number: int) -> EncodedPairs:
        """The same pairs each time."""
        return self.pairs


@dataclass(frozen=True)
class GeneratedCorpus:
    """Pairs made anew for each epoch."""

    make: Callable[[int], Sequence[Pair]]
    encoder: PairEncoder

    def epoch(self, number: int) -> EncodedPairs:
        """Other pairs for another number."""
        return self.encoder.in_memory(self.make(number))


@dataclass
class Left:
    """What training does not use, counted."""

    pairs: int = 0
    blank: int = 0
    too_long: int = 0
    bad_lines: int = 0


@dataclass(frozen=True)
class PairEncoder:
    """Text to rows of ids; pairs with a blank side or more than `longest` tokens on a side are left out and counted.

    `links`: the links of the pairs as well, to be trained with.
    """

    source: Tokenizer
    target: Tokenizer
    longest: int
    links: bool = False

    def rows(self, pairs: Iterable[Pair], left: Left) -> Iterator[tuple[list[int], list[int]]]:
        """Ids with their bos and eos, in order."""
        return ((source, target) for source, target, *_ in self._rows(pairs, left))

    def _rows(self, pairs: Iterable[Pair], left: Left) -> Iterator[tuple[list[int], ...]]:
        """With the links, if they are wanted."""
        remaining = iter(pairs)
        while chunk := list(islice(remaining, CHUNK)):
            full = [pair for pair in chunk if not (is_blank(pair.source) or is_blank(pair.target))]
            left.blank += len(chunk) - len(full)
            sources = self.source.encode_many([pair.source for pair in full])
            targets = self.target.encode_many([pair.target for pair in full])
            for pair, source, target in zip(full, sources, targets, strict=True):
                if max(len(source), len(target)) > self.longest:
                    left.too_long += 1
                    continue
                left.pairs += 1
                links = [token_links(pair, self.source, self.target)] if self.links else []
                yield [*source, EOS], [BOS, *target, EOS], *links

    def in_memory(self, pairs: Iterable[Pair], left: Left | None = None) -> EncodedPairs:
        """All pairs as tensors."""
        sides = [(array("i"), array("i")) for _ in self._sides]
        for row in self._rows(pairs, left or Left()):
            for (ids, lengths), tokens in zip(sides, row, strict=True):
                ids.extend(tokens)
                lengths.append(len(tokens))
        return EncodedPairs(*(Side.of(_tensor(ids), _tensor(lengths)) for ids, lengths in sides))

    def on_disk(self, pairs: Iterable[Pair], content: str, count_bad: Callable[[], int]) -> tuple[EncodedPairs, Left]:
        """All pairs as memory-mapped files, made once for the same `content` (a hash), tokenizers and limit.

        Files that are not as they were written are made again. Raises StorageError, and what reading `pairs` raises.
        """
        settings = (__version__, content, self.source.digest(), self.target.digest(), self.longest)
        key = hashlib.sha256(json.dumps([*settings, *self._sides[2:]]).encode()).hexdigest()
        files = (*FILES, *(f"{LINKS}.{part}" for part in PARTS if self.links))
        folder = cached(key, files, lambda temporary: self._write(pairs, temporary, count_bad))
        left = Left(**json.loads((folder / "left.json").read_text(encoding="utf-8")))
        return EncodedPairs.mapped(folder), left

    def _write(self, pairs: Iterable[Pair], folder: Path, count_bad: Callable[[], int]) -> None:
        left = Left()
        with ExitStack() as stack:
            writers = [stack.enter_context(_writer(folder, side)) for side in self._sides]
            for row in self._rows(pairs, left):
                for writer, tokens in zip(writers, row, strict=True):
                    writer.add(tokens)
        left.bad_lines = count_bad()
        (folder / "left.json").write_text(json.dumps(asdict(left)), encoding="utf-8")

    @property
    def _sides(self) -> tuple[str, ...]:
        return (*SIDES, LINKS) if self.links else SIDES


class _Writer:
    """Rows of one side to its files, those of `PARTS`."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self.files, self.end = files, 0
        self.parts = tuple(array(kind) for kind in PARTS.values())

    def add(self, tokens: list[int]) -> None:
        ids, lengths, offsets = self.parts
        ids.extend(tokens)
        lengths.append(len(tokens))
        offsets.append(self.end)
        self.end += len(tokens)
        if len(ids) > BUFFER:
            self.write()

    def write(self) -> None:
        for numbers, file in zip(self.parts, self.files, strict=True):
            numbers.tofile(file)
            del numbers[:]


@contextmanager
def _writer(folder: Path, side: str) -> Iterator[_Writer]:
    ids, lengths, offsets = (folder / f"{side}.{part}" for part in PARTS)
    with open(ids, "wb") as ids_file, open(lengths, "wb") as lengths_file, open(offsets, "wb") as offsets_file:
        writer = _Writer((ids_file, lengths_file, offsets_file))
        yield writer
        writer.write()


def cache_folder() -> Path:
    """Where encoded corpora are kept: $REGARD_CACHE, else the user's cache folder. It may be deleted at any time."""
    chosen = os.environ.get("REGARD_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(chosen) if chosen else Path(user).expanduser() / "regard"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the cache folder: {error}", where=str(folder), fix="set REGARD_CACHE"
        ) from None
    return folder


def cached(name: str, files: Collection[str], write: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache; unless its files are as they were written, `write(folder)` makes them."""
    folder = cache_folder() / name
    try:
        verify(folder, files)
    except ModelFolderError:
        if folder.exists():
            remove_folder(folder)
        new_folder(folder, write)
    return folder


def clear_cache() -> None:
    """Removes every encoded corpus, and the copies of standard input that runs were trained on."""
    shutil.rmtree(cache_folder())


def content_hash(paths: Sequence[Path], *settings: str) -> str:
    """SHA-256 of the bytes of files, their endings (which tell the format) and `settings`; DataError names a file."""
    parts = [json.dumps([*settings, *("".join(path.suffixes[-2:]) for path in paths)])]
    for path in paths:
        try:
            with open(path, "rb") as file:
                parts.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            fix = "check the path and the file's permissions"
            raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _map(folder: Path, side: str) -> Side:
    return Side(*(_mapped(folder / f"{side}.{part}", kind) for part, kind in PARTS.items()))


def _mapped(path: Path, kind: str) -> Tensor:
    dtype = torch.int32 if kind == "i" else torch.int64
    count = path.stat().st_size // dtype.itemsize
    if count == 0:
        return torch.empty(0, dtype=dtype)
    return torch.from_file(str(path), shared=False, size=count, dtype=dtype)


def _tensor(values: array[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)
