"""One process trains in a run folder at a time: a lock that dies with its owner.

The system's lock on the file (flock) decides; it goes when the owner does, however that ends. The file's text says who
the owner is. Disks of a network without such locks leave only the text: host, boot, process and when it started, in
ticks since the boot. No clock that can be set is looked at.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

from regard.errors import StorageError, UsageError

NAME = ".regard-lock"
TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}  # said of a lock that another process has
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
PATIENCE = 1.0  # seconds in which an owner that just took the lock writes who it is


@dataclass(frozen=True)
class Owner:
    """Which process has a lock. `since` is for people: nothing is decided by it."""

    host: str
    boot: str  # differs after each restart of the machine; "" where the system does not tell
    pid: int
    started: str  # tells a process from a later one with the same number; "" where the system does not tell
    since: str

    @staticmethod
    def this() -> Owner:
        """The process that asks."""
        pid, since = os.getpid(), datetime.now().isoformat(" ", "seconds")
        return Owner(os.uname().nodename, _boot(), pid, _started(pid) or "", since)

    def may_live(self) -> bool:
        """False if it is certain that the process is no more; of another host that is never certain."""
        if self.host != os.uname().nodename:
            return True
        return self.boot == _boot() and self.started == _started(self.pid)


class RunLock:
    """`with RunLock(run): ...`: for the whole time, no other process gets into the block for this (existing) folder.

    Raises UsageError that names the other process if there is one, StorageError if the folder takes no file. A lock
    whose owner died is taken over. Children that are forked inside do not hold it.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.path = run, run / NAME
        self.handle = -1

    def __enter__(self) -> RunLock:
        try:
            self.handle = self._taken()
        except OSError as error:
            fix = "make the folder writable, or copy it to where you may write"
            raise StorageError(f"cannot be written: {error.strerror}", where=str(self.path), fix=fix) from None
        os.register_at_fork(after_in_child=self._close)  # a child that outlives us would hold the lock for ever
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.handle >= 0:  # a forked child that comes here has none
            with suppress(OSError):  # the folder is gone: nothing is left to lock
                os.unlink(self.path)
        self._close()

    def _taken(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self._lock(handle)
                if _is_at(handle, self.path):
                    _write_owner(handle)
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # its owner deleted it while we waited: it locks nothing any more

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in TAKEN:
                raise self._in_use(_read_owner(handle, PATIENCE)) from None
            if error.errno not in NO_LOCKS:
                raise
            owner = _read_owner(handle, 0.0)
            if owner and owner.may_live():
                raise self._in_use(owner) from None

    def _in_use(self, owner: Owner | None) -> UsageError:
        who = f"process {owner.pid} on {owner.host} since {owner.since}" if owner else "another process"
        fix = "wait for it, stop it, or train into another folder with --out"
        if owner and owner.host != os.uname().nodename:
            fix += f"; if nothing trains there any more, delete {self.path}"
        return UsageError(f"{self.run} is in use by {who}", fix=fix)

    def _close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def _is_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False


def _write_owner(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, (json.dumps(asdict(Owner.this())) + "\n").encode(), 0)
    os.fsync(handle)


def _read_owner(handle: int, patience: float) -> Owner | None:
    """None if the file holds no owner, for so many seconds."""
    until = time.monotonic() + patience
    while True:
        with suppress(ValueError, TypeError, KeyError):
            found = json.loads(os.pread(handle, 4096, 0))
            host, boot, started, since = (str(found[name]) for name in ("host", "boot", "started", "since"))
            return Owner(host, boot, int(found["pid"]), started, since)
        if time.monotonic() >= until:
            return None
        time.sleep(0.02)


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _started(pid: int) -> str | None:
    """When a process started, in ticks since the boot; "" if the system does not tell; None if there is none."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:  # of another user, but there
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if not Path("/proc/self").exists() else None
    state, *rest = stat.rpartition(")")[2].split()  # a name may hold spaces and brackets
    return None if state in "ZX" else rest[18]
