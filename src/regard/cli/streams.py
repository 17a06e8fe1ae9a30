"""Standard output a line at a time, and a translator's faults with the name of the file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from regard.errors import DataError
from regard.text.lines import LineFile


@contextmanager
def lines_out() -> Iterator[TextIO]:
    """Standard output in UTF-8. Each write is flushed, so a killed command leaves whole lines; a reader may go away."""
    sys.stdout.reconfigure(encoding="utf-8", newline="\n", line_buffering=True)  # type: ignore[union-attr]
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away, as `head` does; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def located(file: str, before: int = 0) -> Iterator[None]:
    """A fault in `line 7` of what was read becomes one in `FILE:7`, or later with so many lines `before` it."""
    try:
        yield
    except DataError as fault:
        number = re.fullmatch(r"line (\d+)", fault.where)
        where = LineFile.at(file).where(before + int(number[1])) if number else fault.where
        raise DataError(fault.message, where=where, fix=fault.fix) from None
