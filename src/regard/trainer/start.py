"""`train` and `resume`: from settings, or from a run folder, to a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from regard.config import Settings
from regard.errors import ModelFolderError, UsageError
from regard.folder import MANIFEST, PARTIAL, make_folders, write_file
from regard.trainer.beginning import first_weights, require_same_weights
from regard.trainer.forecast import forecast
from regard.trainer.job import Job, plan
from regard.trainer.listener import SILENT, Listener
from regard.trainer.run import carry_on
from regard.trainer.setup import Setup, fitted, set_up
from regard.training import run_lock
from regard.training.checkpoint import Checkpoint, newest_good
from regard.training.journal import MACHINE, NAME, Event, Journal
from regard.training.parallel import load_whole
from regard.training.run_lock import RunLock
from regard.training.world import World, joined
from regard.translator import Tokenizers, read_recipe

RECIPE = "recipe.toml"
LEFTOVERS = (NAME, MACHINE, "tokenizer", run_lock.NAME)  # of a run that died before it had a recipe


def train(settings: Settings, run: Path, listener: Listener = SILENT, *, dry_run: bool = False) -> None:
    """Trains a model with `settings` (nested; the rest follows from the data) into the new folder `run`.

    Under torchrun it is trained by all processes together; what torchrun starts anew after a failure goes on.
    `dry_run`: ends with the forecast and writes nothing but the cache. UserErrors say what is wrong with settings or
    data, before anything is written; TrainingError if the loss is lost.
    """
    with joined() as world:
        restarts = sum(world.gather(float(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))))
        if world.share(lambda: b"yes" if _is_of_this_launch(run, restarts) else b""):
            return None if (run / MANIFEST).exists() else _resume(run, world, listener)
        job = Job.from_bytes(world.share(lambda: _planned(settings, run, listener).to_bytes()))
        setup = set_up(job, world)
        if "tokens_per_batch" not in settings.get("data", {}):
            setup = fitted(setup)
        _begin(setup)
        if world.is_first:
            expected = {**forecast(setup, run), "launch": _launch()}
            listener.tell(expected)
        if dry_run:
            return None
        with _locked(run, world):
            if world.is_first:
                _write(run, setup.job, expected)
            carry_on(run, setup, listener, None, goes_on=False)
    return None


def resume(run: Path, listener: Listener = SILENT) -> None:
    """Goes on from the newest checkpoint of `run` as if it had never stopped: equal bits on the same machine.

    A checkpoint that does not load is told and passed over for the one before. ModelFolderError if `run` is no run
    folder or no checkpoint of it loads; UsageError if it is finished or in use, or its training pairs have changed.
    """
    with joined() as world:
        _resume(run, world, listener)


def _is_of_this_launch(run: Path, restarts: float) -> bool:
    """Whether torchrun started this command before, and there is a run to go on with.

    A machine that joins or leaves starts all processes anew and counts no restart: then the launch has a name.
    """
    if not (run / RECIPE).exists():
        return False
    launch = _launch()
    began = next((event for event in Journal(run).read_machine() if event["event"] == "forecast"), {})
    return restarts > 0 or (launch is not None and launch == began.get("launch"))


def _launch() -> str | None:
    """What torchrun --rdzv-id names; None without."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name == "none" else name


def _planned(settings: Settings, run: Path, listener: Listener) -> Job:
    if run.exists() and (not run.is_dir() or not _is_leftover(run)):
        raise UsageError(
            f"{run} is already there",
            fix=f"choose another folder with --out, or go on with `regard train --resume {run}`",
        )
    job = plan(settings)
    for event in job.told:
        listener.tell(event)
    return job


def _is_leftover(run: Path) -> bool:
    """Whether there is nothing in a folder but what a run writes before its recipe."""
    return all(path.name in LEFTOVERS or path.name.startswith(PARTIAL) for path in run.iterdir())


@contextmanager
def _locked(run: Path, world: World) -> Iterator[None]:
    """The first process alone writes, so it alone holds the lock."""
    if not world.is_first:
        yield
        return
    make_folders(run)
    with RunLock(run):
        yield


def _write(run: Path, job: Job, expected: Event) -> None:
    """The start of a run folder. The recipe comes last: it says that there is a run."""
    for name in (NAME, MACHINE):
        (run / name).unlink(missing_ok=True)
    journal = Journal(run)
    for event in (*job.told, expected):
        journal.write(event)
    journal.flush()
    for name, content in job.files().items():
        make_folders((run / name).parent)
        write_file(run / name, content)


def _resume(run: Path, world: World, listener: Listener) -> None:
    content = world.share(lambda: json.dumps(str(_unfinished(run))).encode())
    run = Path(json.loads(content))
    with _locked(run, world):
        found = _newest(run, listener) if world.is_first else None
        resumed = _shared(found, world)
        job = Job.from_bytes(world.share(lambda: _job_of(run, found).to_bytes()))
        setup = set_up(job, world)
        if world.is_first:
            journal = Journal(run)
            _require_same_pairs(journal.read(), setup)
            if resumed is None and job.recipe.training.begin_with:
                require_same_weights(journal.read(), job.recipe)
            journal.rewind(resumed.step if resumed else None)
            told = _resumed(resumed, setup)
            journal.write(told)
            listener.tell(told)
        if resumed is None:
            _begin(setup)
        carry_on(run, setup, listener, resumed, goes_on=True)


def _begin(setup: Setup) -> None:
    """With the weights of another model, where the recipe names one."""
    recipe, tokenizers = setup.job.recipe, setup.job.tokenizers
    if recipe.training.begin_with:
        content = setup.world.share(lambda: _packed(first_weights(recipe, tokenizers)))
        load_whole(setup.model, load(content))


def _unfinished(run: Path) -> Path:
    if not (run / RECIPE).exists():
        raise ModelFolderError("no recipe.toml here", where=str(run), fix="name a folder that `regard train` made")
    if (run / MANIFEST).exists():
        raise UsageError(
            f"{run} is finished", fix="train a new run with --out, and more training.steps if it fell short"
        )
    return run


def _newest(run: Path, listener: Listener) -> Checkpoint | None:
    """The newest checkpoint that loads; those that do not are told."""
    checkpoint, faults = newest_good(run)
    for fault in faults:
        listener.tell({"event": "warning", "text": f"passed over: {fault}"})
    return checkpoint


def _job_of(run: Path, resumed: Checkpoint | None) -> Job:
    """From the checkpoint, which was verified, if there is one; the run's own recipe must then be the same."""
    folder = run / "checkpoints" / f"{resumed.step:08d}" if resumed else run
    job = Job(read_recipe(folder), Tokenizers.load(folder))
    for name in job.files():
        if not (run / name).is_file():  # lost, and the checkpoint has it
            make_folders((run / name).parent)
            write_file(run / name, (folder / name).read_bytes())
        if (run / name).read_bytes() != (folder / name).read_bytes():
            raise UsageError(
                f"is not the one this run began with, which is {folder / name}",
                where=str(run / name),
                fix="a run goes on as it began: copy that file back, or train a new run with --config",
            )
    return job


def _shared(found: Checkpoint | None, world: World) -> Checkpoint | None:
    """The first process's checkpoint in every process."""
    if world.size == 1:
        return found
    content = world.share(lambda: json.dumps(found and {"step": found.step, "state": found.state}).encode())
    facts = json.loads(content)
    if facts is None:
        return None
    tensors = (found.weights, found.optimiser) if found else ({}, {})
    weights, optimiser = (load(world.share(partial(_packed, each))) for each in tensors)
    return Checkpoint(facts["step"], weights, optimiser, facts["state"])


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors, one that has two names twice."""
    return save({name: tensor.clone() for name, tensor in tensors.items()})


def _require_same_pairs(events: list[Event], setup: Setup) -> None:
    began = next((event for event in events if event["event"] == "start" and "content" in event), None)
    if began and began["content"] != setup.origin.content:
        raise UsageError(
            "the training pairs are not those this run began with",
            fix="put the old files back, or train a new run",
        )


def _resumed(resumed: Checkpoint | None, setup: Setup) -> Event:
    if resumed is None:
        return {"event": "resumed", "step": 0, "text": "no checkpoint yet: from the start"}
    text, size = f"goes on after step {resumed.step:,}", setup.world.size
    before = resumed.state.get("processes", size)
    if before != size:
        text += f"; with {size} processes instead of {before}: the same batches, sums rounded in another order"
    return {"event": "resumed", "step": resumed.step, "text": text}
