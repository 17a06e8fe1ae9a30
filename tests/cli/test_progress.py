"""What a person sees while a model trains, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from regard.cli.progress import Screen
from regard.cli.sparkline import in_bytes, in_time, sparkline
from regard.training.journal import Journal

EVENTS: list[dict[str, Any]] = [
    {
        "event": "recipe",
        "pairs": 3600,
        "reasons": [{"key": "model.layers", "value": "3", "why": "3,600 pairs"}],
    },
    {"event": "warning", "text": "too few pairs"},
    {
        "event": "start",
        "parameters": 1_400_000,
        "pairs": 3590,
        "steps": 100,
        "batches_per_epoch": 19,
        "real_tokens": 0.93,
        "left_out": {"blank": 7, "too_long": 0, "bad_lines": 3},
    },
    {"event": "step", "step": 20, "epoch": 1, "loss": 1.5, "tokens_per_second": 12_345, "seconds": 30.0},
    {"event": "checkpoint", "step": 50, "best": True, "loss": 0.25, "wer": 12.5, "per": 3.25},
    {"event": "end", "step": 100, "seconds": 150.0, "published": "step 50", "loss": 0.25, "wer": 12.5, "per": 3.25},
]


def shown(terminal: bool) -> str:
    stream = io.StringIO()
    screen = Screen(Console(file=stream, force_terminal=terminal, width=120), Path("runs/pairs"))
    for event in EVENTS:
        screen.tell(event)
    screen.close()
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_everything_that_matters_is_said(terminal: bool) -> None:
    text = shown(terminal)
    for part in (
        "3,600 pairs",
        "model.layers",
        "warning: too few pairs",
        "1,400,000 parameters, 3,590 training pairs, 100 steps",
        "left out: 7 blank, 3 bad lines",
        "checkpoint 50: loss 0.250  WER 12.50 %  PER 3.25 %  best so far",
        "done in 2.5 min; kept step 50",
        "the model is in runs/pairs",
    ):
        assert part in text


def test_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    assert "12,345 tokens/s" in shown(terminal=True)
    assert "\x1b" in shown(terminal=True)
    assert "step 20  loss 1.500  12,345 tokens/s  2.0 min left" in shown(terminal=False)
    assert "\x1b" not in shown(terminal=False)


FORECAST = {
    "event": "forecast", "steps": 1200, "tokens": 3_100_000, "epochs": 2.44, "seconds": 5400.0,
    "checkpoint_bytes": 3 * 2**20, "disk_bytes": 27 * 2**20, "free_disk_bytes": 52 * 2**30,
    "memory_bytes": 120 * 2**20, "free_memory_bytes": 12 * 2**30, "device": "cpu (2 of 2 threads), float32",
}  # fmt: skip
SAMPLES = {
    "event": "samples",
    "step": 50,
    "samples": [
        {"source": f"s{place}", "reference": f"r{place}", "answer": f"{'r' if place == 3 else 'a'}{place}"}
        for place in range(5)
    ],
}


class Encoded(io.StringIO):
    """A stream of a terminal with an encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.named = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.named


def said(
    events: list[dict[str, Any]], run: Path = Path("run"), width: int = 120, encoding: str = "", **kind: bool
) -> str:
    stream = Encoded(encoding) if encoding else io.StringIO()
    screen = Screen(Console(file=stream, width=width, **kind), run)
    for event in events:
        screen.tell(event)
    screen.close()
    return stream.getvalue()


def test_a_forecast_in_three_lines() -> None:
    assert said([FORECAST]).split("\n") == [
        "forecast: 1,200 steps, 3,100,000 tokens, 2.4 epochs; about 90.0 min of steps on cpu (2 of 2 threads), float32",
        "  memory: about 120.0 MiB; 12.0 GiB free",
        "  disk: 3.0 MiB a checkpoint, 27.0 MiB in all; 52.0 GiB free",
        "",
    ]


def test_a_forecast_names_what_would_be_faster() -> None:
    assert "training.precision" not in said([FORECAST | {"could_be_faster": None}])
    for faster in ("bfloat16", "float32"):
        assert f"training.precision={faster}" in said([FORECAST | {"could_be_faster": faster}])


def test_a_forecast_says_only_what_is_known() -> None:
    text = said([{**FORECAST, "memory_bytes": None, "free_disk_bytes": None, "processes": 4}])
    assert "memory" not in text
    assert "27.0 MiB in all\n" in text
    assert "float32, 4 processes\n" in text


def test_two_samples_a_checkpoint() -> None:
    assert said([SAMPLES]) == "    s1 → a1   (wanted: r1)\n    s3 → r3   (right)\n"
    one = {
        "event": "samples",
        "step": 1,
        "samples": [{"source": "x" * 500, "reference": "\x1b[2J", "answer": "\u202e"}],
    }
    [line, _] = said([one], width=80).split("\n")
    assert len(line) < 80
    assert "\x1b" not in line  # nothing in the data steers the terminal
    assert "\u202e" not in line
    assert said([{"event": "samples", "step": 1, "samples": []}]) == ""


def test_what_went_wrong_and_what_nobody_knows() -> None:
    events = [
        {"event": "skipped", "step": 7, "text": "step 7 was not applied"},
        {"event": "note", "text": "counted"},
        {"event": "heard of never", "step": 1},
        {"event": "data", "worst": "look", "sections": [
            {"level": "ok", "title": "counts", "detail": "fine", "examples": []},
            {"level": "wrong", "title": "in step", "detail": "they slip", "examples": ["x"]},
        ]},
    ]  # fmt: skip
    assert said(events) == (
        "warning: step 7 was not applied\ncounted\n  data: wrong in step: they slip\n  `regard check` shows examples\n"
    )


@pytest.mark.parametrize(("encoding", "curve"), [("utf-8", "WER █▅▁ 10.00"), ("ascii", "WER #=_ 10.00")])
def test_the_curve_of_validation_stands_beside_the_bar(encoding: str, curve: str) -> None:
    checkpoints = [{**EVENTS[4], "step": 50 + place, "wer": wer} for place, wer in enumerate((50.0, 30.0, 10.0))]
    text = said([*EVENTS[:4], *checkpoints], encoding=encoding, force_terminal=True)
    assert curve in text
    long = {**SAMPLES, "samples": [{"source": "s" * 99, "reference": "r", "answer": "a"}]}
    assert said([long], encoding="ascii", width=80) == "    " + "s" * 19 + "... -> a   (wanted: r)\n"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_bar_fits_a_terminal(width: int) -> None:
    checkpoints = [{**EVENTS[4], "step": place, "wer": float(place)} for place in range(30)]
    step = {**EVENTS[3], "step": 88, "tokens_per_second": 12_345}
    text = said([EVENTS[2], *checkpoints, step], width=width, force_terminal=True)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", text)]
    bars = [line for line in lines if line.startswith("step ")]
    assert bars
    assert all(len(line) <= width for line in bars)
    assert width < 80 or "88/100" in bars[-1]
    assert width < 80 or bars[-1].rstrip().endswith("29.00")


def test_a_resumed_run_has_its_bar_and_the_curve_so_far(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for event in (EVENTS[2], {**EVENTS[4], "wer": 50.0}, {**EVENTS[4], "step": 60, "wer": 1.0}):
        journal.write(event)
    events = [{"event": "resumed", "step": 50, "text": "goes on after step 50"}, EVENTS[3], {**EVENTS[4], "step": 60}]
    text = said(events, tmp_path, force_terminal=True)
    assert "goes on after step 50" in text
    assert "20/100" in text
    assert "WER █▁ 12.50" in text  # of 50 % before and 12.5 % now; what was measured after the checkpoint is forgotten


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 5, ""),
        ([1.0], 5, "▁"),
        ([1.0, 1.0], 5, "▁▁"),
        ([0, 7], 5, "▁█"),
        (range(8), 8, "▁▂▃▄▅▆▇█"),
        (range(16), 2, "▁█"),
    ],
)
def test_sparkline(values: Sequence[float], width: int, line: str) -> None:
    assert sparkline(values, width) == line


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (in_bytes(5), "5 bytes"),
        (in_bytes(1536), "1.5 KiB"),
        (in_time(45), "45 s"),
        (in_time(150), "2.5 min"),
        (in_time(3 * 86_400), "3.0 days"),
    ],
)
def test_numbers_as_people_read_them(found: str, text: str) -> None:
    assert found == text
