"""What `regard check` finds in the files of a run, as an event: told before training, shown in its report."""

from __future__ import annotations

import os
from dataclasses import asdict

from regard.config import Data
from regard.text.pairs import PairFormat
from regard.text.report import Finding, report
from regard.text.shards import open_pairs
from regard.training.journal import Event

MOST_BYTES = 200 * 2**20  # of files that are checked on the way: a minute or two


def data_event(data: Data, most_bytes: int = MOST_BYTES) -> Event | None:
    """{"event": "data", "worst": level, "sections": findings as dicts}; None where pairs are generated or built in.

    Files of more than `most_bytes` are not read: the one finding then says with which command they would be.
    """
    if data.task or not data.pairs:
        return None
    paths = [*data.pairs, *data.valid]
    if sum(map(_size, paths)) > most_bytes:
        detail = f"more than {most_bytes / 2**20:,.0f} MiB: not checked on the way; `{_command(data)}` does it"
        return _event("ok", [Finding("ok", "size", detail)])
    format = PairFormat(data.columns, data.separator, data.on_bad_line)
    train, valid = (open_pairs(names, format) if names else None for names in (data.pairs, data.valid))
    assert train is not None
    found = report(train, valid)
    return _event(found.worst, found.sections)


def _event(worst: str, findings: tuple[Finding, ...] | list[Finding]) -> Event:
    return {"event": "data", "worst": worst, "sections": [asdict(finding) for finding in findings]}


def _size(path: str) -> int:
    """0 for what is not there: the report says so."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _command(data: Data) -> str:
    return " ".join(["regard check", *data.pairs, *(f"--valid {path}" for path in data.valid)])
