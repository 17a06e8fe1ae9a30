"""SCAN, commands to actions (Lake and Baroni 2018): FOLDER holds tasks_{train,test}_simple.txt.

There is no development part: 1,000 of the training pairs, drawn at random, are kept for it.
"""

from __future__ import annotations

import random
from pathlib import Path

from regard.text.lines import read_lines
from sets.part import DataSet, Part, exactness, write_pairs

PUBLISHED = {"simple": "99.8 to 100"}


def prepare(data: Path, folder: Path) -> list[Part]:
    """The simple split; 1,000 of its training pairs are for development."""
    pairs = [_pair(line) for line in read_lines(data / "tasks_train_simple.txt")]
    random.Random(1).shuffle(pairs)
    test = [_pair(line) for line in read_lines(data / "tasks_test_simple.txt")]
    splits = {"train": pairs[1000:], "dev": pairs[:1000], "test": test}
    train, dev, test_file = (write_pairs(folder / f"{name}.tsv", each) for name, each in splits.items())
    return [Part("simple", (train,), (dev,), (test_file,))]


def _pair(line: str) -> tuple[str, str]:
    command, _, actions = line.removeprefix("IN: ").partition(" OUT: ")
    return command, actions


SET = DataSet(prepare, exactness, PUBLISHED)
