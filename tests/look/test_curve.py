"""The learning curve: a PNG whatever happened, and matplotlib's global state left alone."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from regard.look.curve import save_curve

EVENTS = [
    {"event": "recipe", "pairs": 3},
    {"event": "step", "step": 1, "loss": 3.0},
    {"event": "step", "step": 2, "loss": 2.0},
    {"event": "checkpoint", "step": 2, "loss": 2.5, "wer": 40.0, "per": 12.5, "best": True},
    {"event": "end", "step": 2},
]


def size_of_png(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_a_png_is_written(tmp_path: Path) -> None:
    save_curve(EVENTS, tmp_path / "curve.png", "a run")
    assert size_of_png(tmp_path / "curve.png") == (1200, 480)


@pytest.mark.parametrize(
    "events",
    [[], EVENTS[:2], EVENTS[3:4], [{"event": "step", "step": 1, "loss": math.nan}]],
    ids=["none", "no-checkpoint", "no-step", "nan"],
)
def test_runs_that_ended_early(events: list[dict[str, object]], tmp_path: Path) -> None:
    save_curve(events, tmp_path / "curve.png", "a run")
    size_of_png(tmp_path / "curve.png")


@pytest.mark.parametrize("title", [r"$\nothing$", "a $ b $ c_", "发音", "", "a_b^c"])
def test_any_name_of_a_run_is_a_title(title: str, tmp_path: Path) -> None:
    save_curve(EVENTS, tmp_path / "curve.png", title)
    size_of_png(tmp_path / "curve.png")


def test_the_numbers_are_in_the_picture(tmp_path: Path) -> None:
    better = [{**event, "per": 80.0} if event["event"] == "checkpoint" else event for event in EVENTS]
    save_curve(EVENTS, tmp_path / "one.png", "a run")
    save_curve(better, tmp_path / "two.png", "a run")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()


def test_pyplot_is_not_imported_and_no_state_changes(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from regard.look.curve import save_curve
        assert "matplotlib" not in sys.modules  # commands that draw nothing do not pay for it
        import matplotlib
        before = matplotlib.rcParams.copy()
        save_curve([], Path(sys.argv[1]), "a run")
        assert "matplotlib.pyplot" not in sys.modules
        assert "torch" not in sys.modules
        assert matplotlib.rcParams.copy() == before
    """
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "curve.png")], check=True)
    size_of_png(tmp_path / "curve.png")
