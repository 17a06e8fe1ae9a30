"""Two processes, one run folder: the second is told who has it; a dead owner has nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from regard.errors import StorageError, UsageError
from regard.training.run_lock import NAME, Owner, RunLock

HOLD = """
import os, sys, time
from pathlib import Path
from regard.training.run_lock import RunLock
with RunLock(Path(sys.argv[1])):
    if sys.argv[2:] and (child := os.fork()) == 0:
        time.sleep(1000)
    print(child if sys.argv[2:] else 0, flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lock until its input ends, and the number of its child if it has one."""
    command = [sys.executable, "-c", HOLD, str(run), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            if child:
                os.kill(child, signal.SIGKILL)


def refused(run: Path) -> str:
    with pytest.raises(UsageError) as caught, RunLock(run):
        pass
    return str(caught.value)


def take(run: Path) -> Owner:
    """Takes and gives back the lock; who it then said the owner was."""
    with RunLock(run) as lock:
        return Owner(**json.loads(lock.path.read_bytes()))


def test_a_living_owner_is_named_and_a_dead_one_is_forgotten(tmp_path: Path) -> None:
    with held(tmp_path) as (process, _):
        told = refused(tmp_path)
        host = re.escape(os.uname().nodename)
        assert re.search(rf"in use by process {process.pid} on {host} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", told)
        assert "--out" in told
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / NAME).exists()  # nobody tidied up
        assert take(tmp_path).pid == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_an_owner_that_ends_leaves_nothing(tmp_path: Path) -> None:
    with held(tmp_path) as (process, _):
        process.communicate("")
        assert process.returncode == 0
        assert list(tmp_path.iterdir()) == []
    take(tmp_path)


def test_a_child_that_outlives_its_parent_holds_no_lock(tmp_path: Path) -> None:
    with held(tmp_path, "with a child") as (process, child):
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, 0)
        end = time.monotonic() + 10  # the child may have been born a moment ago, and closes what it got first
        while time.monotonic() < end:
            with suppress(UsageError):
                take(tmp_path)
                break
        else:
            take(tmp_path)


def test_a_child_that_leaves_the_block_leaves_the_lock(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from regard.training.run_lock import RunLock
with RunLock(Path(sys.argv[1])) as lock:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        sys.exit(not lock.path.exists())
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_the_same_process_does_not_get_it_twice(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert f"process {os.getpid()} " in refused(tmp_path)
        assert f"process {os.getpid()} " in refused(tmp_path)  # the first refusal gave nothing away
    take(tmp_path)


def test_an_error_inside_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunLock(tmp_path):
        raise KeyboardInterrupt
    take(tmp_path)


def test_many_in_turn_never_together(tmp_path: Path) -> None:
    """Four processes take it again and again, and write into the folder what nobody else may see."""
    code = """
import os, sys, time
from pathlib import Path
from regard.errors import UsageError
from regard.training.run_lock import RunLock
run, mark, taken = Path(sys.argv[1]), Path(sys.argv[1]) / "mark", 0
while taken < 30:
    try:
        with RunLock(run):
            mark.touch(exist_ok=False)
            taken += 1
            mark.unlink()
    except UsageError:
        time.sleep(0.001)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


# Disks without locks.


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def left_by(run: Path, change: Callable[[dict[str, object]], dict[str, object]], owner: Owner) -> None:
    (run / NAME).write_text(json.dumps(change(vars(owner).copy())), encoding="utf-8")


@pytest.mark.usefixtures("without_locks")
def test_the_text_decides_where_there_are_no_locks(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert f"process {os.getpid()} " in refused(tmp_path)
    take(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_locks")
def test_a_killed_owner_where_there_are_no_locks(tmp_path: Path) -> None:
    with held(tmp_path) as (process, _):
        assert f"process {process.pid} " in refused(tmp_path)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        take(tmp_path)  # a zombie, dead all the same
        process.wait()


DEAD = {
    "the machine was started again": lambda owner: {**owner, "boot": "another"},
    "its number went to a later process": lambda owner: {**owner, "started": "17"},
    "no such process": lambda owner: {**owner, "pid": 1 << 22},
    "an absurd number": lambda owner: {**owner, "pid": 1 << 70},
    "of a later time, for the clock was set back": lambda owner: {**owner, "boot": "b", "since": "2999-01-01 00:00:00"},
}


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("change", DEAD.values(), ids=DEAD)
def test_dead_owners_where_there_are_no_locks(
    tmp_path: Path, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    left_by(tmp_path, change, Owner.this())
    assert take(tmp_path) == Owner(**{**vars(Owner.this()), "since": take(tmp_path).since})


@pytest.mark.usefixtures("without_locks")
def test_of_another_host_nothing_is_certain(tmp_path: Path) -> None:
    """Its process numbers are not ours: neither one that lives here nor one that does not tells anything."""
    for pid in (os.getpid(), 1 << 22):
        left_by(tmp_path, lambda owner, pid=pid: {**owner, "host": "elsewhere", "pid": pid}, Owner.this())  # type: ignore[misc]
        told = refused(tmp_path)
        assert f"process {pid} on elsewhere since" in told
        assert f"if nothing trains there any more, delete {tmp_path / NAME}" in told


@pytest.mark.usefixtures("without_locks")
def test_the_clock_decides_nothing(tmp_path: Path) -> None:
    for since in ("1970-01-01 00:00:00", "2999-01-01 00:00:00", ""):
        left_by(tmp_path, lambda owner, since=since: {**owner, "since": since}, Owner.this())  # type: ignore[misc]
        assert f"process {os.getpid()} " in refused(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"pid": 1}', b"0" * 5000])
def test_a_file_that_names_nobody_locks_nobody_out(tmp_path: Path, text: bytes, without_locks: None) -> None:
    (tmp_path / NAME).write_bytes(text)
    take(tmp_path)


def test_with_locks_the_text_of_another_host_is_only_text(tmp_path: Path) -> None:
    left_by(tmp_path, lambda owner: {**owner, "host": "elsewhere"}, Owner.this())
    assert take(tmp_path).host == os.uname().nodename


# Places that take no file.


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match="cannot be written: Read-only file system") as caught, RunLock(tmp_path):
        pass
    assert caught.value.where == str(tmp_path / NAME)


@pytest.mark.parametrize("place", [Path("/sys/kernel"), Path(__file__)])
def test_places_that_take_no_file(place: Path) -> None:
    if not place.exists():
        pytest.skip("another system")
    with pytest.raises(StorageError, match="cannot be written"), RunLock(place):
        pass
