"""What happened in a run, one JSON line an event, appended as it happens.

metrics.jsonl holds what follows from recipe and data alone: it is the same, byte for byte, however often the run was
interrupted. machine.jsonl holds what depends on the machine: seconds, speed, memory, resumes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regard.errors import StorageError
from regard.folder import write_file

NAME, MACHINE = "metrics.jsonl", "machine.jsonl"
TIMED = ("seconds", "tokens_per_second", "in_steps")  # values of an event that go to machine.jsonl
OF_THE_MACHINE = ("forecast", "resumed")  # events that do
BEFORE = ("recipe", "data", "beginning", "forecast")  # events that are told before a run has a folder
Event = dict[str, Any]  # "event" says which kind; "step" when


class Journal:
    """Appends events to the two files of a run."""

    def __init__(self, run: Path) -> None:
        self.path, self.machine = run / NAME, run / MACHINE

    def write(self, event: Event) -> None:
        """One more event; StorageError if the disk does not take it."""
        if event["event"] in OF_THE_MACHINE:
            return _append(self.machine, event)
        _append(self.path, {key: value for key, value in event.items() if key not in TIMED})
        times = {key: event[key] for key in TIMED if key in event}
        if times:
            _append(self.machine, {"event": event["event"], "step": event["step"], **times})
        return None

    def flush(self) -> None:
        """On the disk before this returns: a checkpoint must not outlive the lines before it."""
        for path in (self.path, self.machine):
            if path.exists():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())

    def read(self) -> list[Event]:
        """The events of metrics.jsonl with their times; a last line that a dead run left half is passed over."""
        times = {(event["event"], event.get("step")): event for event in self.read_machine()}
        return [{**event, **times.get((event["event"], event.get("step")), {})} for event in _events(self.path)]

    def read_machine(self) -> list[Event]:
        """The events of machine.jsonl."""
        return list(_events(self.machine))

    def rewind(self, step: int | None) -> None:
        """Forgets what happened after `step` (None: before a first checkpoint), for a resumed run says it again."""
        for path in (self.path, self.machine):
            lines = (_line(event) for event in _events(path) if _stays(event, step))
            write_file(path, "".join(lines).encode())


def _stays(event: Event, step: int | None) -> bool:
    if step is None:
        return event["event"] in BEFORE
    return bool(event["event"] != "end" and event.get("step", 0) <= step)


def _append(path: Path, event: Event) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(_line(event))
    except OSError as error:
        raise StorageError(f"cannot write: {error}", where=str(path)) from None


def _line(event: Event) -> str:
    return json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"


def _events(path: Path) -> Iterator[Event]:
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            event = json.loads(line.decode())
        except ValueError:  # a last line that was cut off, perhaps inside a character
            continue
        if isinstance(event, dict) and "event" in event:
            yield event
