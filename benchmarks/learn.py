"""Trains on a data set with published results, and scores it: the tables of benchmarks/results/ were made by this.

    python benchmarks/learn.py SET FOLDER RUNS              # SET: a name in benchmarks/sets/__init__.py
    python benchmarks/learn.py SET FOLDER RUNS --seeds 1 2 3 --parts fre hun --at-once 2
    python benchmarks/learn.py SET FOLDER RUNS --seeds 1 2 3 --test --together
    python benchmarks/learn.py SET FOLDER RUNS --defaults   # what `regard train` chooses by itself
    python benchmarks/learn.py SET FOLDER RUNS --recipe NAME  # another recipe: benchmarks/results/recipes/SET-NAME.toml
    python benchmarks/learn.py table                        # what was measured, as benchmarks/results/README.md has it

FOLDER holds the files of the data set, as its file in benchmarks/sets/ says; nothing is fetched. RUNS keeps the runs:
stopped and repeated, the command goes on with them, and does not repeat what is done. Without --test only development
data are looked at. The settings are those of benchmarks/results/recipes/SET.toml.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sets import SETS
from sets.part import Part, Split, begin
from sets.table import tables

from regard.errors import TrainingError, UsageError
from regard.training.journal import Journal

RESULTS = Path(__file__).parent / "results"
KEPT = ("recipe", "start", "checkpoint", "end")  # events of a log


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set", choices=list(SETS))
    parser.add_argument("data", type=Path, help="the folder with the files of the data set")
    parser.add_argument("runs", type=Path, help="a folder for runs")
    parser.add_argument("--parts", nargs="+", help="languages and the like; all if not given")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument("--defaults", action="store_true", help="no recipe: what `regard train` chooses")
    settings.add_argument("--recipe", default="best", metavar="NAME", help="another recipe than the best")
    parser.add_argument("--test", action="store_true", help="score the test set too: once, when the recipe is final")
    parser.add_argument("--together", action="store_true", help="score the models of all seeds as an ensemble as well")
    parser.add_argument("--at-once", type=int, default=1, help="trainings side by side; OMP_NUM_THREADS is obeyed")
    parser.add_argument("--record", type=Path, default=RESULTS, help="where results and logs are written")
    return parser.parse_args(arguments)


class Measuring:
    """One data set with one way of choosing settings: runs, their numbers, and the file these are kept in."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.set = asked, SETS[asked.set]
        self.settings = "default" if asked.defaults else asked.recipe
        self.runs = asked.runs / asked.set / self.settings
        self.file = asked.record / f"{asked.set}.json"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        name = asked.set if asked.recipe == "best" else f"{asked.set}-{asked.recipe}"
        self.recipe = RESULTS / "recipes" / f"{name}.toml"
        if not asked.defaults and not self.recipe.is_file():
            raise UsageError(f"there is no {self.recipe}", fix="--defaults needs none; --recipe takes another")

    def parts(self) -> list[Part]:
        """Those asked for."""
        found = self.set.prepare(self.asked.data, self.asked.runs / self.asked.set / "pairs")
        wanted = self.asked.parts or [part.name for part in found]
        if unknown := set(wanted) - {part.name for part in found}:
            names = ", ".join(part.name for part in found)
            raise UsageError(f"no part {', '.join(sorted(unknown))}", fix=f"there are {names}")
        return [part for part in found if part.name in wanted]

    def run(self, part: Part, seed: int) -> Path:
        """The folder of a training."""
        folder: Path = self.runs / f"{part.name or self.asked.set}-{seed}"
        return folder

    def train(self, part: Part, seed: int) -> None:
        """A new run, or the rest of one that was stopped; nothing for one that is done."""
        run = self.run(part, seed)
        self._check(run)
        if (run / "MANIFEST.json").exists():
            return
        command: list[str | Path] = [sys.executable, "-m", "regard", "train"]
        if (run / "recipe.toml").exists():
            command += ["--resume", run]
        else:
            valid = [word for file in part.dev for word in ("--valid", str(file))]
            recipe = [] if self.asked.defaults else ["--config", str(self.recipe)]
            command += [*part.train, *valid, *recipe, "--set", f"training.seed={seed}", "--out", run]
        run.parent.mkdir(parents=True, exist_ok=True)
        threads = max(1, (os.cpu_count() or 1) // self.asked.at_once)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}  # who has set it already is obeyed
        print(f"training {run}", flush=True)
        said = run.with_suffix(".log")
        with said.open("a", encoding="utf-8") as log:
            done = subprocess.run(command, check=False, stdout=log, stderr=log, env=environment)
        if done.returncode:
            last = "".join(said.read_text("utf-8", "replace").splitlines(keepends=True)[-3:])
            raise TrainingError(f"no model; the training's last lines:\n{last}", where=str(said))

    def _check(self, run: Path) -> None:
        """UsageError if the run that is there was trained with other settings than the recipe has now."""
        if self.asked.defaults or not (run / "recipe.toml").exists():
            return
        wanted, found = (
            dict(_flat(tomllib.loads(path.read_text("utf-8")))) for path in (self.recipe, run / "recipe.toml")
        )
        if other := [key for key, value in wanted.items() if found.get(key) != value]:
            raise UsageError(
                f"trained with another {', '.join(other)}", where=str(run), fix="move it away to train again"
            )

    def measure(self, part: Part, seeds: Sequence[int], split: Split) -> None:
        """Scores and keeps the numbers, unless they are known of these very models."""
        runs = [self.run(part, seed) for seed in seeds]
        key = {"settings": self.settings, "part": part.name, "seeds": list(seeds), "split": split}
        models = {"models": [hashlib.sha256((run / "MANIFEST.json").read_bytes()).hexdigest()[:12] for run in runs]}
        if any(row.items() >= {**key, **models}.items() for row in self._rows()):
            return
        numbers = self.set.measure(runs, part, split)
        print(f"{self.settings} {part.name} seeds {seeds} {split}: {numbers}", flush=True)
        with self._alone():
            others = [row for row in self._rows() if not row.items() >= key.items()]
            self._keep([*others, {**key, **numbers, **self._facts(part, seeds), **models}])

    def _rows(self) -> list[dict[str, Any]]:
        return list(json.loads(self.file.read_text(encoding="utf-8"))) if self.file.exists() else []

    def _keep(self, rows: Sequence[dict[str, Any]]) -> None:
        new = self.file.with_suffix(".new")
        new.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")
        new.replace(self.file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process that measures changes the numbers."""
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _facts(self, part: Part, seeds: Sequence[int]) -> dict[str, float]:
        events = [self._events(part, seed) for seed in seeds]
        parameters = sum(event["parameters"] for each in events for event in each if event["event"] == "start")
        ends = [event for each in events for event in each if event["event"] == "end"]
        return {
            "parameters": parameters,
            "steps": max(end["step"] for end in ends),
            "minutes": round(sum(end["seconds"] for end in ends) / 60, 1),
        }

    def _events(self, part: Part, seed: int) -> list[dict[str, Any]]:
        return list(Journal(self.run(part, seed)).read())

    def log(self, part: Part, seed: int) -> None:
        """Keeps what a training did, without what it read."""
        name = f"{self.asked.set}-{self.settings}-{self.run(part, seed).name}.jsonl"
        kept = [event for event in self._events(part, seed) if event["event"] in KEPT]
        path = self.asked.record / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(event) + "\n" for event in kept), encoding="utf-8")


def _flat(settings: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def main(arguments: list[str]) -> None:
    """The table, or a data set."""
    if arguments == ["table"]:
        print(tables(RESULTS))
    else:
        learn(parse(arguments))


def learn(asked: argparse.Namespace) -> None:
    """Trains what is not trained, scores what is not scored."""
    measuring = Measuring(asked)
    parts = measuring.parts()
    pairs = list(itertools.product(parts, asked.seeds))
    with ThreadPoolExecutor(asked.at_once) as pool:
        list(pool.map(lambda each: measuring.train(*each), pairs))
    groups = [(part, [seed]) for part, seed in pairs]
    if asked.together and len(asked.seeds) > 1:
        groups += [(part, asked.seeds) for part in parts]
    for part, seeds in groups:
        for split in ("dev", "test") if asked.test else ("dev",):
            measuring.measure(part, seeds, split)
    for part, seed in pairs:
        measuring.log(part, seed)


if __name__ == "__main__":
    begin(main)
