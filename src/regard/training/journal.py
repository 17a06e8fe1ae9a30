"""metrics.jsonl: one JSON line an event, appended as it happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regard.errors import StorageError
from regard.folder import write_file

NAME = "metrics.jsonl"
Event = dict[str, Any]  # "event" says which kind; "step" when


class Journal:
    """Appends events to `run/metrics.jsonl`; each line is on its way to the disk before `write` returns."""

    def __init__(self, run: Path) -> None:
        self.path = run / NAME

    def write(self, event: Event) -> None:
        """One more line; StorageError if the disk does not take it."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write: {error}", where=str(self.path)) from None

    def read(self) -> list[Event]:
        """All events; a last line that a dead run left half is passed over."""
        return list(_events(self.path.read_text(encoding="utf-8"))) if self.path.exists() else []

    def rewind(self, step: int) -> None:
        """Forgets what happened after `step`: a resumed run says it again."""
        kept = [event for event in self.read() if event.get("step", 0) <= step]
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept)
        write_file(self.path, lines.encode())


def _events(text: str) -> Iterator[Event]:
    for line in text.split("\n"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
