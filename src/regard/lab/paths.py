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
from regard.lab.table import NOTHING, short
from regard.look.html import Table
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
LENGTHS = (64, 512, 4096)  # of the sequences that are timed
DISTANCES = (4, 8, 32, 64)  # between the symbol and the question
REACH = 8  # of the convolutions
STEPS, ROWS, RATE = 300, 32, 2e-3
ASKED_OFTEN = 512  # sequences that are asked about at the end

Seconds = dict[str, list[list[float]]]  # of each encoder: in each round, for each of LENGTHS


def run(folder: Path, asked: Asked, listener: Listener) -> Finding:
    """Counts, times and trains; two to three minutes."""
    seeds = range(1, 1 + (asked.seeds or 2))
    encoders = {name: _encoder(name, asked.settings, seed=1) for name in VARIANTS}
    seconds = _time(encoders, LENGTHS)
    listener.tell({"event": "note", "text": "counted and timed; now the long-distance question"})
    right = {name: [_mean_right(name, distance, asked.settings, seeds) for distance in DISTANCES] for name in VARIANTS}
    counted = [row for name, encoder in encoders.items() for row in _counted(name, encoder)]
    holds, text = _judge(seconds, right)
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


def _time(encoders: dict[str, Encoder], lengths: Sequence[int], rounds: int = 7) -> Seconds:
    """Reads one sequence of each length in each round, each encoder in turn: a busy machine is so for all."""
    found: Seconds = {name: [] for name in encoders}
    sources = [Tokens.of([[index % SYMBOLS for index in range(length)]]) for length in lengths]
    for _ in range(rounds):
        for name, encoder in encoders.items():
            found[name].append([_seconds(encoder.eval(), source) for source in sources])
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


def _judge(seconds: Seconds, right: dict[str, list[float]]) -> tuple[bool | None, str]:
    """Whether time grows fastest for self-attention, and the far symbol is lost where the path is long or missing."""
    growth = {name: [times[-1] / times[0] for times in rounds] for name, rounds in seconds.items()}
    blind = max(share for share, distance in zip(right["convolutional"], DISTANCES, strict=True) if distance > REACH)
    found = min(right["transformer"]) > 0.9 and right["convolutional"][0] > 0.9 and blind < 0.2
    grown = ", ".join(f"{name} {statistics.median(ratios):.0f} times" for name, ratios in growth.items())
    return (_grows_fastest("transformer", growth) if found else False), (
        f"A sequence {LENGTHS[-1] // LENGTHS[0]} times as long takes: {grown} as long. Across {DISTANCES[-1]} "
        f"positions the last state knew the first symbol in {right['transformer'][-1]:.0%} (transformer), "
        f"{right['recurrent'][-1]:.0%} (recurrent) and {right['convolutional'][-1]:.0%} (convolutional, whose "
        f"{BASE['layers']} layers reach {REACH}) of the cases; guessing gives {1 / SYMBOLS:.0%}."
    )


def _grows_fastest(name: str, growth: dict[str, list[float]]) -> bool | None:
    """Whether the middle half of its rounds lies above the middle halves of the others; None where they overlap.

    Times on a shared machine are noise: one slow round must not decide.
    """
    low, high = _middle_half(growth[name])
    others = [_middle_half(ratios) for other, ratios in growth.items() if other != name]
    if all(low > other_high for _, other_high in others):
        return True
    return False if any(high < other_low for other_low, _ in others) else None


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def _count_table(counted: Sequence[tuple[str, ...]]) -> Table:
    head = ("encoder", "n", "operations", "serial steps", "longest path")
    notes = ("multiply-adds of two layers; a path of '-': the last position never hears of the first",)
    return Table("Counted", head, tuple(counted), (0,), notes)


def _time_table(seconds: Seconds) -> Table:
    medians = {
        name: [statistics.median(times) for times in zip(*rounds, strict=True)] for name, rounds in seconds.items()
    }
    rows = tuple((name, *(f"{1000 * each:.2f}" for each in times)) for name, times in medians.items())
    head = ("encoder", *(f"n={length}\nms" for length in LENGTHS))
    return Table("Time to read one sequence", head, rows, (0,), ("median, in turns, on this machine",))


def _recall_table(right: dict[str, list[float]]) -> Table:
    rows = tuple((name, *(f"{share:.1%}" for share in shares)) for name, shares in right.items())
    head = ("encoder", *(f"{distance}\naway" for distance in DISTANCES))
    notes = (f"how often the last state tells the first symbol after {STEPS} steps; {1 / SYMBOLS:.0%} is guessing",)
    return Table("The first symbol, asked of the last state", head, rows, (0,), notes)
