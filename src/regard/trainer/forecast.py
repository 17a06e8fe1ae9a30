"""What a run will take, said before its first step."""

from __future__ import annotations

import copy
import shutil
from itertools import islice
from pathlib import Path

from regard.config import Training
from regard.data.batches import Order
from regard.device import could_be_faster, describe
from regard.errors import StorageError
from regard.trainer.setup import Setup, held
from regard.training.journal import Event
from regard.training.memory import free_bytes
from regard.training.pace import TIMED, padded_tokens, seconds_per_token
from regard.training.step import Stepper


def forecast(setup: Setup, run: Path) -> Event:
    """Steps, tokens and epochs as they will be; time from some steps on a copy of the model, validation not counted;
    memory measured, disk counted. StorageError if the disk has no room for the checkpoints.
    """
    training = setup.job.recipe.training
    pairs = setup.corpus.epoch(0)
    order = setup.order
    tokens = int(pairs.source.lengths.sum() + pairs.target.lengths.sum()) / len(order) * training.accumulate
    weights = sum(parameter.nbytes for parameter in setup.model.parameters())
    checkpoint = held(setup) - (0 if training.ema else weights)  # no gradients; averages where there are some
    disk = checkpoint * _checkpoints_kept(training) + weights
    free_disk = shutil.disk_usage(_existing(run)).free
    if disk > free_disk:
        raise StorageError(
            f"{disk:,} bytes needed for the checkpoints of a run, {free_disk:,} free",
            where=str(run),
            fix="free some space, choose another folder with --out, or lower training.average",
        )
    return {
        "event": "forecast",
        "steps": training.steps,
        "tokens": round(tokens * training.steps),
        "epochs": round(training.steps * training.accumulate / len(order), 2),
        "seconds": _seconds(setup, order) * training.steps,
        "checkpoint_bytes": checkpoint,
        "disk_bytes": disk,
        "free_disk_bytes": free_disk,
        "memory_bytes": _memory(setup, order),
        "free_memory_bytes": free_bytes(setup.device),
        "device": describe(setup.device, setup.precision, training),
        "processes": setup.world.size,
        "could_be_faster": could_be_faster(setup.device, setup.precision),
    }


def _checkpoints_kept(training: Training) -> int:
    """The last ones that are averaged, the best, the newest two, and the one that is being written."""
    return training.average + 4


def _seconds(setup: Setup, order: Order) -> float:
    """Of a step. Several processes share the work, and their sums wait for each other, which is not counted."""
    pairs, training = setup.corpus.epoch(0), setup.job.recipe.training
    fits = setup.fits()
    all_that_fit = (batch for batch in map(pairs.batch, order) if fits(batch))
    batches = list(islice(all_that_fit, TIMED * training.accumulate))
    alone = Stepper(copy.deepcopy(setup.model), training, precision=setup.precision)
    if not batches:
        return 0.0
    mean = sum(map(padded_tokens, batches)) / len(batches)
    return seconds_per_token(alone, batches) * mean * training.accumulate / setup.world.size


def _memory(setup: Setup, order: Order) -> int | None:
    """Weights and what goes with them, and the fullest batch."""
    if setup.footprint is None:
        return None
    footprint, room = setup.footprint, setup.room * setup.world.size
    needs = (count * footprint.row(width) for count, width in order.shapes().tolist())
    fullest = max((need for need in needs if need <= room), default=0.0)  # others are computed in pieces, or left out
    return held(setup) + round(fullest / setup.world.size)


def _existing(folder: Path) -> Path:
    return next(above for above in (folder, *folder.absolute().parents) if above.exists())
