"""Lab tests without what takes long and is not their matter: trial steps, drawing."""

from __future__ import annotations

import pytest

FEWER = {"lab.probe.COUNTED": 1, "lab.probe.TIMED": 1, "training.pace.TIMED": 1, "training.pace.WARM_UP": 0}


def try_less(patch: pytest.MonkeyPatch) -> None:
    """Fewer steps before the first run."""
    for name, number in FEWER.items():
        patch.setattr(f"regard.{name}", number)


def do_not_draw(patch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest; the tests of reports draw."""
    patch.setattr("regard.trainer.publish.save_curve", lambda events, path, title: path.write_bytes(b""))
    for name in ("curves", "scatters"):
        patch.setattr(f"regard.lab.report.{name}", lambda *arguments: (b"", b""))
