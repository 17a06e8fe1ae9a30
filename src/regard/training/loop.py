"""The loop: batches to steps, steps to checkpoints.

All chance is a pure function of the seed and the place: batch order of (seed, epoch), dropout of (seed, step). So a
resumed run needs no random state, only the counters in `Progress`, and goes on with equal bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regard.config import Training
from regard.data.batches import epoch_batches, mix
from regard.data.corpus import Corpus
from regard.data.tokens import Batch
from regard.errors import TrainingError
from regard.models.interface import EncoderDecoder
from regard.training.checkpoint import Checkpoint, list_checkpoints, prune_checkpoints, save_checkpoint
from regard.training.journal import Event
from regard.training.loss import cross_entropy
from regard.training.optimiser import OPTIMISERS, clip_gradients, optimiser_tensors, restore_optimiser
from regard.training.schedule import rate_factor

if TYPE_CHECKING:
    from torch.optim import Optimizer

LOG_EVERY = 20  # steps


@dataclass
class Progress:
    """Where a run stands: all that a checkpoint keeps beside tensors."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    seconds: float = 0.0
    best_step: int = 0
    best_value: float | None = None  # of what is validated; smaller is better; None before the first validation
    stale: int = 0  # checkpoints since the best one

    @staticmethod
    def read(state: Mapping[str, object]) -> Progress:
        """From a checkpoint's state."""
        return Progress(**{field.name: state[field.name] for field in fields(Progress)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Validation:
    """What a checkpoint is worth: `value` decides (smaller is better), `numbers` are shown and logged."""

    value: float
    numbers: dict[str, float]


@dataclass(frozen=True)
class Surroundings:
    """What the loop needs and does not know how to do: look at a model, tell somebody, and when to stop early."""

    run: Path
    model_files: Mapping[str, bytes]
    validate: Callable[[EncoderDecoder], Validation]
    tell: Callable[[Event], None]
    interrupted: Callable[[], bool] = lambda: False


class Interrupted(Exception):
    """The run was asked to stop, and its state is saved."""


def fit(
    model: EncoderDecoder,
    corpus: Corpus,
    training: Training,
    tokens_per_batch: int,
    around: Surroundings,
    resumed: Checkpoint | None = None,
) -> Progress:
    """Trains `model` in place to the end of the run; checkpoints go to `around.run`.

    TrainingError if the loss is not a number: the step is not applied. Interrupted after a checkpoint if asked to stop.
    """
    optimiser = OPTIMISERS[training.optimiser](model, training)
    progress = Progress()
    if resumed:
        progress = Progress.read(resumed.state)
        restore_optimiser(optimiser, model, resumed.optimiser)
    clock = _Clock(progress.seconds)
    device = next(model.parameters()).device
    meter = _Meter()
    for batches in _steps(corpus, training, tokens_per_batch, progress):
        done = _done(progress, training, clock)
        if done >= 1.0 or (training.patience and progress.stale >= training.patience):
            break
        rate = _set_rate(optimiser, training, done, progress.step)
        loss, gradient = train_step(model, [batch.to(device) for batch in batches], optimiser, training, progress.step)
        progress.step += 1
        meter.add(batches, loss)
        if progress.step % LOG_EVERY == 0 or progress.step == 1:
            progress.seconds = clock.seconds()
            around.tell({"event": "step", **meter.read(progress, clock), "rate": rate, "gradient": gradient})
        stop, regular = around.interrupted(), progress.step % training.checkpoint_every == 0
        if regular or stop:
            _checkpoint(model, optimiser, training, around, progress, clock, validate=regular)
        if stop:
            raise Interrupted
    if progress.step % training.checkpoint_every:
        _checkpoint(model, optimiser, training, around, progress, clock, validate=True)
    return progress


def train_step(
    model: EncoderDecoder, batches: list[Batch], optimiser: Optimizer, training: Training, step: int
) -> tuple[float, float]:
    """One step on batches whose gradients are added: the same as one large batch of them all.

    Returns (loss in nats a real target token, length of the gradient before clipping). TrainingError, and nothing is
    changed, if either is not a number.
    """
    torch.manual_seed(mix(training.seed, step))
    model.train()
    optimiser.zero_grad(set_to_none=True)
    tokens = sum(batch.real_targets for batch in batches)
    total = 0.0
    for batch in batches:
        logits = model(batch.source, batch.previous)
        loss = cross_entropy(logits, batch.gold.ids, batch.gold.is_real, training.label_smoothing) / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    length = clip_gradients(model, training.clip)
    if not (math.isfinite(total) and math.isfinite(length)):
        raise TrainingError(
            f"at step {step + 1} the loss is {total} and the gradient's length {length}; the step was not applied",
            fix="lower training.learning_rate or lengthen training.warmup; the last checkpoint is intact",
        )
    optimiser.step()
    return total, length


def _steps(corpus: Corpus, training: Training, tokens_per_batch: int, progress: Progress) -> Iterator[list[Batch]]:
    """Batches for one step after another, without end, from where `progress` stands; keeps its epoch and batch."""
    while True:
        pairs = corpus.epoch(progress.epoch)
        order = epoch_batches(pairs, tokens_per_batch, training.seed, progress.epoch)
        for start in range(progress.batch, len(order), training.accumulate):
            rows = order[start : start + training.accumulate]
            progress.batch = start + len(rows)
            yield [pairs.batch(row) for row in rows]
        progress.epoch, progress.batch = progress.epoch + 1, 0


def _done(progress: Progress, training: Training, clock: _Clock) -> float:
    """The share of the run that is over, by steps or by the clock."""
    by_steps = progress.step / training.steps
    return max(by_steps, clock.seconds() / 60 / training.max_minutes) if training.max_minutes else by_steps


def _set_rate(optimiser: Optimizer, training: Training, done: float, step: int) -> float:
    """The learning rate of the coming step. A step is counted from 1, so the first one is not lost to a rate of 0."""
    warmup = min(1.0, training.warmup / training.steps)
    share = max(done, (step + 1) / training.steps if step < training.warmup else done)
    rate = training.learning_rate * rate_factor(training.schedule, share, warmup)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


def _checkpoint(
    model: EncoderDecoder,
    optimiser: Optimizer,
    training: Training,
    around: Surroundings,
    progress: Progress,
    clock: _Clock,
    validate: bool,
) -> None:
    if validate:
        result = around.validate(model)
        better = progress.best_value is None or result.value < progress.best_value
        progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_value, progress.best_step = result.value, progress.step
        progress.seconds = clock.seconds()
        around.tell({"event": "checkpoint", "step": progress.step, "best": better, **result.numbers})
    progress.seconds = clock.seconds()
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    tensors = optimiser_tensors(optimiser, model)
    save_checkpoint(around.run, Checkpoint(progress.step, weights, tensors, asdict(progress)), around.model_files)
    prune_checkpoints(around.run, keep=_worth_keeping(around.run, training, progress))


def _worth_keeping(run: Path, training: Training, progress: Progress) -> set[int]:
    """The best step, the newest, and as many regular ones as are averaged at the end."""
    steps = [int(folder.name) for folder in list_checkpoints(run)]
    regular = [step for step in steps if step % training.checkpoint_every == 0]
    return {progress.best_step, *steps[-1:], *regular[-training.average :]}


class _Clock:
    """Seconds of training, those before a resume included."""

    def __init__(self, before: float) -> None:
        self.started = time.monotonic() - before

    def seconds(self) -> float:
        return time.monotonic() - self.started


class _Meter:
    """Mean loss and speed since the last reading."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self.loss, self.targets, self.tokens, self.since = 0.0, 0, 0, time.monotonic()

    def add(self, batches: list[Batch], loss: float) -> None:
        targets = sum(batch.real_targets for batch in batches)
        self.loss += loss * targets
        self.targets += targets
        self.tokens += targets + sum(int(batch.source.lengths.sum()) for batch in batches)

    def read(self, progress: Progress, clock: _Clock) -> Event:
        event = {
            "step": progress.step,
            "epoch": progress.epoch,
            "loss": self.loss / self.targets,
            "tokens_per_second": round(self.tokens / max(1e-9, time.monotonic() - self.since)),
            "seconds": round(clock.seconds(), 3),
        }
        self._restart()
        return event
