"""Files and folders that are whole or not there: how a run, a model and a checkpoint get to disk and are checked.

A folder is written under a name of its own, all of it is synced, MANIFEST.json (size and SHA-256 of each file) comes
last, everything is read back, and one rename makes it appear: what carries the final name is complete, whenever the
process died. A writer holds the lock of the parent folder, which dies with its process; so whoever has the lock knows
that every `.regard-partial-*` in it is a leftover, and that a `.regard-aside-*` (an old folder in the instant in which
a new one takes its name) is to be put back or deleted.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path

from regard.errors import ModelFolderError, StorageError

MANIFEST = "MANIFEST.json"
SCHEMA = 1
MANIFEST_LIMIT = 1 << 20  # bytes; a folder of ours needs a few hundred
PARTIAL, ASIDE = ".regard-partial-", ".regard-aside-"
PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"  # neither "." nor ".."
NAME = re.compile(rf"(?!{re.escape(MANIFEST)}$){PART}(?:/{PART})*")


def write_file(path: Path, content: bytes) -> None:
    """Writes or replaces one file: after a crash it holds the old content or the new. Raises StorageError."""
    with explained(path, len(content)), _only_writer(path.parent) as temporary:
        write_new(temporary, content)
        os.replace(temporary, path)


def write_new(path: Path, content: bytes) -> None:
    """Writes and syncs a file that must not exist yet; for use inside `new_folder`. Raises plain OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(content)
        while rest:  # a write may take less than it was given
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def seal(folder: Path, names: Sequence[str]) -> None:
    """Syncs the named files (relative, `/` between parts), then writes their size and SHA-256 to MANIFEST.json."""
    with explained(folder, 0):
        files = {folder / name for name in names}
        for path in sorted(files | {above for file in files for above in file.parents if folder in above.parents}):
            sync(path)
        sync(folder)
        listed = {name: ((folder / name).stat().st_size, _sha256(folder / name)) for name in names}
    write_file(folder / MANIFEST, _manifest_text(listed).encode())


def verify(folder: Path, required: Collection[str] = ()) -> None:
    """Compares every listed file with MANIFEST.json; files it does not list are ignored, unless `required`.

    Raises one ModelFolderError that names each missing, truncated, altered or linked file, with expected and found.
    """
    try:
        listed = _read_manifest(folder / MANIFEST)
        faults = [f"{name}: expected in {MANIFEST}, found no such entry" for name in required if name not in listed]
        faults += [fault for name, entry in listed.items() if (fault := _fault(folder, name, *entry))]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as error:
        faults = [f"{MANIFEST}: expected a list of files, found a fault: {error}"]
    if faults:
        fix = "copy the folder again from where it came, or use an earlier checkpoint"
        raise ModelFolderError("\n  ".join(faults), where=str(folder), fix=fix)


def new_folder(final: Path, write: Callable[[Path], None], *, needed: int = 0) -> None:
    """Makes the folder `final` out of what `write(temporary)` puts in it; an older sealed `final` is replaced.

    `needed` is its size in bytes where known: a disk without that room is refused before anything is written.
    Raises StorageError; then all is as it was (if only the last sync of the parent failed, the new folder stands).
    """
    with explained(final, needed):
        _make_folders(final.parent)
        if shutil.disk_usage(final.parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if final.exists() and not (final / MANIFEST).exists():  # perhaps somebody's home folder
            raise OSError(errno.EEXIST, f"it exists without a {MANIFEST}, so it is not ours to replace")
        with _only_writer(final.parent) as temporary:
            os.mkdir(temporary)
            write(temporary)
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            seal(temporary, [path.relative_to(temporary).as_posix() for path in files])
            verify(temporary)
            if final.exists():
                os.rename(final, final.with_name(f"{ASIDE}{final.name}"))
            os.rename(temporary, final)


def make_folders(folder: Path) -> None:
    """Makes a folder and those above it that are missing, to last: their names are synced too. Raises StorageError."""
    with explained(folder, 0):
        _make_folders(folder)


def remove_folder(folder: Path) -> None:
    """Deletes a folder so that no half of it is ever seen under its name. Raises StorageError."""
    with explained(folder, 0), _only_writer(folder.parent) as leftover:
        os.rename(folder, leftover)


def rename_folder(folder: Path, name: str) -> Path:
    """Gives a folder another name in the same place and returns it there; what had that name is deleted.

    Raises StorageError.
    """
    renamed = folder.with_name(name)
    with explained(folder, 0), _only_writer(folder.parent) as leftover:
        if renamed.exists():
            os.rename(renamed, leftover)
        os.rename(folder, renamed)
    return renamed


def recover(parent: Path) -> None:
    """Puts back a folder that a writer moved aside and died before it could replace it; mostly there is none."""
    if any(parent.glob(f"{ASIDE}*")):
        with explained(parent, 0), _only_writer(parent):
            pass  # holding the lock is all it takes


def clear(parent: Path) -> None:
    """Deletes what dead writers left in a folder, and recovers. For who knows that no writer of it lives."""
    with explained(parent, 0), _only_writer(parent):
        pass


@contextmanager
def _only_writer(parent: Path) -> Iterator[Path]:
    """Lends an unused name under the lock of a folder, syncs the folder, and clears what it or dead writers left."""
    handle = os.open(parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks lock no folders: there, one writer a folder is up to the user
            fcntl.flock(handle, fcntl.LOCK_EX)
        _tidy(parent, handle)
        try:
            yield parent / f"{PARTIAL}{secrets.token_hex(8)}"
            os.fsync(handle)
        finally:
            _tidy(parent, handle)
    finally:
        os.close(handle)


def _tidy(parent: Path, handle: int) -> None:
    for aside in parent.glob(f"{ASIDE}*"):
        final = parent / aside.name.removeprefix(ASIDE)
        os.rename(aside, parent / f"{PARTIAL}{secrets.token_hex(8)}" if final.exists() else final)
    leftovers = list(parent.glob(f"{PARTIAL}*"))
    if leftovers:  # a dead writer may have left renames unsynced: files must not go while their folder could come back
        os.fsync(handle)
    for leftover in leftovers:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _make_folders(folder: Path) -> None:
    """A folder that is there tells that the names above it are synced; its own may wait for that still."""
    if not folder.is_dir():
        above = folder.absolute().parent
        above.mkdir(parents=True, exist_ok=True)
        for each in (each for each in above.parents if each.stat().st_dev == above.stat().st_dev):
            with suppress(PermissionError):  # what we may not read we did not make
                sync(each)
        folder.mkdir(exist_ok=True)
    with suppress(PermissionError):
        sync(folder.parent)


def sync(path: Path) -> None:
    """Puts a file, or the names in a folder, to last. Raises plain OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def explained(path: Path, needed: int) -> Iterator[None]:
    """Turns what the system says about a write into a StorageError that names `path`."""
    try:
        yield
    except (OSError, StorageError, ModelFolderError) as error:  # the last: the disk gives back other bytes
        free = "an unknown number of"
        with suppress(OSError):
            free = f"{shutil.disk_usage(path.parent).free:,}"
        cause = error.__cause__ or error  # a file inside the folder has its own StorageError
        message = f"cannot be written: {getattr(cause, 'strerror', '') or cause}; {needed:,} bytes needed, {free} free"
        fix = "free some space or choose another folder; what stood there before is unchanged"
        raise StorageError(message, where=str(path), fix=fix) from cause


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fault(folder: Path, name: str, size: int, digest: str) -> str:
    """What is wrong with one file, or "" if nothing is."""
    steps = list(accumulate(name.split("/"), Path.joinpath, initial=folder))
    if any(step.is_symlink() for step in steps[1:]) or not steps[-1].is_file():  # links may lead out of the folder
        return f"{name}: expected a file of {size:,} bytes, found none"
    try:
        if (found := steps[-1].stat().st_size) != size:
            return f"{name}: expected {size:,} bytes, found {found:,}"
        actual = _sha256(steps[-1])
    except OSError as error:
        return f"{name}: expected {size:,} bytes, found {error.strerror}"
    return "" if actual == digest else f"{name}: expected SHA-256 {digest}, found {actual}"


def _manifest_text(files: Mapping[str, tuple[int, str]]) -> str:
    if refused := [name[:80] for name in files if not NAME.fullmatch(name)]:
        raise ValueError(f"not allowed as names in a model folder: {refused[:5]}")
    listed = {name: {"bytes": size, "sha256": digest} for name, (size, digest) in files.items()}
    return json.dumps({"schema": SCHEMA, "files": listed}, indent=1, sort_keys=True) + "\n"


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """{name: (bytes, SHA-256)}. It may come from anywhere, so it must be to the letter what `seal` would write."""
    if path.is_symlink() or not path.is_file():
        raise ValueError("no such file: the folder is no model folder, or was never finished")
    with path.open("rb") as file:
        text = file.read(MANIFEST_LIMIT + 1).decode()
    if len(text) > MANIFEST_LIMIT:
        raise ValueError(f"more than {MANIFEST_LIMIT:,} bytes")
    manifest = json.loads(text)
    if manifest["schema"] != SCHEMA:
        raise ValueError(f"schema {str(manifest['schema'])[:20]}, this version of regard reads {SCHEMA}")
    files = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    if not files or _manifest_text(files) != text:
        raise ValueError("other text than was written")
    return files
