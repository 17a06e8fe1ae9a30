"""What trainings that are done had learned, when, and for how many operations: a row a checkpoint, as Markdown.

    python benchmarks/efficiency.py RUN [RUN ...] [--measure wer]

Operations are multiplications and additions of matrix products, of passes and optimiser, as `regard compare` counts
them: the same on every machine. Minutes are those of the training, development data included. The pairs that a RUN was
trained on have to be where they were.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from sets.part import begin
from sets.table import markdown

from regard.data.origin import open_origin, pick
from regard.errors import UsageError
from regard.lab.measure import curve
from regard.lab.plan import SAMPLE
from regard.lab.probe import probe
from regard.training.journal import Journal
from regard.translator import Tokenizers, read_recipe

TITLES = ["run", "step", "operations", "minutes"]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--measure", default="wer", help="what a checkpoint was measured by: wer, per, bleu, loss")
    return parser.parse_args(arguments)


def operations(run: Path) -> float:
    """Those of a step, the mean over real batches."""
    recipe = read_recipe(run)
    pairs = pick(open_origin(recipe.data, recipe.training.seed).train, SAMPLE)
    return probe(recipe, Tokenizers.load(run), pairs).step_flops


def checkpoints(run: Path, measure: str) -> Iterator[list[str]]:
    """UsageError where they were not measured so."""
    points = curve(Journal(run).read())
    for point in points:
        if measure not in point:
            there = ", ".join(name for name in point if name not in ("seconds", "step"))
            raise UsageError(f"no {measure} was measured", where=str(run), fix=f"there are {there}")
    each = operations(run)
    for point in points:
        step = int(point["step"])
        yield [str(run), f"{step:,}", f"{step * each:.2e}", f"{point['seconds'] / 60:.1f}", f"{point[measure]:.2f}"]


def main(arguments: list[str]) -> None:
    """Prints the table."""
    asked = parse(arguments)
    titles = [*TITLES, asked.measure]
    lines = [titles, ["---"] * len(titles)]
    for run in asked.runs:
        lines += checkpoints(run, asked.measure)
    print(markdown(lines))


if __name__ == "__main__":
    begin(main)
