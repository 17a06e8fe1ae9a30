"""Run folders on a disk that fills up, dies at any moment, or gives back other bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regard.errors import ModelFolderError, StorageError
from regard.folder import MANIFEST, new_folder, recover, remove_folder, seal, verify, write_file, write_new

FILES = {"a.json": b'{"x": 1}', "b.json": b"", "tokenizer/source.json": b"words", "weights": bytes(range(256)) * 40}


def fill(files: dict[str, bytes] = FILES) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_new(folder / name, content)

    return write


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the manifests, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_folder(tmp_path / "model", fill())
    return tmp_path / "model"


# What is written is what was meant.


def test_new_folder_holds_the_files_and_verifies(folder: Path) -> None:
    assert content_of(folder) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    verify(folder, required=FILES)


def test_manifest_holds_size_and_hash(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    expected = {name: {"bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for name, b in FILES.items()}
    assert manifest == {"schema": 1, "files": expected}


def test_files_that_are_not_listed_may_change(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"1")
    seal(tmp_path, ["model"])
    (tmp_path / "metrics.jsonl").write_bytes(b"2")
    verify(tmp_path)
    with pytest.raises(ModelFolderError, match=r"metrics\.jsonl: expected in MANIFEST\.json"):
        verify(tmp_path, required=["model", "metrics.jsonl"])


def test_write_file_replaces_whole(tmp_path: Path) -> None:
    for content in (b"old", b"", b"new" * 100_000):
        write_file(tmp_path / "file", content)
        assert content_of(tmp_path) == {"file": content}


def test_new_folder_replaces_a_sealed_one_and_makes_parents(tmp_path: Path) -> None:
    final = tmp_path / "runs" / "one" / "model"
    for content in (b"old", b"new"):
        new_folder(final, fill({"file": content}))
        verify(final)
        assert content_of(tmp_path) == {"runs/one/model/file": content}


def test_new_folder_does_not_replace_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_bytes(b"years")
    with pytest.raises(StorageError, match="not ours to replace"):
        new_folder(tmp_path / "home", fill())
    assert content_of(tmp_path) == {"home/thesis.tex": b"years"}


def test_remove_folder(folder: Path) -> None:
    remove_folder(folder)
    assert list(folder.parent.iterdir()) == []
    with pytest.raises(StorageError, match="No such file"):
        remove_folder(folder)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "a//b", "", ".", "a/..", "./a", "a\\b", "a\nb", MANIFEST]
)
def test_seal_refuses_names(tmp_path: Path, name: str) -> None:
    for parent in (tmp_path, tmp_path / "a"):
        parent.mkdir(exist_ok=True)
        (parent / "x").write_bytes(b"")
    write_file(tmp_path / MANIFEST, b"{}")
    with pytest.raises((ValueError, StorageError)):
        seal(tmp_path, [name])


def test_writers_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    """They clear each other's leftovers, never each other's work."""
    contents = [bytes([number]) * 20_000 for number in range(6)]
    faults: list[Exception] = []

    def work(content: bytes) -> None:
        try:
            for _ in range(4):
                new_folder(tmp_path / "model", fill({"file": content}))
                write_file(tmp_path / "file", content)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    verify(tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "file"}
    assert {(tmp_path / "file").read_bytes(), (tmp_path / "model" / "file").read_bytes()} <= set(contents)


def test_import_is_light() -> None:
    code = "import sys, regard.folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What was altered is refused, by name.


def fault_of(folder: Path) -> str:
    with pytest.raises(ModelFolderError) as caught:
        verify(folder)
    assert caught.value.where == str(folder)
    return caught.value.message


def overwrite(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


def test_a_flipped_bit_anywhere_is_found(folder: Path) -> None:
    """Every bit of the manifest, and random ones of every file."""
    dice = random.Random(0)
    for name, content in {**FILES, MANIFEST: (folder / MANIFEST).read_bytes()}.items():
        bits = range(len(content) * 8) if name == MANIFEST else dice.choices(range(len(content) * 8 or 1), k=100)
        for bit in bits if content else ():
            altered = bytearray(content)
            altered[bit // 8] ^= 1 << bit % 8
            overwrite(folder / name, altered)
            fault = fault_of(folder)
            if name != MANIFEST:
                digests = [hashlib.sha256(each).hexdigest() for each in (content, altered)]
                assert fault == f"{name}: expected SHA-256 {digests[0]}, found {digests[1]}"
        overwrite(folder / name, content)
    verify(folder)


def test_truncated_longer_and_missing_files_are_named_together(folder: Path) -> None:
    (folder / "weights").write_bytes(FILES["weights"][:-1])
    (folder / "b.json").write_bytes(b"1")
    (folder / "a.json").unlink()
    assert fault_of(folder).split("\n  ") == [
        "a.json: expected a file of 8 bytes, found none",
        "b.json: expected 0 bytes, found 1",
        "weights: expected 10,240 bytes, found 10,239",
    ]


def test_links_and_other_things_are_refused(folder: Path) -> None:
    """Even if what they lead to has the right bytes."""
    outside = folder.parent / "outside"
    (folder / "weights").rename(outside)
    (folder / "weights").symlink_to(outside)
    (folder / "tokenizer").rename(folder.parent / "tokenizer")
    (folder / "tokenizer").symlink_to(folder.parent / "tokenizer")
    (folder / "b.json").unlink()
    os.mkfifo(folder / "b.json")  # reading it would wait for ever
    (folder / "a.json").unlink()
    (folder / "a.json").mkdir()
    assert [line.partition(":")[0] for line in fault_of(folder).split("\n  ")] == sorted(FILES)


def test_a_linked_manifest_is_refused(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.parent / "manifest")
    (folder / MANIFEST).symlink_to(folder.parent / "manifest")
    assert fault_of(folder).startswith("MANIFEST.json: ")


def entry(name: str, size: object = 5, digest: object = hashlib.sha256(b"words").hexdigest()) -> str:
    return (
        json.dumps({"schema": 1, "files": {name: {"bytes": size, "sha256": digest}}}, indent=1, sort_keys=True) + "\n"
    )


BAD_MANIFESTS = {
    "not JSON": b"weights",
    "empty": b"",
    "cut": entry("weights").encode()[:-9],
    "not UTF-8": b"\xff\xfe{}",
    "not an object": b"[1, 2]",
    "other keys": b'{"files": {}}',
    "schema of tomorrow": entry("weights").replace('"schema": 1', '"schema": 2').encode(),
    "no files": b'{\n "files": {},\n "schema": 1\n}\n',
    "files are a list": b'{"files": [], "schema": 1}',
    "repeated name": entry("weights").replace('"schema"', '"files": {}, "schema"').encode(),
    "one more key": entry("weights").replace('"schema"', '"more": 0, "schema"').encode(),
    "upwards": entry("../weights").encode(),
    "upwards later": entry("tokenizer/../../weights").encode(),
    "absolute": entry("/etc/passwd").encode(),
    "backslash": entry("..\\weights").encode(),
    "NUL": entry("weights\0").encode(),
    "lone surrogate": entry("\ud800").encode(),
    "itself": entry(MANIFEST).encode(),
    "size is text": entry("weights", "5").encode(),
    "size is NaN": entry("weights", float("nan")).encode(),
    "size is infinite": entry("weights", float("inf")).encode(),
    "size is negative": entry("weights", -5).encode(),
    "hash is a number": entry("weights", 5, 7).encode(),
    "hash in capitals": entry("weights", 5, hashlib.sha256(b"words").hexdigest().upper()).encode(),
    "deep": b"[" * 100_000,
    "a number of a million digits": b'{"schema": ' + b"1" * 1_000_000 + b"}",
    "huge": entry("weights").encode() + b" " * (1 << 20),
}


@pytest.mark.parametrize("manifest", BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_bad_manifests(tmp_path: Path, manifest: bytes) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "weights").write_bytes(b"words")
    (folder / MANIFEST).write_text(entry("weights"), encoding="utf-8")
    verify(folder)
    (folder / MANIFEST).write_bytes(manifest)
    assert len(fault_of(folder)) < 1000


def test_the_schema_of_tomorrow_is_named(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(BAD_MANIFESTS["schema of tomorrow"])
    assert "schema 2, this version of regard reads 1" in fault_of(folder)


def test_no_manifest_no_folder(tmp_path: Path) -> None:
    assert "MANIFEST.json" in fault_of(tmp_path)
    assert "MANIFEST.json" in fault_of(tmp_path / "nothing")


# The disk that fails.


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`disk(bytes=n)`: full after n bytes, the last write cut short. `disk(call=("fsync", k))`: its k-th call fails."""

    def fail(*, room: int | None = None, call: tuple[str, int] | None = None, code: int = errno.ENOSPC) -> None:
        monkeypatch.undo()
        if room is not None:
            left = [room]
            write = os.write

            def full(handle: int, content: bytes) -> int:
                if not left[0]:
                    raise OSError(code, os.strerror(code))
                written = write(handle, bytes(content)[: left[0]])
                left[0] -= written
                return written

            monkeypatch.setattr(os, "write", full)
        if call:
            real, calls = getattr(os, call[0]), iter(range(10**9))

            def broken(*arguments: object) -> object:
                if next(calls) == call[1]:
                    raise OSError(code, os.strerror(code))
                return real(*arguments)

            monkeypatch.setattr(os, call[0], broken)

    yield fail
    monkeypatch.undo()


CODES = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO]


def test_a_full_disk_at_any_byte_leaves_the_old_folder(tmp_path: Path, disk: Callable[..., None]) -> None:
    final = tmp_path / "model"
    new_folder(final, fill({"file": b"old"}))
    new_folder(tmp_path / "size", fill())
    total = sum(path.stat().st_size for path in (tmp_path / "size").rglob("*") if path.is_file())
    remove_folder(tmp_path / "size")
    rooms = [*range(0, total, total // 55), total - 1]
    for room, code in zip(rooms, CODES * len(rooms), strict=False):
        disk(room=room, code=code)
        with pytest.raises(StorageError) as caught:
            new_folder(final, fill(), needed=total)
        disk()
        message = caught.value.message
        assert caught.value.where == str(final)
        assert os.strerror(code) in message
        assert f"{total:,} bytes needed" in message
        assert message.endswith(" free")
        assert content_of(tmp_path) == {"model/file": b"old"}
        verify(final)
    disk(room=total)
    new_folder(final, fill(), needed=total)
    assert content_of(final) == FILES


@pytest.mark.parametrize("name", ["open", "fsync", "mkdir", "rename", "replace"])
def test_a_call_that_fails_leaves_the_old_or_the_new_folder(
    tmp_path: Path, disk: Callable[..., None], name: str
) -> None:
    final = tmp_path / "model"
    for number in range(60):
        new_folder(final, fill({"file": b"old"}))
        disk(call=(name, number))
        try:
            new_folder(final, fill())
        except StorageError:
            disk()
            assert content_of(final) in ({"file": b"old"}, FILES)
            verify(final)
            write_file(tmp_path / "other", b"")  # the next writer clears what this one could not
            assert {path.name for path in tmp_path.iterdir()} == {"model", "other"}
            continue
        break  # more calls than there are: it went well
    disk()
    assert 0 < number < 59
    assert content_of(final) == FILES


def test_write_file_on_a_full_disk(tmp_path: Path, disk: Callable[..., None]) -> None:
    write_file(tmp_path / "file", b"old")
    for room in range(10):
        disk(room=room)
        with pytest.raises(StorageError, match="10 bytes needed"):
            write_file(tmp_path / "file", b"0123456789")
        assert content_of(tmp_path) == {"file": b"old"}


def test_a_disk_that_takes_a_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, bytes(content)[:777]))
    new_folder(tmp_path / "model", fill())
    assert content_of(tmp_path / "model") == FILES


def test_a_disk_without_room_is_refused_at_once(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        raise AssertionError

    with pytest.raises(StorageError, match="No space left on device; 1,152,921,504,606,846,976 bytes needed"):
        new_folder(tmp_path / "model", write, needed=1 << 60)
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_than_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that returns zeros once it is read back."""
    real = hashlib.file_digest
    calls = iter(range(100))
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, name: real(file, name) if next(calls) < 4 else hashlib.sha256()
    )
    with pytest.raises(StorageError, match="expected SHA-256"):
        new_folder(tmp_path / "model", fill())
    assert list(tmp_path.iterdir()) == []


def test_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        write_new(folder / "file", b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        new_folder(tmp_path / "model", write)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "model", tmp_path / ("n" * 300)):
        with pytest.raises(StorageError) as caught:
            new_folder(path, fill())
        assert caught.value.where == str(path)
        with pytest.raises(StorageError):
            write_file(path, b"")
    with pytest.raises(StorageError, match="No such file"):
        write_file(tmp_path / "nowhere" / "file", b"")


LIMITED = """
import resource, sys
from pathlib import Path
from regard.errors import StorageError
from regard.folder import new_folder, verify, write_new
final = Path(sys.argv[1])
new_folder(final, lambda folder: write_new(folder / "file", b"old"))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    new_folder(final, lambda folder: write_new(folder / "file", bytes(5001)), needed=5001)
except StorageError as error:
    verify(final)
    sys.exit(error.message)
"""


def test_a_real_limit(tmp_path: Path) -> None:
    """The system's own refusal, not a fake: no file of this process may exceed 5,000 bytes."""
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("cannot be written: File too large; 5,001 bytes needed"), done.stderr
    assert content_of(tmp_path) == {"model/file": b"old"}


# The process that dies.

KILLED = """
import os, sys
from pathlib import Path
from regard.folder import new_folder, remove_folder, write_new
left = int(sys.argv[2])
def counted(call):
    def wrapped(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*arguments, **options)
    return wrapped
for name in ("open", "write", "fsync", "mkdir", "rename", "replace", "rmdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
if sys.argv[3] == "replace":
    new_folder(Path(sys.argv[1]), lambda folder: write_new(folder / "file", b"new"))
else:
    remove_folder(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(("job", "outcomes"), [("replace", [b"old", b"new"]), ("remove", [b"old", None])])
def test_killed_at_any_call(tmp_path: Path, job: str, outcomes: list[bytes | None]) -> None:
    """Old or new, always whole; the next save clears the rest."""
    final = tmp_path / "model"
    seen = []
    for number in range(100):
        new_folder(final, fill({"file": b"old"}))
        command = [sys.executable, "-c", KILLED, str(final), str(number), job]
        status = subprocess.run(command, check=False).returncode
        recover(tmp_path)
        if final.exists():
            verify(final)
        seen.append(content_of(final).get("file") if final.exists() else None)
        if status == 0:
            break
        assert status == 9
        write_file(tmp_path / "other", b"")
        assert {path.name for path in tmp_path.iterdir()} <= {"model", "other"}
    assert 5 < number < 99
    assert list(dict.fromkeys(seen)) == outcomes  # old up to one call, new from there on
