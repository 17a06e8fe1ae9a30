"""Convolution against recurrence against self-attention (claim N10): operations, steps that wait, the longest path.

Counted for each encoder, measured as time against length, and as what a path is for: the last state of a sequence is
asked for the first symbol. A decoder with attention would look that up by itself, so there is none here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.config import Model, Settings, build_section, merge
from regard.data.tokens import Tokens
from regard.lab.finding import Asked, Finding
from regard.lab.table import NOTHING, Table, short
from regard.models import ENCODERS
from regard.models.interface import Encoder
from regard.trainer import Listener

CLAIM = (
    "n positions of size d, a convolution of k: operations grow as k n d^2, n d^2 and n^2 d; steps that must wait for "
    "each other as 1, n and 1; the longest path between two positions as n/k, n and 1"
)
VARIANTS: dict[str, Settings] = {  # two layers each; the convolutions see 4 positions to either side, twice
    "convolutional": {"kernel": 9},
    "recurrent": {"positions": "none"},
    "transformer": {},
}
BASE: Settings = {"layers": 2, "size": 64, "heads": 4, "inner": 256, "dropout": 0.0}
SYMBOLS = 16
LENGTHS = (64, 256, 1024)  # of the sequences that are timed
DISTANCES = (4, 8, 32, 64)  # between the symbol and the question
REACH = 8  # of the convolutions
STEPS, ROWS, RATE = 300, 32, 2e-3
ASKED_OFTEN = 512  # sequences that are asked about at the end


def run(folder: Path, asked: Asked, listener: Listener) -> Finding:
    """Counts, times and trains; about two minutes."""
    seeds = range(1, 1 + (asked.seeds or 2))
    encoders = {name: _encoder(name, asked.settings, seed=1) for name in VARIANTS}
    seconds = _time(encoders, LENGTHS)
    listener.tell({"event": "note", "text": "counted and timed; now the long-distance question"})
    right = {name: [_mean_right(name, distance, asked.settings, seeds) for distance in DISTANCES] for name in VARIANTS}
    counted = [row for name, encoder in encoders.items() for row in _counted(name, encoder)]
    holds, text = _judge(encoders, seconds, right)
    return Finding(CLAIM, (_count_table(counted), _time_table(seconds), _recall_table(right)), holds, text)


def _encoder(name: str, settings: Settings, seed: int) -> Encoder:
    torch.manual_seed(seed)
    model = build_section(Model, merge({**BASE, **VARIANTS[name]}, settings.get("model", {})), "model")
    return ENCODERS[name](model, SYMBOLS)


def _counted(name: str, encoder: Encoder) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for length in LENGTHS:
        costs = encoder.costs(length)
        assert costs is not None  # the encoders of VARIANTS all tell
        path = NOTHING if costs.longest_path is None else f"{costs.longest_path:,}"
        rows.append((name, f"{length:,}", short(costs.operations), f"{costs.sequential_steps:,}", path))
    return rows


def _time(encoders: dict[str, Encoder], lengths: Sequence[int], repeats: int = 7) -> dict[str, list[float]]:
    """Median seconds of reading one sequence, each encoder in turn so that a busy machine is so for all."""
    found: dict[str, list[float]] = {name: [] for name in encoders}
    for length in lengths:
        source = Tokens.of([[index % SYMBOLS for index in range(length)]])
        times: dict[str, list[float]] = {name: [] for name in encoders}
        for _ in range(repeats):
            for name, encoder in encoders.items():
                times[name].append(_seconds(encoder.eval(), source))
        for name in encoders:
            found[name].append(statistics.median(times[name]))
    return found


def _seconds(encoder: Encoder, source: Tokens) -> float:
    started = time.perf_counter()
    with torch.inference_mode():
        encoder(source)
    return time.perf_counter() - started


def _mean_right(name: str, distance: int, settings: Settings, seeds: Sequence[int]) -> float:
    return statistics.mean(recall(_encoder(name, settings, seed), distance, seed) for seed in seeds)


def recall(encoder: Encoder, distance: int, seed: int) -> float:
    """The share of random sequences whose last state, `distance` positions on, tells the first symbol after training.

    Guessing gives 1 / SYMBOLS.
    """
    torch.manual_seed(seed)
    answer = nn.Linear(encoder.size, SYMBOLS)
    parameters = [*encoder.parameters(), *answer.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 30) * (1 - step / STEPS)
        first, logits = _ask(encoder.train(), answer, distance, ROWS)
        loss = functional.cross_entropy(logits, first)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    with torch.inference_mode():
        first, logits = _ask(encoder.eval(), answer, distance, ASKED_OFTEN)
    return (logits.argmax(-1) == first).double().mean().item()


def _ask(encoder: Encoder, answer: nn.Linear, distance: int, rows: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, SYMBOLS, (rows, distance + 1))
    states = encoder(Tokens(ids, torch.full((rows,), distance + 1))).states
    return ids[:, 0], answer(states[:, -1])


def _judge(
    encoders: dict[str, Encoder], seconds: dict[str, list[float]], right: dict[str, list[float]]
) -> tuple[bool | None, str]:
    """Whether time grows fastest for self-attention, and the far symbol is lost where the path is long or missing."""
    growth = {name: times[-1] / times[0] for name, times in seconds.items()}
    factor = LENGTHS[-1] // LENGTHS[0]
    blind = max(share for share, distance in zip(right["convolutional"], DISTANCES, strict=True) if distance > REACH)
    near = right["convolutional"][0]
    holds = (
        growth["transformer"] > max(growth["convolutional"], growth["recurrent"])
        and min(right["transformer"]) > 0.9
        and near > 0.9
        and blind < 0.2
    )
    grown = ", ".join(f"{name} {times:.0f} times" for name, times in growth.items())
    return holds, (
        f"A sequence {factor} times as long takes: {grown} as long. Across {DISTANCES[-1]} positions the last state "
        f"knew the first symbol in {right['transformer'][-1]:.0%} (transformer), {right['recurrent'][-1]:.0%} "
        f"(recurrent) and {right['convolutional'][-1]:.0%} (convolutional, whose {BASE['layers']} layers reach "
        f"{REACH}) of the cases; guessing gives {1 / SYMBOLS:.0%}."
    )


def _count_table(counted: Sequence[tuple[str, ...]]) -> Table:
    head = ("encoder", "n", "operations", "serial steps", "longest path")
    notes = ("multiply-adds of two layers; a path of '-': the last position never hears of the first",)
    return Table("Counted", head, tuple(counted), (0,), notes)


def _time_table(seconds: dict[str, list[float]]) -> Table:
    rows = tuple((name, *(f"{1000 * each:.2f}" for each in times)) for name, times in seconds.items())
    head = ("encoder", *(f"n={length}\nms" for length in LENGTHS))
    return Table("Time to read one sequence", head, rows, (0,), ("median, in turns, on this machine",))


def _recall_table(right: dict[str, list[float]]) -> Table:
    rows = tuple((name, *(f"{share:.1%}" for share in shares)) for name, shares in right.items())
    head = ("encoder", *(f"{distance}\naway" for distance in DISTANCES))
    notes = (f"how often the last state tells the first symbol after {STEPS} steps; {1 / SYMBOLS:.0%} is guessing",)
    return Table("The first symbol, asked of the last state", head, rows, (0,), notes)
