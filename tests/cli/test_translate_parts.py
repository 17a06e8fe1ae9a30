"""`regard translate --out`: what several processes write together, and what killed ones leave for the next."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regard.cli import parts as parts_module
from regard.cli import run
from regard.cli.parts import Parts
from regard.cli.processes import Place
from regard.errors import DataError, StorageError, UsageError
from small import saved, untrained

SIZE = 3
ALONE = Place()
SHORT = {"decoding": {"limit_factor": 0.0, "limit_extra": 6, "beam": 2}}
Started = Callable[..., "subprocess.Popen[bytes]"]


class Shouting:
    """A translator that is quick to check: answers are the lines in capitals. `done`: first lines of chunks."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def __call__(self, first: int, lines: list[str]) -> str:
        self.done.append(first)
        return "".join(f"{line.upper()}\n" for line in lines)


def write(file: Path, out: Path, place: Place = ALONE, command: dict[str, object] | None = None) -> list[int]:
    shouting = Shouting()
    Parts(str(file), out, command or {"beam": 3}, SIZE, shouting).write(place)
    return shouting.done


# The same in a process of its own: at the chunk of line `hold` it waits for ever. Tells each chunk before and after.
WORKER = """
import sys, time
from pathlib import Path
from regard.cli.parts import Parts
from regard.cli.processes import Place
file, out, hold, slow = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
def answer(first, lines):
    print(first, flush=True)
    time.sleep(1000 if first == hold else slow)
    return "".join(f"{line.upper()}\\n" for line in lines)
Parts(file, out, {"beam": 3}, 3, answer).write(Place.this())
"""


@pytest.fixture
def start() -> Iterator[Started]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(rank: int, size: int, file: Path, out: Path, hold: int = 0, slow: float = 0.0) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WORKER, str(file), str(out), str(hold), str(slow)]
        around = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(size)}
        started.append(subprocess.Popen(command, env=around, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """20 lines in 7 chunks."""
    path = tmp_path / "in.txt"
    path.write_text("".join(f"line {number}\n" for number in range(20)), encoding="utf-8")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.txt"


def folder_of(out: Path) -> Path:
    return out.with_name("out.txt.parts")


def wait_for_parts(out: Path, count: int) -> None:
    last = time.monotonic() + 120
    while sum(1 for _ in folder_of(out).glob("*.part")) < count:
        assert time.monotonic() < last
        time.sleep(0.02)


def stopped(file: Path, out: Path, at: int) -> None:
    """Leaves the parts before the chunk of line `at`."""

    def answer(first: int, lines: list[str]) -> str:
        if first == at:
            raise KeyboardInterrupt
        return Shouting()(first, lines)

    with pytest.raises(KeyboardInterrupt):
        Parts(str(file), out, {"beam": 3}, SIZE, answer).write(Place())


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        (b"", b""),
        (b"\n", b"\n"),
        (b"a\n\n \nb\n", b"A\n\n \nB\n"),
        (b"a\r\nb\r\n\r\nc", b"A\nB\n\nC\n"),
        (b"\xef\xbb\xbfa\n" * 1 + b"b\n" * 5, b"A\n" + b"B\n" * 5),
        ("\u00e9\u2028x\n".encode(), "\u00c9\u2028X\n".encode()),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lines_in_are_lines_out(tmp_path: Path, out: Path, content: bytes, answers: bytes, packed: bool) -> None:
    file = tmp_path / ("in.gz" if packed else "in.txt")
    file.write_bytes(gzip.compress(content) if packed else content)
    assert write(file, out) == list(range(1, answers.count(b"\n") + 1, SIZE))
    assert out.read_bytes() == answers
    assert sorted(os.listdir(tmp_path)) == sorted([file.name, out.name])


@pytest.mark.parametrize("lines", [20, 4])
def test_processes_share_the_chunks(file: Path, out: Path, start: Started, lines: int) -> None:
    """Also when there are more of them than chunks: each chunk is answered once, whoever comes when."""
    size = 3
    file.write_text("".join(f"line {number}\n" for number in range(lines)), encoding="utf-8")
    told = [
        process.communicate(timeout=60) for process in [start(rank, size, file, out, slow=0.05) for rank in range(size)]
    ]
    assert [errors for _, errors in told] == [b""] * size
    assert sorted(int(first) for done, _ in told for first in done.split()) == list(range(1, lines + 1, SIZE))
    assert out.read_text("utf-8") == file.read_text("utf-8").upper()
    assert not folder_of(out).exists()


def test_what_a_killed_process_held_is_taken_over(file: Path, out: Path, start: Started) -> None:
    stopped(file, out, at=1)  # so that process 1 need not wait for process 0
    held = start(1, 2, file, out, hold=4)
    assert held.stdout
    assert [held.stdout.readline(), held.stdout.readline()] == [b"1\n", b"4\n"]
    first = start(0, 2, file, out)
    wait_for_parts(out, 6)  # all but the chunk that is held
    time.sleep(0.3)
    assert first.poll() is None  # it waits for the owner
    assert not out.exists()
    held.kill()
    assert first.communicate(timeout=60)[0].split() == [b"7", b"10", b"13", b"16", b"19", b"4"]
    assert out.read_text("utf-8") == file.read_text("utf-8").upper()


def test_goes_on_with_another_number_of_processes(file: Path, out: Path, start: Started) -> None:
    first, second = start(0, 2, file, out, hold=7), start(1, 2, file, out, hold=7)
    wait_for_parts(out, 2)
    for process in (first, second):
        process.send_signal(signal.SIGKILL)
        process.wait()
    there = {int(path.stem) for path in folder_of(out).glob("*.part")}
    assert 2 not in there
    assert write(file, out) == [1 + SIZE * number for number in range(7) if number not in there]
    assert out.read_text("utf-8") == file.read_text("utf-8").upper()


def test_a_late_process_finds_nothing_to_do(file: Path, out: Path) -> None:
    write(file, out)
    before = out.read_bytes()
    assert write(file, out, Place(1, 2)) == []
    assert out.read_bytes() == before


def test_a_process_waits_until_the_first_has_begun(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "PATIENCE", 0.3)
    with pytest.raises(StorageError, match="process 0 did not make this folder in 0 seconds"):
        write(file, out, Place(1, 2))
    stopped(file, out, at=7)
    assert write(file, out, Place(1, 2)) == [7, 10, 13, 16, 19]
    assert write(file, out) == []


def damaged(content: bytes) -> Iterator[bytes]:
    """Cut at every length, a flipped bit in every byte, and more of it."""
    yield from (content[:length] for length in range(len(content)))
    draw = random.Random(0)
    for place in range(len(content)):
        yield content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
    yield content + b"LINE 9\n"


def test_a_damaged_part_is_found_and_made_again(
    file: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every cut and every flipped byte of a part; its answers are never joined as they are."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # thousands of them
    stopped(file, out, at=7)
    kept = folder_of(out).with_name("kept")
    shutil.copytree(folder_of(out), kept)
    part = kept / "000001.part"
    wanted = file.read_text("utf-8").upper()
    every = list(damaged(part.read_bytes()))
    for content in random.Random(1).sample(every, 60) + every[-25:]:
        shutil.rmtree(folder_of(out), ignore_errors=True)
        out.unlink(missing_ok=True)
        shutil.copytree(kept, folder_of(out))
        (folder_of(out) / part.name).write_bytes(content)
        again = write(file, out)
        assert out.read_text("utf-8") == wanted
        assert sorted(set(again) - {4}) == [7, 10, 13, 16, 19]
        assert 4 in again
        assert "made again" in capsys.readouterr().err


def test_a_disk_that_damages_everything_is_given_up(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "_body", lambda self, number, key: None)
    with pytest.raises(StorageError, match="gives back other bytes than it was given"):
        write(file, out)
    assert not out.exists()


def test_what_exists_is_not_written_over(file: Path, out: Path) -> None:
    out.write_text("mine\n", encoding="utf-8")
    with pytest.raises(UsageError, match="exists, and is never written over"):
        write(file, out)
    out.unlink()
    stopped(file, out, at=7)
    out.write_text("mine\n", encoding="utf-8")
    with pytest.raises(UsageError, match="exists, and is never written over"):
        write(file, out)
    assert out.read_text("utf-8") == "mine\n"
    assert len(list(folder_of(out).glob("*.part"))) == 2
    out.unlink()

    def answer(first: int, lines: list[str]) -> str:
        out.write_text("mine, meanwhile\n", encoding="utf-8")
        return Shouting()(first, lines)

    with pytest.raises(UsageError, match="exists, and is never written over"):
        Parts(str(file), out, {"beam": 3}, SIZE, answer).write(ALONE)
    assert out.read_text("utf-8") == "mine, meanwhile\n"


def test_killed_between_the_result_and_the_end(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(parts_module, "remove_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            write(file, out)
    assert folder_of(out).exists()
    assert write(file, out) == []
    assert out.read_text("utf-8") == file.read_text("utf-8").upper()
    assert not folder_of(out).exists()


def test_another_command_is_refused_by_what_differs(file: Path, out: Path, tmp_path: Path) -> None:
    stopped(file, out, at=7)
    with pytest.raises(UsageError, match=r"begun by another command: beam was 3, is 5; nbest was null, is 2"):
        write(file, out, command={"beam": 5, "nbest": 2})
    with pytest.raises(UsageError, match="nbest was null, is 2"):  # a process with other options
        write(file, out, Place(1, 2), command={"beam": 3, "nbest": 2})
    other = tmp_path / "other.txt"
    other.write_bytes(file.read_bytes())
    with pytest.raises(UsageError, match=r'file was "in.txt", is "other.txt"'):
        write(other, out)
    (folder_of(out) / "command.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match=r"command.json is damaged"):
        write(file, out)


def test_changed_lines_are_answered_again_and_no_others(
    file: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(file, out, at=16)
    file.write_text(file.read_text("utf-8").replace("line 4\n", "line four\n"), encoding="utf-8")
    assert write(file, out) == [4, 16, 19]
    assert "in.txt has changed there" in capsys.readouterr().err
    assert out.read_text("utf-8") == file.read_text("utf-8").upper()


def test_lines_that_change_meanwhile(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(first: int, lines: list[str]) -> str:
        file.write_text("other\n", encoding="utf-8")
        return Shouting()(first, lines)

    monkeypatch.setattr(Parts, "_body", lambda self, number, key: None)  # so that it reads twice
    with pytest.raises(DataError, match="gives other lines when it is read again"):
        Parts(str(file), out, {}, SIZE, answer).write(Place())
    assert not out.exists()


def test_input_that_is_no_file(tmp_path: Path, out: Path) -> None:
    for place in (Place(), Place(0, 2)):
        with pytest.raises(DataError, match="no such file"):
            write(tmp_path / "nowhere.txt", out, place)
    with pytest.raises(UsageError, match="stdin is no file that 2 processes can each read"):
        write(Path("-"), out, Place(0, 2))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no file that 3 processes can each read"):
        write(tmp_path / "pipe", out, Place(2, 3))
    assert os.listdir(tmp_path) == ["pipe"]


def test_disks_that_do_not_serve(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write(file, file / "out.txt")
    folder_of(out).mkdir()
    (folder_of(out) / "mine.txt").touch()
    with pytest.raises(UsageError, match=r"holds files that are no parts, such as 'mine.txt'"):
        write(file, out)
    (folder_of(out) / "mine.txt").unlink()

    def no_locks(handle: int, how: int, length: int, start: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patched:
        patched.setattr(parts_module.fcntl, "lockf", no_locks)
        with pytest.raises(StorageError, match="cannot be locked: No locks available"):
            write(file, out)

    def no_room(self: Parts, joined: Path, keys: list[str]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "_copy", no_room)
        with pytest.raises(StorageError, match=r"No space left on device; 1,\d+ bytes needed"):
            write(file, out)
    assert not out.exists()
    assert write(file, out) == []  # all parts stayed


def test_a_folder_deleted_in_the_middle(file: Path, out: Path) -> None:
    def answer(first: int, lines: list[str]) -> str:
        if first == 7:
            shutil.rmtree(folder_of(out))
        return Shouting()(first, lines)

    with pytest.raises(StorageError):
        Parts(str(file), out, {}, SIZE, answer).write(Place())
    assert not out.exists()


# With a model.


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), untrained(SHORT))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """40 lines: two chunks of batches of one sentence."""
    path, letters = tmp_path / "in.txt", "abcdefghij"
    lines = ["" if number % 10 == 7 else f"{letters[number % 9]}{letters[number // 9]} fox" for number in range(40)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def told(model: Path, text: Path, *words: str) -> list[str]:
    return ["translate", str(model), str(text), "--batch-size", "1", *words]


@pytest.mark.parametrize(
    "words",
    [["--json", "--prefix", "B", "--forbid", "C"], ["--n-best", "2", "--mbr", "per", "--samples", "2"]],
    ids=lambda words: words[0],
)
def test_equals_the_stream(
    model: Path, text: Path, out: Path, capfdbinary: pytest.CaptureFixture[bytes], words: list[str]
) -> None:
    assert run(told(model, text, *words)) == 0
    stream = capfdbinary.readouterr()
    assert run(told(model, text, *words, "--out", str(out))) == 0
    assert out.read_bytes() == stream.out
    assert capfdbinary.readouterr() == (b"", stream.err)  # the warnings, with the same lines


def test_requests_and_glossary(
    model: Path, tmp_path: Path, out: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "terms.tsv").write_text("lazy\tG G\n", encoding="utf-8")
    lines = [{"text": "lazy dogs" if number % 7 == 0 else "fox"} for number in range(40)]
    text = tmp_path / "in.jsonl"
    text.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    words = ["--requests", "--glossary", str(tmp_path / "terms.tsv")]
    assert run(told(model, text, *words)) == 0
    stream = capfdbinary.readouterr().out
    assert run(told(model, text, *words, "--out", str(out))) == 0
    assert out.read_bytes() == stream
    text.write_text(text.read_text("utf-8") + "fox\n", encoding="utf-8")
    out.unlink()
    assert run(told(model, text, *words, "--out", str(out))) == 2
    assert b"in.jsonl:41: not a request" in capfdbinary.readouterr().err


def test_a_line_that_cannot_be_answered(model: Path, text: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named; once it is mended, what was answered before it is not answered again."""
    lines = text.read_text("utf-8").split("\n")
    text.write_text("\n".join([*lines[:36], "x" * 6000, *lines[37:]]), encoding="utf-8")
    assert run(told(model, text, "--out", str(out))) == 2
    assert f"{text}:37: the text has 6,000 tokens" in capsys.readouterr().err
    kept = {path: path.stat().st_mtime_ns for path in folder_of(out).glob("*.part")}
    assert len(kept) == 1
    assert run(told(model, text, "--beam", "1", "--out", str(out))) == 2
    assert "decoding.beam was 2, is 1" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    text.write_text("\n".join(lines), encoding="utf-8")
    assert run(told(model, text, "--out", str(out))) == 0
    assert "parts that are there: 1" in capsys.readouterr().err
    assert out.read_text("utf-8").count("\n") == 40


def test_another_model_is_refused(
    model: Path, text: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    other = saved(tmp_path / "model", untrained(SHORT, seed=1))
    folder_of(out).mkdir()
    text.write_text(f"fox\n{'x' * 6000}\n", encoding="utf-8")
    assert run(told(model, text, "--out", str(out))) == 2
    capsys.readouterr()
    assert run(told(other, text, "--out", str(out))) == 2
    assert "models was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "around", "message"),
    [
        ([], {"RANK": "0", "WORLD_SIZE": "2"}, "2 processes cannot share one standard output\n  fix: add --out FILE"),
        (["--out", "o", "--trace", "t"], {}, "a trace is written as the search goes, not in parts"),
        (["--out", "o"], {"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 and WORLD_SIZE=2"),
        (["--out", "o"], {"WORLD_SIZE": "two"}, "WORLD_SIZE=two"),
        (["--out", "o", "--batch-size", "0"], {}, "the batch size must be at least 1"),
        (["--out", "in.txt"], {}, "in.txt exists, and is never written over"),
    ],
    ids=str,
)
def test_impossible_options(
    model: Path,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    around: dict[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(text.parent)
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    assert run(["translate", str(model), str(text), *words]) == 2
    assert message in capsys.readouterr().err
    assert os.listdir() == [text.name]


# Through torchrun, on files that take a while.


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("quick"), untrained({"decoding": {**SHORT["decoding"], "beam": 1}}))


def many_lines(path: Path, count: int) -> Path:
    lines = (
        f"{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10 % 10]} fox" if number % 100 != 7 else ""
        for number in range(count)
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def torchrun(size: int, told: Path, *words: object) -> subprocess.Popen[bytes]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    command = [*launcher, "-m", "regard", "translate", *map(str, words)]
    with told.open("wb") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="processes are found in /proc")
@pytest.mark.parametrize("victim", [0, 2])
def test_torchrun_goes_on_after_a_kill(quick: Path, tmp_path: Path, out: Path, victim: int) -> None:
    """One of three is killed: all stop. Two go on, and write what one writes to its standard output, bit for bit."""
    text, told = many_lines(tmp_path / "in.txt", 20_000), tmp_path / "told.txt"
    words = [quick, text, "--batch-size", 8, "--json"]
    stream = subprocess.run(
        [sys.executable, "-m", "regard", "translate", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    ).stdout
    all_three = torchrun(3, tmp_path / "first.txt", *words, "--out", out)
    wait_for_parts(out, 8)
    workers = children(all_three)
    assert len(workers) == 3
    os.kill(workers[victim], signal.SIGKILL)
    assert all_three.wait(timeout=120) != 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert not out.exists()
    kept = {path.name: path.read_bytes() for path in folder_of(out).glob("*.part")}
    assert 8 <= len(kept) < 79
    times = {name: (folder_of(out) / name).stat().st_mtime_ns for name in kept}
    both = torchrun(2, told, *words, "--out", out)
    wait_for_parts(out, min(len(kept) + 4, 78))
    assert {name: (folder_of(out) / name).stat().st_mtime_ns for name in kept} == times
    code = both.wait(timeout=300)
    said = [line for line in told.read_text("utf-8").split("\n") if not line.startswith("warning: line")]
    assert (code, said) == (0, [f"going on with {folder_of(out)}; parts that are there: {len(kept)}", ""])
    assert out.read_bytes() == stream
    assert sorted(os.listdir(tmp_path)) == ["first.txt", "in.txt", "out.txt", "told.txt"]


def resident(process: subprocess.Popen[bytes]) -> int:
    """KiB of a process that lie in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return next((int(line.split()[1]) for line in status.split("\n") if line.startswith("VmRSS:")), 0)


MOST_GROWTH = 4 * 1024  # KiB: 45 bytes a line kept would be more


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_file(
    quick: Path, tmp_path: Path, out: Path, record_property: Callable[[str, object], None]
) -> None:
    text = many_lines(tmp_path / "in.txt", 100_000)
    sizes: dict[int, int] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "regard", "translate", str(quick), str(text), "--out", str(out)],
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            sizes[sum(1 for _ in folder_of(out).glob("*.part"))] = resident(process)
            time.sleep(0.05)
    assert process.returncode == 0
    assert out.read_bytes().count(b"\n") == 100_000
    later = [size for count, size in sizes.items() if 5 <= count < 49]  # of 49 parts, the last one perhaps as it ends
    for name, value in {"KiB": later[0], "more": max(later) - later[0]}.items():
        record_property(name, value)
    assert max(later) - later[0] <= MOST_GROWTH
