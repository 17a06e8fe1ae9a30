"""Lab tests without what takes long and is not their matter: trial steps."""

from __future__ import annotations

import pytest

FEWER = {"lab.probe.COUNTED": 1, "training.pace.TIMED": 1, "training.pace.WARM_UP": 0}


def try_less(patch: pytest.MonkeyPatch) -> None:
    """Fewer steps before the first run."""
    for name, number in FEWER.items():
        patch.setattr(f"regard.{name}", number)
