"""The learning curve: an SVG of its own whatever happened, with every number in its place."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from regard.look.curve import LONGEST_TITLE, save_curve
from regard.look.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

SVG = "{http://www.w3.org/2000/svg}"
EVENTS = [
    {"event": "recipe", "pairs": 3},
    {"event": "step", "step": 1, "loss": 3.0},
    {"event": "step", "step": 2, "loss": 2.0},
    {"event": "checkpoint", "step": 2, "loss": 2.5, "wer": 40.0, "per": 12.5, "best": True},
    {"event": "end", "step": 2},
]


def drawn(events: list[dict[str, object]], folder: Path, title: str = "a run") -> ElementTree.Element:
    save_curve(events, folder / "curve.svg", title)
    content = (folder / "curve.svg").read_text(encoding="utf-8")
    # A page of code shows no picture that loads, links or runs anything.
    assert not re.search(r"url\(|@import|href|<script|<foreignObject|\bon\w+=|<image", content)
    assert content.count("http") == 1
    return ElementTree.fromstring(content)


def texts(picture: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in picture.iter(f"{SVG}text")]


def test_two_charts_stand_side_by_side(tmp_path: Path) -> None:
    picture = drawn(EVENTS, tmp_path)
    assert picture.tag == f"{SVG}svg"
    left, right = picture.findall(f"{SVG}g")
    corners = [tuple(map(int, re.findall(r"\d+", each.get("transform", "")))) for each in (left, right)]
    assert corners[1][0] - corners[0][0] == WIDTH
    assert corners[1][1] == corners[0][1]
    size = tuple(map(int, (picture.get("viewBox") or "").split()[2:]))
    assert (corners[1][0] + WIDTH, corners[1][1] + HEIGHT) < size
    assert texts(picture)[0] == "a run"
    assert {"loss, nats a token", "training", "development"} <= set(texts(left))
    assert {"development pairs, decoded, percent", "WER", "PER"} <= set(texts(right))


def test_the_numbers_are_where_the_axes_say(tmp_path: Path) -> None:
    left, right = drawn(EVENTS, tmp_path).findall(f"{SVG}g")
    training, development = left.iter(f"{SVG}polyline")
    high = TOP + (HEIGHT - TOP - BOTTOM) / 3  # the axis ends at 3
    middle, end = (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT
    assert training.get("points") == f"{middle:.1f},{TOP:.1f} {end:.1f},{high:.1f}"
    assert development.get("points") == f"{end:.1f},{(TOP + high) / 2:.1f}"
    assert [each.text for each in right.iter(f"{SVG}title")] == ["WER", "WER at 2: 40", "PER", "PER at 2: 12.5"]


@pytest.mark.parametrize(
    "events",
    [[], EVENTS[:2], EVENTS[3:4], [{"event": "step", "step": 1, "loss": math.nan}]],
    ids=["none", "no-checkpoint", "no-step", "nan"],
)
def test_runs_that_ended_early(events: list[dict[str, object]], tmp_path: Path) -> None:
    assert len(drawn(events, tmp_path).findall(f"{SVG}g")) == 2


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        (r"$\nothing$ </svg> <script>", r"$\nothing$ </svg> <script>"),
        ("发音", "发音"),
        ("", ""),
        ("a\x00b\uffffc\ud800", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"),
        ("\u202ea.b", "a.b"),
        ("long" * 60, ("long" * 60)[: LONGEST_TITLE - 1] + "…"),
    ],
)
def test_any_name_of_a_run_is_a_title(title: str, shown: str, tmp_path: Path) -> None:
    assert texts(drawn(EVENTS, tmp_path, title))[0] == shown


def test_neither_torch_nor_matplotlib_is_needed(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from regard.look.curve import save_curve
        save_curve([], Path(sys.argv[1]), "a run")
        assert not {"matplotlib", "torch"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "curve.svg")], check=True)
    ElementTree.parse(tmp_path / "curve.svg")
