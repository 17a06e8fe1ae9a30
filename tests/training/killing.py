"""Runs that are killed and resumed, many, each in a fork of this process, which has imported all and started no thread.

python killing.py PAIRS FOLDER RUNS SEED: trains FOLDER/whole/run unbroken and FOLDER/<number>/run with kills, and
prints a line of JSON for each of those: {"folder": <number>, "kills": [where], "seconds": of the unbroken run}.
python killing.py PAIRS FOLDER signals: stops FOLDER/run by signals, and prints what came of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import regard.training.loop as loop
from regard import cli, trainer
from regard.config import Settings, merge
from regard.folder import MANIFEST
from regard.training.checkpoint import list_checkpoints

# A rate so high that the best checkpoint is an early one: what is known of it must outlive the kills.
RATE = {"learning_rate": 0.6, "schedule": "constant"}
SETTINGS: Settings = {
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.1, "attention_dropout": 0.1},
    "training": {**RATE, "steps": 14, "checkpoint_every": 3, "average": 2, "warmup": 2, "valid_pairs": 10},
    "data": {"tokens_per_batch": 150},
    "decoding": {"beam": 2},
}
CALLS = ("open", "write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir")
KILLS = (1, 1, 2, 3)  # of one run


class Saves:
    """Counts what a process does to files while it saves or prunes checkpoints; at call `die_at` it kills itself."""

    def __init__(self, die_at: int | None) -> None:
        self.count, self.die_at, self.inside = 0, die_at, False

    def install(self) -> None:
        """For the rest of this process's life. What a killed process wrote is there without a sync."""
        os.fsync = lambda handle: None
        for name in CALLS:
            setattr(os, name, self._counted(getattr(os, name)))
        for name in ("save_checkpoint", "prune_checkpoints"):
            setattr(loop, name, self._watched(getattr(loop, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if self.inside:
                if self.count == self.die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.count += 1
            return call(*arguments, **options)

        return counted

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            self.inside = True
            try:
                return call(*arguments, **options)
            finally:
                self.inside = False

        return watched


def start(pairs: Path, run: Path, die_at: int | None) -> int:
    """A child that trains, or goes on with, a run; its number."""
    child = os.fork()
    if child:
        return child
    try:
        os.environ["REGARD_CACHE"] = str(run.parent / "cache")
        torch.set_num_threads(1)
        saves = Saves(die_at)
        saves.install()
        if (run / "recipe.toml").exists():
            if not (run / MANIFEST).exists():  # else it was done before it was killed
                trainer.resume(run)
        else:
            trainer.train(merge(SETTINGS, {"data": {"pairs": [str(pairs)]}}), run)
        (run.parent / "calls").write_text(str(saves.count), encoding="utf-8")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def ended(child: int) -> bool:
    """True if it came to its end, False if it was killed."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status:
        sys.exit(f"a run failed: {status}")
    return True


def killed_run(pairs: Path, run: Path, dice: random.Random, seconds: float, calls: int, in_save: bool) -> list[str]:
    """Trains a run to its end through one to three kills; where they were."""
    kills = []
    for number in range(dice.choice(KILLS)):
        if in_save if number == 0 else dice.random() < 1 / 3:
            place = dice.randrange(calls)
            if ended(start(pairs, run, place)):
                return kills  # it had fewer calls left
            kills.append(f"call {place} of saves")
        else:
            after, child = dice.uniform(0.0, seconds), start(pairs, run, None)
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
            if ended(child):
                return kills  # it was quicker
            kills.append(f"after {after:.2f} s")
    ended(start(pairs, run, None))
    return kills


def warm_up() -> None:
    """Imports and builds what each run would when it first needs it."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # brings half of torch


def main(pairs: Path, folder: Path, runs: int, seed: int) -> None:
    """See above."""
    assert len(os.listdir("/proc/self/task")) == 1
    whole = folder / "whole" / "run"
    whole.parent.mkdir(parents=True)
    began = time.monotonic()
    ended(start(pairs, whole, None))
    seconds = time.monotonic() - began
    calls = int((whole.parent / "calls").read_text(encoding="utf-8"))
    dice = random.Random(seed)
    for number in range(runs):
        kills: list[str] = []
        while not kills:  # one that ended before its kill came does not count
            run = folder / str(number) / "run"
            while run.parent.exists():
                run = run.parents[1] / f"{run.parent.name}x" / "run"
            run.parent.mkdir()
            kills = killed_run(pairs, run, dice, seconds, calls, in_save=number % 3 == 0)
        sys.stdout.write(json.dumps({"folder": run.parent.name, "kills": kills, "seconds": seconds}) + "\n")


def command(arguments: list[str], told: Path, slow_saves: bool) -> int:
    """A child that runs the command line, which tells things into a file; saving takes for ever if it is to."""
    told.touch()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        for stream in (1, 2):
            os.dup2(os.open(told, os.O_WRONLY | os.O_APPEND), stream)
        torch.set_num_threads(1)
        if slow_saves:
            loop.save_checkpoint = save_slowly
        code = cli.run(arguments)
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join()  # as the interpreter does at its end
    finally:
        os._exit(code)


def save_slowly(*arguments: object) -> None:
    """Never comes to an end. In short sleeps: a signal that comes just before one waits for its end."""
    while True:
        time.sleep(0.01)


def wait_for(what: Callable[[], bool], child: int) -> None:
    """Until it is so. The child must live on, for a minute at most."""
    until = time.monotonic() + 60
    while not what():
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            sys.exit("the command ended too early")
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            sys.exit("the command does not come that far")
        time.sleep(0.01)


def ended_with(child: int) -> int:
    """The exit code of a child, which must end within a minute."""
    watch = threading.Timer(60, os.kill, (child, signal.SIGKILL))
    watch.start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    watch.cancel()
    watch.join()
    return code


def stop_by_signals(pairs: Path, folder: Path) -> None:
    """SIGINT, which saves; then a resumed run that gets a second signal while it saves."""
    os.environ["REGARD_CACHE"] = str(folder / "cache")
    run, told = folder / "run", [folder / "told.1", folder / "told.2"]
    sizes = [f"model.{key}={value}" for key, value in SETTINGS["model"].items()]
    options = [
        part for size in [*sizes, "training.steps=1000000", "training.checkpoint_every=3"] for part in ("--set", size)
    ]
    child = command(["train", str(pairs), "--out", str(run), *options], told[0], slow_saves=False)
    wait_for(lambda: len(list_checkpoints(run)) > 0, child)
    os.kill(child, signal.SIGINT)
    codes = [ended_with(child)]
    before = [path.name for path in list_checkpoints(run)]
    child = command(["train", "--resume", str(run)], told[1], slow_saves=True)
    wait_for(lambda: b"goes on after step" in told[1].read_bytes(), child)
    os.kill(child, signal.SIGINT)
    wait_for(lambda: b"once more to stop at once" in told[1].read_bytes(), child)
    os.kill(child, signal.SIGINT)
    codes.append(ended_with(child))
    after = [path.name for path in list_checkpoints(run)]
    texts = [path.read_text(encoding="utf-8") for path in told]
    sys.stdout.write(json.dumps({"codes": codes, "told": texts, "before": before, "after": after}) + "\n")


if __name__ == "__main__":
    warm_up()
    if sys.argv[3] == "signals":
        stop_by_signals(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
