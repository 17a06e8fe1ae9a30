"""Teacher forcing against one's own output (claim N15).

Two models with equal weights learn to reverse digits: one reads the right symbols while it is trained, all positions at
once; the other reads what it says itself, one position after another. Then both have to speak alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from regard.config import Model, Settings, build_section, merge
from regard.data.tasks import TASKS, draw
from regard.data.tokens import Batch, Tokens
from regard.lab.finding import Asked, Finding
from regard.look.html import Table
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.text.pairs import Pair
from regard.text.tokenizer import BOS, EOS
from regard.trainer import Listener

CLAIM = (
    "training reads the right symbols, at all positions at once, prediction its own, one at a time; for the same "
    "symbols both give the same logits, and to train as one predicts is slower"
)
MODEL: Settings = {"layers": 2, "size": 64, "heads": 4, "inner": 256, "dropout": 0.0}
FIRST_DIGIT, VOCABULARY = 4, 14  # pad, bos, eos, unk, ten digits
STEPS, ROWS, RATE = 250, 64, 2e-3
HELD_OUT = 300
Previous = Callable[[EncoderDecoder, Batch], Tokens]


@dataclass(frozen=True)
class Learned:
    """What one way of training came to: shares of held-out lines and symbols, and seconds a step."""

    exact: float
    forced: float
    alone: float
    seconds: float


def run(folder: Path, asked: Asked, listener: Listener) -> Finding:
    """Trains each way once a seed; about three minutes."""
    ways: dict[str, Previous] = {"teacher forcing": the_right_ones, "its own output": its_own}
    found: dict[str, list[Learned]] = {way: [] for way in ways}
    difference = 0.0
    for seed in range(1, 1 + (asked.seeds or 2)):
        for way, previous in ways.items():
            model = _model(asked.settings, seed)
            found[way].append(learn(model, previous, seed))
            difference = max(difference, unlike(model))
            listener.tell({"event": "note", "text": f"{way}, seed {seed}: {found[way][-1].exact:.1%} exact"})
    forced, own = (found[way] for way in ways)
    slower = statistics.median(each.seconds for each in own) / statistics.median(each.seconds for each in forced)
    text = (
        f"The logits of one step after another differ from those of all at once by {difference:.0e} at most. "
        f"After {STEPS} steps teacher forcing has {_mean(forced, 'exact'):.1%} of the lines right, training on its "
        f"own output {_mean(own, 'exact'):.1%}, at {slower:.1f} times the time a step."
    )
    return Finding(CLAIM, (_table(found),), difference < 1e-3 and slower > 1, text)


def learn(model: EncoderDecoder, previous: Previous, seed: int) -> Learned:
    """Trains `model` on what `previous` gives the decoder to read."""
    optimiser, seconds = torch.optim.Adam(model.parameters(), lr=RATE), []
    pairs = draw(TASKS["reverse"], seed, 0, STEPS * ROWS)
    for step in range(STEPS):
        started = time.perf_counter()
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * (1 - step / STEPS)
        batch = as_batch(pairs[step * ROWS : (step + 1) * ROWS])
        logits, is_real = model.train()(batch.source, previous(model, batch)), batch.gold.is_real
        loss = functional.cross_entropy(logits[is_real], batch.gold.ids[is_real])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    return Learned(*_shares(model, seed), statistics.median(seconds))


def the_right_ones(model: EncoderDecoder, batch: Batch) -> Tokens:
    """What the decoder reads under teacher forcing."""
    return batch.previous


def its_own(model: EncoderDecoder, batch: Batch) -> Tokens:
    """What the decoder reads if it is given what it has said, as long as the right answer."""
    said = speak(model, batch.source, batch.gold.ids.shape[1] - 1)
    start = torch.full((len(said), 1), BOS)
    return Tokens(torch.cat((start, said), dim=1), batch.previous.lengths)


def speak(model: EncoderDecoder, source: Tokens, steps: int) -> Tensor:
    """The best id at each step, [B, steps]; what comes after an end means nothing."""
    training, ids = model.training, []
    with torch.no_grad():
        state, last = model.eval().decoder.start(model.encode(source)), torch.full((len(source.ids),), BOS)
        for _ in range(steps):
            logits, state = model.decoder.step(last, state)
            last = logits.argmax(-1)
            ids.append(last)
    model.train(training)
    return torch.stack(ids, 1) if ids else torch.zeros(len(source.ids), 0, dtype=torch.int64)


def unlike(model: EncoderDecoder) -> float:
    """The largest difference between logits of all positions at once and of one step after another."""
    batch, model = as_batch(draw(TASKS["reverse"], 0, -1, 50)), model.eval()
    previous = batch.previous
    with torch.no_grad():
        at_once, state, steps = model(batch.source, previous), model.decoder.start(model.encode(batch.source)), []
        for last in previous.ids.unbind(1):
            logits, state = model.decoder.step(last, state)
            steps.append(logits)
    difference: Tensor = (torch.stack(steps, 1) - at_once)[previous.is_real]
    return difference.abs().max().item()


def as_batch(pairs: list[Pair]) -> Batch:
    """Lines of digits as ids."""
    source, target = (
        [_ids(text) for text in side] for side in zip(*((p.source, p.target) for p in pairs), strict=True)
    )
    return Batch(Tokens.of([[*ids, EOS] for ids in source]), Tokens.of([[BOS, *ids, EOS] for ids in target]))


def _ids(text: str) -> list[int]:
    return [FIRST_DIGIT + int(digit) for digit in text.split(" ")]


def _model(settings: Settings, seed: int) -> EncoderDecoder:
    torch.manual_seed(seed)
    return build(build_section(Model, merge(MODEL, settings.get("model", {})), "model"), VOCABULARY, VOCABULARY)


def _shares(model: EncoderDecoder, seed: int) -> tuple[float, float, float]:
    """Held-out lines exactly right, and symbols right with the right ones before them and with its own."""
    batch = as_batch(draw(TASKS["reverse"], seed, -1, HELD_OUT))
    gold, is_real = batch.gold.ids, batch.gold.is_real
    said = speak(model, batch.source, gold.shape[1])
    with torch.no_grad():
        forced = model.eval()(batch.source, batch.previous).argmax(-1)
    exact = ((said == gold) | ~is_real).all(1)
    return _share(exact), _share((forced == gold)[is_real]), _share((said == gold)[is_real])


def _share(right: Tensor) -> float:
    return right.double().mean().item()


def _mean(learned: list[Learned], name: str) -> float:
    return statistics.mean(float(getattr(each, name)) for each in learned)


def _table(found: dict[str, list[Learned]]) -> Table:
    rows = []
    for way, learned in found.items():
        shares = [f"{_mean(learned, name):.1%}" for name in ("exact", "forced", "alone")]
        rows.append((way, *shares, f"{1000 * statistics.median(each.seconds for each in learned):.0f}"))
    head = (
        "trained on",
        "lines\nright",
        "symbols right,\nright ones read",
        "symbols right,\nown ones read",
        "ms a step",
    )
    seeds = len(next(iter(found.values())))
    notes = (f"mean over {seeds} seeds, {STEPS} steps of {ROWS} lines, {HELD_OUT} held-out lines",)
    return Table("Reversing digits", head, tuple(rows), (0,), notes)
