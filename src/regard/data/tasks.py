"""Generated tasks: endless pairs from a seed, for a first training run that needs no file.

A new task is a function (seed, count) -> pairs and one line in TASKS.

Held-out data: the hash of the TARGET decides the side. One target in ten is held out; the validation set holds only
such pairs, training holds none, so neither a validation source nor its answer is seen in training. One exception:
digits of length 3 or less are too few (1,110) to hold any back, so training has them all, and validation takes any of
them, as often as it takes the longer ones.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from random import Random

from regard.data.dates import STYLES
from regard.errors import UsageError
from regard.text.pairs import Pair

LONGEST = 10  # digits
SHORT = len("3 1 4")  # characters: targets up to here are never withheld from training
HELD_OUT_ONE_IN = 10
BLOCK = 1024  # pairs drawn at a time; fixed, so that a longer draw begins with the shorter one
FIRST_DAY, LAST_DAY = date(1800, 1, 1).toordinal(), date(2099, 12, 31).toordinal()


@dataclass(frozen=True)
class Task:
    """`pairs(seed, count)` is a pure function; `valid_count` pairs make a fair validation set."""

    name: str
    description: str
    pairs: Callable[[int, int], list[Pair]]
    valid_count: int


def copy_pairs(seed: int, count: int) -> list[Pair]:
    """`3 1 4` -> `3 1 4`."""
    return [Pair(" ".join(digits), " ".join(digits), line) for line, digits in _digits(seed, count)]


def sort_pairs(seed: int, count: int) -> list[Pair]:
    """`3 1 4` -> `1 3 4`."""
    return [Pair(" ".join(digits), " ".join(sorted(digits)), line) for line, digits in _digits(seed, count)]


def reverse_pairs(seed: int, count: int) -> list[Pair]:
    """`3 1 4` -> `4 1 3`."""
    return [Pair(" ".join(digits), " ".join(digits[::-1]), line) for line, digits in _digits(seed, count)]


def date_pairs(seed: int, count: int) -> list[Pair]:
    """`the fifth of march nineteen eighty four` -> `1984-03-05`: any day from 1800 to 2099, any of the styles."""
    random = Random(seed)
    return [_date_pair(random, line) for line in range(1, count + 1)]


TASKS: dict[str, Task] = {
    "copy": Task("copy", "digits, answered with the same digits", copy_pairs, 500),
    "sort": Task("sort", "digits, answered in ascending order", sort_pairs, 500),
    "reverse": Task("reverse", "digits, answered from last to first", reverse_pairs, 500),
    "dates": Task("dates", "dates in words, answered as year-month-day", date_pairs, 500),
}


def task_named(name: str) -> Task:
    """The task of that name. Raises UsageError, with the names there are."""
    if name not in TASKS:
        raise UsageError(f"there is no task {name!r}", fix=f"choose one of {', '.join(TASKS)}")
    return TASKS[name]


def draw(task: Task, seed: int, epoch: int, count: int) -> list[Pair]:
    """`count` pairs: training data of an epoch (0, 1, ...), or validation data (epoch -1); `line` counts them from 1.

    A pure function of its arguments; epochs share no stream. Raises UsageError for an epoch below -1.
    """
    if epoch < -1:
        raise UsageError(f"epoch {epoch} of task {task.name}", fix="epochs count from 0; -1 is the validation set")
    belongs = _may_validate if epoch == -1 else _may_train
    chosen: list[Pair] = []
    for block in itertools.count():
        if len(chosen) >= count:
            return [Pair(pair.source, pair.target, line) for line, pair in enumerate(chosen[:count], 1)]
        stream = _hash(f"{task.name} {seed} {epoch} {block}")
        chosen += [pair for pair in task.pairs(stream, BLOCK) if belongs(pair)]
    raise AssertionError("the blocks have no end")


def is_held_out(target: str) -> bool:
    """Whether no training draw has this target."""
    return len(target) > SHORT and _hash(target) % HELD_OUT_ONE_IN == 0


def _may_train(pair: Pair) -> bool:
    return not is_held_out(pair.target)


def _may_validate(pair: Pair) -> bool:
    # A tenth of the short ones too, chosen by their place: by hash, three of the ten single digits would crowd it.
    return pair.line % HELD_OUT_ONE_IN == 0 if len(pair.target) <= SHORT else is_held_out(pair.target)


def _hash(text: str) -> int:
    """64 bits; not the built-in hash, which is another one in each process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def _digits(seed: int, count: int) -> Iterator[tuple[int, list[str]]]:
    """(line, digits): every length from 1 to LONGEST equally often."""
    random = Random(seed)
    for line in range(1, count + 1):
        yield line, random.choices("0123456789", k=random.randint(1, LONGEST))


def _date_pair(random: Random, line: int) -> Pair:
    day = date.fromordinal(random.randint(FIRST_DAY, LAST_DAY))
    style = random.choice(STYLES)
    return Pair(style(day), day.isoformat(), line)
