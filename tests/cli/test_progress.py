"""What a person sees while a model trains, on a terminal and elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from regard.cli.progress import Screen

EVENTS = [
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
