"""Bytes to lines: plain, gzip and zstd files and standard input, strict UTF-8, faults that name `file:line`.

A line ends at `\\n` or `\\r\\n` and nowhere else: U+2028, U+0085 and a lone `\\r` are text. Files are therefore read as
bytes, cut at `\\n`, and decoded line by line, so that a bad byte can be named and the lines around it still be read.
"""

import io
import os
import shutil
import sys
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from regard.errors import DataError, StorageError, UsageError

STDIN = "-"
CHUNK = 1 << 16  # packed bytes unpacked at a time

Line = tuple[int, bytes]  # offset of the line in the (unpacked) file, its bytes with the line end


class BadLine(DataError):
    """One line is at fault; the lines after it can still be read, so it may be skipped."""


@dataclass(frozen=True)
class LineFile:
    """One file of text: where its bytes are and what messages call it."""

    path: Path
    name: str

    @classmethod
    def at(cls, path: str | Path) -> "LineFile":
        """The file at `path`; `-` is standard input."""
        return cls(Path(path), "stdin" if str(path) == STDIN else str(path))

    def raw(self) -> Iterator[Line]:
        """Yields every line as bytes with its offset; raises DataError when the file as a whole cannot be read."""
        number = 0
        try:
            with _opened(self.path) as stream:
                offset = 0
                for line in stream:
                    if number == 0:
                        offset, line = _without_bom(line, self.name)
                    number += 1
                    yield offset, line
                    offset += len(line)
        except OSError as fault:
            raise _unreadable(self.name, fault) from None
        except EOFError:
            fix = "copy or download the file again; its end is missing"
            raise DataError(
                "the packed file stops before its end", where=f"{self.name}:{number + 1}", fix=fix
            ) from None
        except _PackingError as fault:
            fix = "check the file with `gzip -t` or `zstd -t`; a file that is not packed must not be named .gz or .zst"
            raise DataError(f"cannot be unpacked: {fault}", where=f"{self.name}:{number + 1}", fix=fix) from None

    def text(self, line: Line, number: int) -> str:
        """The line as text without its end; raises BadLine at invalid UTF-8 (naming the byte) and at NUL."""
        offset, content = line
        if content.endswith(b"\n"):
            content = content[:-2] if content.endswith(b"\r\n") else content[:-1]
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as fault:
            at = fault.start
            message = f"invalid UTF-8: byte 0x{content[at]:02x} at offset {at} of the line, {offset + at} of the file"
            fix = "convert the file to UTF-8 (`iconv -t UTF-8`), or pass --on-bad-line skip"
            raise BadLine(message, where=self.where(number), fix=fix) from None
        if "\0" in text:
            at = content.index(b"\0")
            message = f"NUL character at offset {at} of the line, {offset + at} of the file"
            raise BadLine(message, where=self.where(number), fix=_NUL_FIX)
        return text

    def where(self, number: int) -> str:
        """`file:line`, the line counted from 1."""
        return f"{self.name}:{number}"

    def count(self) -> int:
        """How many lines the file has."""
        return sum(1 for _ in self.raw())


def read_lines(path: str | Path, on_bad_line: Literal["error", "skip"] = "error") -> Iterator[str]:
    """The lines of one text file, one at a time; `-` is standard input, read as it comes.

    An empty file has no lines and is no fault here: lines in = lines out. Raises DataError as `LineFile` does, or
    leaves bad lines out when `on_bad_line` is "skip".
    """
    file = LineFile.at(path)
    for number, line in enumerate(file.raw(), 1):
        try:
            text = file.text(line, number)
        except BadLine:
            if on_bad_line == "error":
                raise
            continue
        yield text


def spooled_stdin(owner: object) -> LineFile:
    """Copies standard input to a temporary file that lives as long as `owner`, so that it can be read twice."""
    try:
        handle, name = tempfile.mkstemp(prefix="regard-stdin-")
        weakref.finalize(owner, Path(name).unlink, missing_ok=True)
        with os.fdopen(handle, "wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
    except OSError as fault:
        fix = "free some space, or save the input as a file and name that"
        raise StorageError(f"cannot keep a copy of standard input: {fault}", where="stdin", fix=fix) from None
    return LineFile(Path(name), "stdin")


_NUL_FIX = "remove it (`tr -d '\\000'`); if there are many, the file is binary or UTF-16. Or pass --on-bad-line skip"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PACKED = {b"\x1f\x8b": (".gz", "gzip"), b"\x28\xb5\x2f\xfd": (".zst", "zstd")}


def _without_bom(first: bytes, name: str) -> Line:
    """The first line without a byte order mark; raises DataError at the marks of UTF-16 and of packed files."""
    if first.startswith(_UTF16):
        fix = f"convert it to UTF-8: iconv -f UTF-16 -t UTF-8 {name}"
        raise DataError("the file is UTF-16 (it starts with its byte order mark); wanted UTF-8", where=name, fix=fix)
    for magic, (ending, kind) in _PACKED.items():
        if first.startswith(magic):
            fix = f"unpack it, or give it a name that ends in {ending}"
            raise DataError(f"the file is packed by {kind} but its name does not end in {ending}", where=name, fix=fix)
    return (3, first[3:]) if first.startswith(b"\xef\xbb\xbf") else (0, first)


def _unreadable(name: str, fault: OSError) -> DataError:
    if isinstance(fault, FileNotFoundError):
        return DataError("no such file", where=name, fix="check the path; a relative one starts at the current folder")
    if isinstance(fault, IsADirectoryError):
        return DataError("is a folder, not a file", where=name, fix="name the file in it that holds the text")
    return DataError(f"cannot be read: {fault.strerror or fault}", where=name, fix="check the file and its permissions")


class _Decompressor(Protocol):
    """What zlib, zstandard and compression.zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _PackingError(Exception):
    """The packed bytes are damaged; the message is the unpacker's."""


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a packed stream of one or more members; EOFError if the last one is cut short.

    Written once for both packings because zstandard's own reader takes a cut file for a complete one.
    """

    def __init__(self, packed: BinaryIO, start: Callable[[], _Decompressor], errors: tuple[type[Exception], ...]):
        self._packed, self._start, self._errors = packed, start, errors
        self._member: _Decompressor | None = None
        self._rest = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base class says WriteableBuffer
        while not self._ready:
            if not self._unpack_more():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _unpack_more(self) -> bool:
        chunk = self._rest or self._packed.read(CHUNK)
        if self._member is None:
            chunk = chunk.lstrip(b"\0")  # padding that tapes and some tools leave between or after members
        if not chunk and self._member is not None:
            raise EOFError
        if not chunk:
            return False
        self._member = self._member or self._start()
        try:
            self._ready = memoryview(self._member.decompress(chunk))
        except self._errors as fault:
            raise _PackingError(str(fault)) from None
        self._rest = b""
        if self._member.eof:
            self._rest, self._member = self._member.unused_data, None
        return True

    def close(self) -> None:
        self._packed.close()
        super().close()


def _opened(path: Path) -> AbstractContextManager[BinaryIO]:
    if str(path) == STDIN:
        return nullcontext(sys.stdin.buffer)
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(_Unpacked(path.open("rb"), _start_gzip, (zlib.error,)), CHUNK)
    if path.suffix.lower() == ".zst":
        start, error = _zstd()
        return io.BufferedReader(_Unpacked(path.open("rb"), start, (error,)), CHUNK)
    return path.open("rb")


def _start_gzip() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd() -> tuple[Callable[[], _Decompressor], type[Exception]]:
    """Starts a zstd member, and the error it raises; from the standard library (3.14) or the optional extra."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdDecompressor, zstd.ZstdError
    try:
        import zstandard
    except ImportError:
        raise UsageError("reading .zst needs the zstandard package", fix="pip install 'regard[zstd]'") from None
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj, zstandard.ZstdError
