"""Files of any size and any kind: lines in = lines out, whatever happens in between."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.cli import run
from regard.translator import Translator
from regard.translator.translator import AHEAD
from small import saved, untrained

REGARD = [sys.executable, "-m", "regard"]
SHORT = {"decoding": {"limit_factor": 0.0, "limit_extra": 6, "beam": 1}}  # short answers, quick ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), untrained(SHORT))


def words(count: int) -> list[str]:
    """Lines that differ."""
    return [f"{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10 % 10]} fox" for number in range(count)]


def right(folder: Path, lines: list[str]) -> bytes:
    return "".join(f"{result.text}\n" for result in Translator.load(folder).translate(lines)).encode()


ODD = {  # bytes of a file, and its lines
    "blank lines": (b"\n\nfox\n \n\t\ndogs\n\n", ["", "", "fox", " ", "\t", "dogs", ""]),
    "windows": (b"fox\r\n\r\nlazy dogs\r\n", ["fox", "", "lazy dogs"]),
    "no newline at the end": (b"fox\n\ndogs", ["fox", "", "dogs"]),
    "a blank line with no newline": (b"fox\n ", ["fox", " "]),
    "separators that are text": (
        "fox\u2028dogs\nq\u0085\x0b\x0c\x1cq\n\u2029\n".encode(),
        ["fox\u2028dogs", "q\x85\v\f\x1cq", "\u2029"],
    ),
    "carriage returns that are text": (b"fox\rdogs\n\r\r\nfox\n", ["fox\rdogs", "\r", "fox"]),
    "a byte order mark": (b"\xef\xbb\xbffox\n\n", ["fox", ""]),
    "nothing": (b"", []),
    "one newline": (b"\n", [""]),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("batch_size", ["1", "64"])
def test_lines_in_are_lines_out(
    kind: str, batch_size: str, folder: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    content, lines = ODD[kind]
    path = tmp_path / "in.txt"
    path.write_bytes(content)
    assert run(["translate", str(folder), str(path), "--batch-size", batch_size]) == 0
    out = capfdbinary.readouterr().out
    assert out == right(folder, lines)
    answers = out.decode().split("\n")
    assert answers.pop() == ""
    assert [answer == "" for answer in answers] == [not line.strip() for line in lines]
    assert run(["translate", str(folder), str(path), "--batch-size", batch_size, "--json"]) == 0
    rows = [json.loads(row) for row in capfdbinary.readouterr().out.removesuffix(b"\n").split(b"\n") if row]
    assert [row["source"] for row in rows] == lines


def test_a_line_of_a_megabyte_is_refused_by_file_and_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, path = words(2 * AHEAD + 9), tmp_path / "in.txt"
    path.write_text("\n".join([*lines, "fox " * 250_000, *lines]), encoding="utf-8")
    assert run(["translate", str(folder), str(path), "--batch-size", "1"]) == 2
    streams = capsys.readouterr()
    assert f"{path}:{len(lines) + 1}: the text has 1,000,000 tokens, this model reads at most 5,000" in streams.err
    assert "nothing was cut" in streams.err
    answered = streams.out.encode()
    assert answered.count(b"\n") >= 2 * AHEAD
    assert right(folder, lines).startswith(answered)
    assert answered.endswith(b"\n")


def test_a_long_line_of_standard_input_is_named(folder: Path) -> None:
    ended = subprocess.run(
        [*REGARD, "translate", str(folder)], input=b"fox\n" + b"x" * 6000, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stdout.count(b"\n")) == (2, 1)  # the line before it is answered
    assert b"stdin:2: the text has 6,000 tokens" in ended.stderr


@pytest.mark.parametrize("command", ["translate", "score"])
def test_the_reader_may_leave_in_the_middle(command: str, folder: Path, tmp_path: Path) -> None:
    """As `| head -n 1` does: what it read is right, and nothing is told."""
    lines, path = words(3000), tmp_path / "in.txt"
    path.write_text("".join(f"{line}\tA\n" if command == "score" else f"{line}\n" for line in lines), encoding="utf-8")
    options = ["--forced", "--json"] if command == "score" else []
    with subprocess.Popen(
        [*REGARD, command, str(folder), str(path), "--batch-size", "4", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait() == 0
    assert b"Traceback" not in told
    assert b"error" not in told
    assert b"pairs" not in told  # no totals of some pairs only
    assert lines[0].encode() in first if command == "score" else first == right(folder, lines[:1])


def killed(folder: Path, lines: list[str], out: Path, wanted: int) -> bytes:
    """What `translate` leaves if kill -9 comes when it has written so many lines. Its input never ends."""
    command = [*REGARD, "translate", str(folder), "--batch-size", "1"]
    around = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with (
        out.open("wb") as file,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, env=around) as process,
    ):
        assert process.stdin
        process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        process.stdin.flush()
        last = time.monotonic() + 60
        while out.read_bytes().count(b"\n") < wanted and time.monotonic() < last:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -9
    return out.read_bytes()


def test_what_is_killed_leaves_the_first_lines_whole(folder: Path, tmp_path: Path) -> None:
    lines = words(AHEAD * 40)
    written = killed(folder, lines, tmp_path / "out.txt", wanted=50)
    assert written.endswith(b"\n")
    assert written.count(b"\n") >= 50
    assert right(folder, lines).startswith(written)


def test_an_answer_is_written_as_soon_as_it_is_known(folder: Path, tmp_path: Path) -> None:
    lines = words(AHEAD + 5)
    assert killed(folder, lines, tmp_path / "out.txt", wanted=AHEAD) == right(folder, lines[:AHEAD])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_reads_only_so_far_ahead(batch_size: int) -> None:
    read: list[int] = []
    lines = (read.append(number) or "fox" for number in range(250))
    for given, _ in enumerate(untrained(SHORT).translate(lines, batch_size=batch_size)):
        assert len(read) - given <= batch_size * AHEAD
    assert len(read) == 250


def resident(process: subprocess.Popen[bytes]) -> int:
    """KiB of a process that lie in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])  # type: ignore[index]


MOST_GROWTH = 4 * 1024  # KiB: 45 bytes a line kept would be more


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_a_hundred_thousand_lines_take_the_memory_of_ten_thousand(
    folder: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    total, first = 100_000, 10_000
    path = tmp_path / "in.txt"
    lines = ["" if number % 100 == 7 else line for number, line in enumerate(words(total))]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sizes: list[int] = []
    started = time.monotonic()
    with subprocess.Popen([*REGARD, "translate", str(folder), str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        for number, answer in enumerate(process.stdout):
            assert (answer == b"\n") == (lines[number] == "")
            if number + 1 >= first and (number + 1) % 2000 == 0 and number + 2100 < total:
                sizes.append(resident(process))
        assert process.wait() == 0
    assert number + 1 == total
    for name, value in {"seconds": time.monotonic() - started, "KiB": sizes[0], "more": max(sizes) - sizes[0]}.items():
        record_property(name, value)  # `--junitxml` shows them
    assert max(sizes) - sizes[0] <= MOST_GROWTH
