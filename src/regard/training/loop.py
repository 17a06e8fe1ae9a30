"""The loop: batches to steps, steps to checkpoints.

All chance is a pure function of the seed and the place: batch order of (seed, epoch), dropout of (seed, step). So a
resumed run needs no random state, only the counters in `Progress`, and goes on with equal bits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from torch import Tensor

from regard.config import Training
from regard.data.corpus import Corpus
from regard.data.tokens import Batch
from regard.errors import TrainingError
from regard.models.interface import EncoderDecoder
from regard.training.checkpoint import Checkpoint, list_checkpoints, prune_checkpoints, save_checkpoint
from regard.training.feed import Food, ahead, feed
from regard.training.journal import Event
from regard.training.schedule import rate_factor
from regard.training.step import Outcome, Stepper

LOG_EVERY = 20  # steps
SPARE = 2  # checkpoints that are always there, so that one may turn out to be damaged


@dataclass
class Progress:
    """Where a run stands: all that a checkpoint keeps beside tensors."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    seconds: float = 0.0
    aside: float = 0.0  # of them, in checkpoints
    best_step: int = 0
    best_value: float | None = None  # of what is validated; smaller is better; None before the first validation
    stale: int = 0  # checkpoints since the best one
    validated: int = 0  # the step of the last validation
    strikes: int = 0  # steps in a row that were not applied
    loss: float = 0.0  # summed since it was last told, over so many target tokens
    targets: int = 0
    scale: dict[str, float] = field(default_factory=dict)  # of the loss, with float16
    processes: int = 1

    @staticmethod
    def read(state: Mapping[str, object]) -> Progress:
        """From a checkpoint's state. What an older version did not keep is as at the start."""
        return Progress(**{each.name: state[each.name] for each in fields(Progress) if each.name in state})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Validation:
    """What a checkpoint is worth: `value` decides (smaller is better), `numbers` are shown and logged.

    `samples` are some pairs with the model's answers, `answers` all of them.
    """

    value: float
    numbers: dict[str, float]
    samples: tuple[dict[str, str], ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What the loop needs and does not know how to do: look at a model, tell somebody, and when to stop early.

    `keep` writes batches that made no number for somebody to look at, and says where; `flush` puts what was told on
    the disk. Of several processes the first one alone uses any but `interrupted`.
    """

    run: Path
    model_files: Mapping[str, bytes]
    validate: Callable[[EncoderDecoder], Validation]
    tell: Callable[[Event], None]
    interrupted: Callable[[], bool] = lambda: False
    keep: Callable[[int, tuple[Batch, ...]], str] = lambda step, batches: ""
    flush: Callable[[], None] = lambda: None


class Interrupted(Exception):
    """The run was asked to stop, and its state is saved."""


def fit(
    stepper: Stepper,
    corpus: Corpus,
    tokens_per_batch: int,
    around: Surroundings,
    resumed: Checkpoint | None = None,
) -> Progress:
    """Trains the stepper's model in place to the end of the run; checkpoints go to `around.run`.

    TrainingError if the loss is not a number for `training.strikes` steps in a row. Interrupted after a checkpoint if
    any process was asked to stop.
    """
    loop = _Loop(stepper, around, resumed)
    training, place = stepper.training, loop.progress
    meals = feed(corpus, tokens_per_batch, training.accumulate, training.seed, place.epoch, place.batch)
    for food in ahead(meals):
        if loop.is_over():
            break
        loop.take(food)
    if loop.progress.validated < loop.progress.step:
        loop.checkpoint(validate=True)
    return loop.progress


class _Loop:
    """A run between its steps."""

    def __init__(self, stepper: Stepper, around: Surroundings, resumed: Checkpoint | None) -> None:
        self.stepper, self.around, self.training, self.world = stepper, around, stepper.training, stepper.world
        self.progress = Progress.read(resumed.state) if resumed else Progress()
        self.progress.processes = self.world.size
        if resumed:
            stepper.restore(resumed.optimiser, self.progress.scale)
        self.clock = self.progress.seconds  # of the first process, as all know it
        self.started = self.told = time.monotonic()
        self.before, self.tokens = self.progress.seconds, 0

    def is_over(self) -> bool:
        """By steps, by the clock, or because nothing gets better."""
        patience = self.training.patience
        return self._done() >= 1.0 or bool(patience and self.progress.stale >= patience)

    def take(self, food: Food) -> None:
        """One step, and what is due after it."""
        progress, rate = self.progress, self._rate()
        outcome = self.stepper.step(food.batches, progress.step, rate, self.around.interrupted, self._seconds)
        progress.step, progress.epoch, progress.batch = progress.step + 1, food.epoch, food.batch
        self.clock = outcome.seconds
        self._count(food, outcome)
        if progress.step % LOG_EVERY == 0 or progress.step == 1:
            self._tell_step(rate, outcome)
        # weights whose last step made no number are not worth judging
        regular = progress.step % self.training.checkpoint_every == 0 and not progress.strikes
        if regular or outcome.stop:
            self.checkpoint(validate=regular)
        if outcome.stop:
            raise Interrupted

    def checkpoint(self, validate: bool) -> None:
        """Judged and saved by the first process; the others give their shares of the weights and hear of it."""
        model = self.stepper.judged() if validate else None
        weights, tensors = self.stepper.weights(), self.stepper.tensors()

        def work() -> bytes:
            if model:
                self._judge(self.around.validate(model))
            self._save(weights, tensors)
            return json.dumps(asdict(self.progress)).encode()

        started = time.monotonic()
        self.progress = Progress.read(json.loads(self.world.share(work)))
        aside = time.monotonic() - started
        self.progress.aside += aside
        self.told += aside  # the speed that is told is that of steps

    def _judge(self, result: Validation) -> None:
        progress = self.progress
        better = progress.best_value is None or result.value < progress.best_value
        progress.stale = 0 if better else progress.stale + 1
        progress.validated = progress.step
        if better:
            progress.best_value, progress.best_step = result.value, progress.step
        self.around.tell({"event": "checkpoint", "step": progress.step, "best": better, **result.numbers})
        if result.samples:
            self.around.tell({"event": "samples", "step": progress.step, "samples": list(result.samples)})

    def _save(self, weights: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
        progress, run = self.progress, self.around.run
        progress.seconds, progress.scale = self._seconds(), self.stepper.scale()
        self.around.flush()  # a checkpoint must not outlive what was told before it
        save_checkpoint(run, Checkpoint(progress.step, weights, tensors, asdict(progress)), self.around.model_files)
        prune_checkpoints(run, keep=_worth_keeping(run, self.training, progress))

    def _count(self, food: Food, outcome: Outcome) -> None:
        """Adds a step to what is told next; one that was not applied is told at once."""
        progress = self.progress
        self.tokens += food.tokens
        if outcome.left_out:  # and its loss is not that of all its pairs
            text = (
                f"step {progress.step}: {outcome.left_out} pairs left out, for not even alone do they fit into memory"
            )
            self._tell({"event": "warning", "step": progress.step, "text": text})
        if outcome.applied:
            progress.strikes = 0
            if not outcome.left_out:
                progress.loss += outcome.loss * food.targets
                progress.targets += food.targets
        elif not outcome.overflow:
            self._strike(food, outcome)

    def _strike(self, food: Food, outcome: Outcome) -> None:
        self.progress.strikes += 1
        step = self.progress.step
        what = f"at step {step} the loss is {outcome.loss} and the gradient's length {outcome.gradient}"
        where = self.around.keep(step, food.batches) if self.world.is_first else ""
        text = f"{what}; the step was not applied" + (f", its pairs are in {where}" if where else "")
        self._tell({"event": "skipped", "step": step, "text": text})
        if self.progress.strikes >= self.training.strikes:
            raise TrainingError(
                f"{text}, {self.progress.strikes} in a row",
                fix="lower training.learning_rate or lengthen training.warmup, or look at those pairs; "
                "the last checkpoint is intact",
            )

    def _tell_step(self, rate: float, outcome: Outcome) -> None:
        progress = self.progress
        if progress.targets:
            speed = self.tokens / max(1e-9, time.monotonic() - self.told)
            event = {
                "event": "step",
                "step": progress.step,
                "epoch": progress.epoch,
                "loss": progress.loss / progress.targets,
            }
            event |= {"rate": rate, **({"gradient": outcome.gradient} if outcome.applied else {})}
            self._tell({**event, "tokens_per_second": round(speed), "seconds": round(self._seconds(), 3)})
        progress.loss, progress.targets = 0.0, 0
        self.tokens, self.told = 0, time.monotonic()

    def _tell(self, event: Event) -> None:
        if self.world.is_first:
            self.around.tell(event)

    def _seconds(self) -> float:
        """Of training, those before a resume included."""
        return self.before + time.monotonic() - self.started

    def _done(self) -> float:
        """The share of the run that is over, by steps or by the clock."""
        by_steps, minutes = self.progress.step / self.training.steps, self.training.max_minutes
        return max(by_steps, self.clock / 60 / minutes) if minutes else by_steps

    def _rate(self) -> float:
        """The learning rate of the coming step. Steps count from 1, so the first one is not lost to a rate of 0."""
        training, done, step = self.training, self._done(), self.progress.step
        warmup = min(1.0, training.warmup / training.steps)
        share = max(done, (step + 1) / training.steps if step < training.warmup else done)
        return training.learning_rate * rate_factor(training.schedule, share, warmup)


def _worth_keeping(run: Path, training: Training, progress: Progress) -> set[int]:
    """The best step, the newest, as many regular ones as are averaged at the end, and two to fall back on.

    One that was saved because a run was asked to stop goes when it is no longer the newest: then a run that was
    interrupted leaves what one that was not leaves.
    """
    steps = [int(folder.name) for folder in list_checkpoints(run)]
    regular = [step for step in steps if step % training.checkpoint_every == 0]
    return {progress.best_step, *steps[-1:], *regular[-max(SPARE, training.average) :]}
