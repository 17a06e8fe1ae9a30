"""A file answered in parts by any number of processes: killed at any moment, the same command goes on.

The input is cut into chunks of lines. The answers to a chunk are a file in OUT.parts/ that appears whole; its first
line holds two hashes, of the command with the lines that it answers, and of its bytes. A process takes the next chunk
that has no such file and that no other works on: a lock on a byte of the file `taken`, which goes when its owner dies,
however that ends. Process 0 waits until nothing is missing, joins the parts to OUT, and deletes the folder.

The processes meet in that folder and nowhere else: torch.distributed, which takes longer to import than many a file to
translate, is not needed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import typer

from regard.cli.processes import Place
from regard.errors import DataError, StorageError, UsageError
from regard.folder import PARTIAL, explained, make_folders, remove_folder, sync, write_file
from regard.text.lines import STDIN, LineFile

COMMAND, TAKEN, JOINED = "command.json", "taken", "joined"
JOINING, FIRST_CHUNK = 0, 1  # bytes of `taken` that are locked
HEADER_LIMIT = 1000  # bytes; a header has about 200
IN_USE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}  # said of a lock that another process has
POLL = 0.1  # seconds between looks at what other processes do
PATIENCE = 300.0  # seconds in which process 0 begins
MOST_ROUNDS = 3  # after which a disk that damages what it is given is given up

Answer = Callable[[int, list[str]], str]
"""From a first line's number and lines to what is written for them. Raises DataError."""


class Chunk(NamedTuple):
    """Some lines of the input: `number` counts chunks from 0, `first` is the number of its first line, from 1.

    `key` tells which part answers it: a hash of the command and of these lines.
    """

    number: int
    first: int
    lines: list[bytes]
    offset: int
    key: str


def require_new(out: Path, place: Place) -> None:
    """UsageError, before any work, if OUT exists and is not what an interrupted command left."""
    if place.rank == 0 and os.path.lexists(out) and not (_folder_of(out) / COMMAND).exists():
        raise _exists(out)


class Parts:
    """The answers to `file`, in chunks of `size` lines, on their way to the new file `out`.

    `command`: all that the answers depend on beside the lines, in JSON's types. Parts of another command, or of a file
    of another name, are refused; of lines that have changed since, made again.
    """

    def __init__(self, file: str, out: Path, command: Mapping[str, object], size: int, answer: Answer) -> None:
        self.file = LineFile.at(file)
        self.out = out
        self.command: dict[str, Any] = json.loads(json.dumps({"file": self.file.path.name, **command}))
        self.size = size
        self.answer = answer
        self.folder = _folder_of(out)
        self._has_warned = False
        self._seed = hashlib.sha256(json.dumps(self.command, sort_keys=True).encode()).digest()

    def write(self, place: Place) -> None:
        """Answers what nobody else answers; in process 0, ends when `out` is there, in the others with the last chunk.

        Raises UsageError if `out` exists or its parts are another command's, StorageError, and DataError for a line
        that cannot be answered; the other parts stay.
        """
        self._check_file(place)
        if not (self._begin() if place.rank == 0 else self._meet()):
            return
        with self._locks() as taken:
            if taken is not None:
                keys = self._answer_free(taken)
                if place.rank == 0:
                    self._finish(taken, keys)

    def _check_file(self, place: Place) -> None:
        """Says what is wrong with the input before anything is made. What can be read once only is left alone."""
        stream = str(self.file.path) == STDIN or (self.file.path.exists() and not self.file.path.is_file())
        if not stream:
            next(self.file.raw(), None)
        elif place.size > 1:
            what = f"{self.file.name} is no file that {place.size} processes can each read"
            raise UsageError(what, fix="save it as a file, or start one process")

    def _begin(self) -> bool:
        """Makes the folder, or finds it; False if nothing is left to do."""
        ours = (self.folder / COMMAND).exists()
        if ours:
            self._compare()
        if os.path.lexists(self.out):
            if not (ours and self._is_result()):
                raise _exists(self.out)
            remove_folder(self.folder)  # killed between its last two steps
            return False
        if ours:
            count = sum(1 for _ in self.folder.glob("*.part"))
            typer.echo(f"going on with {self.folder}; parts that are there: {count}", err=True)
            return True
        make_folders(self.folder)
        if strangers := sorted(
            each.name for each in self.folder.iterdir() if not each.name.startswith((PARTIAL, COMMAND))
        ):
            fix = "move them, or choose another --out"
            raise UsageError(f"{self.folder} holds files that are no parts, such as {strangers[0]!r}", fix=fix)
        write_file(self.folder / COMMAND, (json.dumps(self.command, indent=1) + "\n").encode())
        return True

    @contextmanager
    def _locks(self) -> Iterator[int | None]:
        """The file of locks, opened once: to close it anywhere loses all that this process has. None: all is done."""
        path, handle = self.folder / TAKEN, None
        with explained(path, 0), suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            yield handle if handle is not None or self._is_open() else None
        finally:
            if handle is not None:
                os.close(handle)

    def _meet(self) -> bool:
        """Waits for process 0 to begin; False if it has ended already, or will refuse."""
        until = time.monotonic() + PATIENCE
        while not os.path.lexists(self.out):
            with suppress(FileNotFoundError):
                self._compare()
                return True
            if time.monotonic() > until:
                fix = "put --out where all processes find it, and look at what process 0 said"
                message = f"process 0 did not make this folder in {PATIENCE:.0f} seconds"
                raise StorageError(message, where=str(self.folder), fix=fix)
            time.sleep(POLL)
        return False

    def _compare(self) -> None:
        """UsageError that names what differs if the folder is another command's."""
        fix = f"repeat the first command, choose another --out, or delete {self.folder} to begin anew"
        try:
            begun = dict(json.loads((self.folder / COMMAND).read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError):
            raise UsageError(f"{self.folder / COMMAND} is damaged: it may be of any command", fix=fix) from None
        names = [*self.command, *(begun.keys() - self.command.keys())]
        pairs = [(name, begun.get(name), self.command.get(name)) for name in names]
        differ = "; ".join(
            f"{name} was {_short(before)}, is {_short(now)}" for name, before, now in pairs if before != now
        )
        if differ:
            raise UsageError(f"{self.folder} was begun by another command: {differ}", fix=fix)

    def _chunks(self) -> Iterator[Chunk]:
        raw = self.file.raw()
        number, first = 0, 1
        while lines := list(islice(raw, self.size)):
            key = hashlib.sha256(self._seed)
            for _, content in lines:
                key.update(content)
            yield Chunk(number, first, [content for _, content in lines], lines[0][0], key.hexdigest())
            number, first = number + 1, first + len(lines)

    def _answer_free(self, taken: int) -> list[str]:
        """Answers every chunk that is neither answered nor taken; returns the keys of all chunks."""
        keys = []
        for chunk in self._chunks():
            keys.append(chunk.key)
            if self._has(chunk.number, chunk.key) or not _take(taken, FIRST_CHUNK + chunk.number):
                continue
            try:
                # Looked at once more: its owner may have written it just before. The folder goes as a whole, and only
                # when nothing is missing, so a part that is missing before a look that finds the folder is missing.
                if not self._has(chunk.number, chunk.key) and self._is_open():
                    self._answer(chunk)
            finally:
                _let_go(taken, FIRST_CHUNK + chunk.number)
        return keys

    def _answer(self, chunk: Chunk) -> None:
        path = self._path(chunk.number)
        if path.exists() and not self._has_warned:
            self._has_warned = True  # if a line was put in, all after it follow
            what = f"{path} is damaged, or {self.file.name} has changed there; such parts are made again"
            typer.echo(f"warning: {what}", err=True)
        offset, lines = chunk.offset, []
        for number, content in enumerate(chunk.lines, chunk.first):
            lines.append(self.file.text((offset, content), number))
            offset += len(content)
        body = self.answer(chunk.first, lines).encode()
        header = {"answers": chunk.key, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        write_file(path, json.dumps(header).encode() + b"\n" + body)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.part"

    def _has(self, number: int, key: str) -> bool:
        """Whether the part is there, of the right chunk, in its full size."""
        try:
            with self._path(number).open("rb") as file:
                line = file.readline(HEADER_LIMIT)
                return len(line) + _header(line, key)[0] == os.fstat(file.fileno()).st_size
        except (OSError, ValueError):
            return False

    def _body(self, number: int, key: str) -> bytes | None:
        """What a part holds; None unless every byte is as it was written."""
        try:
            with self._path(number).open("rb") as file:
                _, sha256 = _header(file.readline(HEADER_LIMIT), key)
                body = file.read()
        except (OSError, ValueError):
            return None
        return body if hashlib.sha256(body).hexdigest() == sha256 else None

    def _finish(self, taken: int, keys: list[str]) -> None:
        """Waits for the other processes, does what the dead among them left, and joins."""
        rounds = 0
        while self._is_open():
            missing = [number for number, key in enumerate(keys) if not self._has(number, key)]
            while missing := [number for number in missing if self._is_awaited(taken, number, keys[number])]:
                time.sleep(POLL)
            if all(self._has(number, key) for number, key in enumerate(keys)):
                if self._join(taken, keys):
                    return
                rounds += 1
            if rounds == MOST_ROUNDS:
                fix = "choose a folder on another disk"
                raise StorageError("the disk gives back other bytes than it was given", where=str(self.folder), fix=fix)
            if self._answer_free(taken) != keys:
                message = "gives other lines when it is read again; its parts cannot be completed"
                raise DataError(message, where=self.file.name, fix="repeat the command; what is answered stays")

    def _is_open(self) -> bool:
        """Whether the folder is still there; it goes when `out` appears, which another process 0 may have made."""
        if (self.folder / COMMAND).exists():
            return True
        if not os.path.lexists(self.out):
            fix = "repeat the command"
            raise StorageError("it was deleted by somebody while it was in use", where=str(self.folder), fix=fix)
        return False

    def _is_awaited(self, taken: int, number: int, key: str) -> bool:
        """Whether another process works on the chunk."""
        if self._has(number, key):
            return False
        if _take(taken, FIRST_CHUNK + number):
            _let_go(taken, FIRST_CHUNK + number)
            return False
        return True

    def _join(self, taken: int, keys: Sequence[str]) -> bool:
        """Puts all together as `out`; False if parts were damaged, which are deleted."""
        fcntl.lockf(taken, fcntl.LOCK_EX, 1, JOINING)  # the same command may have been started twice
        joined = self.folder / JOINED
        try:
            if not self._is_open():
                return False
            needed = sum(self._path(number).stat().st_size for number in range(len(keys)))
            with explained(self.out, needed):
                if self._copy(joined, keys):
                    return False
                if os.path.lexists(self.out):
                    raise _exists(self.out)
                os.rename(joined, self.out)
                sync(self.out.parent)
            remove_folder(self.folder)
            return True
        finally:
            with suppress(FileNotFoundError):
                joined.unlink()
            _let_go(taken, JOINING)

    def _copy(self, joined: Path, keys: Sequence[str]) -> int:
        """Writes all parts one after the other, synced; returns how many of them were damaged, and deletes those."""
        damaged = 0
        with joined.open("wb") as file:
            for number, key in enumerate(keys):
                body = self._body(number, key)
                if body is None:
                    typer.echo(f"warning: {self._path(number)} is damaged; it is made again", err=True)
                    self._path(number).unlink(missing_ok=True)
                    damaged += 1
                else:
                    file.write(body)
            file.flush()
            os.fsync(file.fileno())
        return damaged

    def _is_result(self) -> bool:
        """Whether `out` is what the parts give."""
        whole = hashlib.sha256()
        for chunk in self._chunks():
            body = self._body(chunk.number, chunk.key)
            if body is None:
                return False
            whole.update(body)
        try:
            with self.out.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest() == whole.digest()
        except OSError:
            return False


def _folder_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def _exists(out: Path) -> UsageError:
    return UsageError(f"{out} exists, and is never written over", fix="delete it, or choose another --out")


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _header(line: bytes, key: str) -> tuple[int, str]:
    """(bytes, SHA-256) of a part that answers `key`; ValueError for any other."""
    try:
        header = json.loads(line)
        if line.endswith(b"\n") and header["answers"] == key:
            return int(header["bytes"]), str(header["sha256"])
    except (TypeError, LookupError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    raise ValueError("another chunk's")


def _take(handle: int, place: int) -> bool:
    """Locks a byte; False if another process has it. StorageError on a disk without locks."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:
        if error.errno in IN_USE:
            return False
        fix = "put --out on a disk whose files can be locked"
        raise StorageError(f"cannot be locked: {error.strerror}", where=TAKEN, fix=fix) from None
    return True


def _let_go(handle: int, place: int) -> None:
    fcntl.lockf(handle, fcntl.LOCK_UN, 1, place)
