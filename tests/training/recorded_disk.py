"""A disk that loses power: what a program does to files is recorded, and replayed up to any operation.

What was synced is on the disk. Of the rest, anything may be: each write may be lost, cut or zeros, each name (made,
renamed, deleted) as before or as after, independently of all others. A rename is all or nothing, as every file system
with a journal promises it; nothing else is taken for granted, no order either.
"""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = 0  # the node of the folder that was there before


class Killed(BaseException):
    """The recorded process is no more."""


@dataclass(frozen=True)
class Operation:
    """`name` in the folder `place` now stands for `node` (None: for nothing), no longer `before` in the same folder.

    Or, if `data` is given, those bytes at `offset` of the file `node`. Or, if `synced`, a sync of `node`.
    """

    node: int | None
    place: int | None = None
    name: str = ""
    before: str = ""
    data: bytes | None = None
    offset: int = 0
    synced: bool = False


@dataclass
class Recorder:
    """Stands between `os` and the files below `root`. `die_at` counts operations: there the process is killed."""

    root: Path
    log: list[Operation] = field(default_factory=list)
    die_at: int | None = None
    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    sizes: dict[int, int] = field(default_factory=dict)
    handles: dict[int, tuple[int, int]] = field(default_factory=dict)  # to (node, place of the next write)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """From now on; syncs are recorded and not done, so this is quick."""
        real = {name: getattr(os, name) for name in ("open", "close", "write", "mkdir", "rename", "unlink", "rmdir")}
        patch.setattr(
            os,
            "open",
            lambda path, flags, mode=0o777, *, dir_fd=None: self._open(real["open"], path, flags, mode, dir_fd),
        )
        patch.setattr(os, "close", lambda handle: (self.handles.pop(handle, None), real["close"](handle))[1])
        patch.setattr(os, "write", lambda handle, data: self._write(real["write"], handle, bytes(data)))
        patch.setattr(os, "fsync", self._sync)
        patch.setattr(
            os, "mkdir", lambda path, mode=0o777, *, dir_fd=None: self._mkdir(real["mkdir"], path, mode, dir_fd)
        )
        for name in ("unlink", "rmdir"):
            patch.setattr(os, name, lambda path, *, dir_fd=None, call=real[name]: self._remove(call, path, dir_fd))
        for name in ("rename", "replace"):
            patch.setattr(os, name, lambda old, new: self._rename(real["rename"], old, new))

    def open(self, path: Path, mode: str = "r", encoding: str | None = None) -> Any:
        """In place of the `open` of a module under test, which calls the system directly."""
        binary = _Opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND if "a" in mode else os.O_RDONLY)
        return binary if "b" in mode else io.TextIOWrapper(io.BufferedWriter(binary), encoding=encoding, newline="")

    def _where(self, path: Any, dir_fd: int | None) -> tuple[int, str] | None:
        """(folder, name) of what lies below the root; None elsewhere."""
        if dir_fd is not None:
            return (self.handles[dir_fd][0], os.fspath(path)) if dir_fd in self.handles else None
        absolute = Path(os.path.abspath(path))
        if self.root not in absolute.parents:
            return (ROOT, "") if absolute == self.root else None
        *above, name = absolute.relative_to(self.root).parts
        node = ROOT
        for part in above:
            if part not in self.folders[node]:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            node = self.folders[node][part]
        return node, name

    def _do(self, operation: Operation, call: Callable[[], Any]) -> Any:
        """Records what the system did; what it refused never happened, and the dead do nothing."""
        if self.die_at is not None and len(self.log) >= self.die_at:
            raise Killed
        result = call()
        self.log.append(operation)
        return result

    def _open(self, call: Callable[..., int], path: Any, flags: int, mode: int, dir_fd: int | None) -> int:
        where = self._where(path, dir_fd)
        if where is None:
            return call(path, flags, mode, dir_fd=dir_fd)
        place, name = where
        node = self.folders[place].get(name) if name else ROOT
        if node is None and flags & os.O_CREAT:
            node = len(self.folders) + len(self.sizes)
            handle: int = self._do(Operation(node, place, name), lambda: call(path, flags, mode, dir_fd=dir_fd))
            self.folders[place][name], self.sizes[node] = node, 0
        else:
            handle = call(path, flags, mode, dir_fd=dir_fd)
        assert node is not None
        self.handles[handle] = (node, self.sizes.get(node, 0) if flags & os.O_APPEND else 0)
        return handle

    def _write(self, call: Callable[[int, bytes], int], handle: int, data: bytes) -> int:
        if handle not in self.handles:
            return call(handle, data)
        node, offset = self.handles[handle]
        written: int = self._do(Operation(node, data=data, offset=offset), lambda: call(handle, data))
        assert written == len(data)
        self.handles[handle] = (node, offset + written)
        self.sizes[node] = max(self.sizes[node], offset + written)
        return written

    def _sync(self, handle: int) -> None:
        if handle in self.handles:
            self._do(Operation(self.handles[handle][0], synced=True), lambda: None)

    def _mkdir(self, call: Callable[..., None], path: Any, mode: int, dir_fd: int | None) -> None:
        where = self._where(path, dir_fd)
        node = len(self.folders) + len(self.sizes)
        if where is None or not where[1]:
            return call(path, mode, dir_fd=dir_fd)
        self._do(Operation(node, *where), lambda: call(path, mode, dir_fd=dir_fd))
        self.folders[where[0]][where[1]], self.folders[node] = node, {}
        return None

    def _remove(self, call: Callable[..., None], path: Any, dir_fd: int | None) -> None:
        where = self._where(path, dir_fd)
        if where is None:
            return call(path, dir_fd=dir_fd)
        self._do(Operation(None, *where), lambda: call(path, dir_fd=dir_fd))
        del self.folders[where[0]][where[1]]
        return None

    def _rename(self, call: Callable[..., None], old: Any, new: Any) -> None:
        where, there = self._where(old, None), self._where(new, None)
        assert where
        assert there
        assert where[0] == there[0], "renamed into another folder: not modelled"
        place, name = where
        node = self.folders[place][name]
        self._do(Operation(node, place, there[1], before=name), lambda: call(old, new))
        self.folders[place][there[1]] = self.folders[place].pop(name)


class _Opened(io.RawIOBase):
    """A file whose every call goes through `os`."""

    def __init__(self, path: Path, flags: int) -> None:
        self.handle = os.open(path, flags, 0o666)

    def fileno(self) -> int:
        return self.handle

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return os.write(self.handle, bytes(data))

    def close(self) -> None:
        if not self.closed:
            os.close(self.handle)
        super().close()


Choice = Callable[[Operation], bytes | bool]  # kept, lost, or the bytes that are there instead


def lost(operation: Operation) -> bool:
    """The least that the disk may hold."""
    return False


def kept(operation: Operation) -> bool:
    """As if the power had stayed."""
    return True


def zeroed(operation: Operation) -> bytes | bool:
    """Names and sizes arrive before the bytes do."""
    return True if operation.data is None else bytes(len(operation.data))


def nameless(operation: Operation) -> bool:
    """Bytes arrive before the names do."""
    return operation.data is not None


def drawn(seed: int) -> Choice:
    """Anything."""
    dice = random.Random(seed)

    def choose(operation: Operation) -> bytes | bool:
        if operation.data and dice.random() < 0.5:
            return operation.data[: dice.randrange(len(operation.data))] + bytes(dice.randrange(2))
        return dice.random() < 0.5

    return choose


Tree = dict[str, "Tree | bytes"]


def after(recorder: Recorder, count: int, choose: Choice) -> Tree:
    """What the disk holds if the power goes after so many operations, and what was not synced is up to `choose`."""
    log = recorder.log
    sure: set[int] = set()  # places in the log
    synced: set[int] = set()
    for number in range(count - 1, -1, -1):
        operation = log[number]
        if operation.synced:
            assert operation.node is not None
            synced.add(operation.node)
        elif (operation.node if operation.data is not None else operation.place) in synced:
            sure.add(number)
    folders: dict[int, dict[str, int]] = {}
    files: dict[int, bytearray] = {}
    for number, operation in enumerate(log[:count]):
        if operation.synced:
            continue
        decided = True if number in sure else choose(operation)
        if decided is not False:
            _apply(operation, operation.data if decided is True else decided, folders, files)
    return _tree(ROOT, recorder, folders, files)


def _apply(operation: Operation, data: Any, folders: dict[int, dict[str, int]], files: dict[int, bytearray]) -> None:
    if operation.data is not None:
        assert operation.node is not None
        file = files.setdefault(operation.node, bytearray())
        file.extend(bytes(max(0, operation.offset - len(file))))
        file[operation.offset : operation.offset + len(data)] = data
        return
    assert operation.place is not None
    names = folders.setdefault(operation.place, {})
    if operation.node is None:
        names.pop(operation.name, None)
        return
    names[operation.name] = operation.node
    if names.get(operation.before) == operation.node:
        del names[operation.before]


def _tree(node: int, recorder: Recorder, folders: dict[int, dict[str, int]], files: dict[int, bytearray]) -> Tree:
    return {
        name: bytes(files.get(below, b"")) if below in recorder.sizes else _tree(below, recorder, folders, files)
        for name, below in sorted(folders.get(node, {}).items())
    }


def write_tree(tree: Tree, folder: Path) -> None:
    """Puts it into a new folder."""
    folder.mkdir()
    for name, content in tree.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            write_tree(content, folder / name)
