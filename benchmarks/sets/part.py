"""What a data set is to the runner: parts, each with files of pairs, and how a model of it is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from regard.errors import DataError, RegardError, UsageError
from regard.text.lines import read_lines

Split = Literal["dev", "test"]
Numbers = Mapping[str, float | str]  # text: how it was measured, such as sacrebleu's signature
RATES = ("wer", "per", "wer_per_line", "per_per_line")


@dataclass(frozen=True)
class Part:
    """A training and what belongs to it: a language, a direction. A split is a file of pairs or two parallel files."""

    name: str
    train: tuple[Path, ...]
    dev: tuple[Path, ...]
    test: tuple[Path, ...]

    def files(self, split: Split) -> tuple[Path, ...]:
        """The files of a split."""
        return self.dev if split == "dev" else self.test


@dataclass(frozen=True)
class DataSet:
    """`prepare(data, folder)` writes the files of all parts to a folder; `measure(models, part, split)` scores an
    ensemble of models, or one, with beam 5. `published` are others' numbers by part or mean; `means` has parts whose
    numbers are averaged, by the name of the mean.
    """

    prepare: Callable[[Path, Path], list[Part]]
    measure: Callable[[Sequence[Path], Part, Split], Numbers]
    published: Mapping[str, str] = field(default_factory=dict)
    means: Mapping[str, Sequence[str]] = field(default_factory=dict)


def begin(main: Callable[[list[str]], None]) -> None:
    """A program with the words of its command line; an error that can be explained ends it without a traceback."""
    try:
        main(sys.argv[1:])
    except RegardError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def regard(*arguments: str | Path) -> str:
    """Runs a command in a process of its own; returns its standard output, whose lines end as they were written.

    UsageError where the command ends with an error, which it has printed itself.
    """
    command = [sys.executable, "-m", "regard", *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if done.returncode:
        raise UsageError(f"regard {arguments[0]} ended with {done.returncode}; what it said stands above")
    return done.stdout.decode("utf-8")


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """SOURCE TAB TARGET lines; DataError at any other, for it would not be left out, or be taught half."""
    pairs = [line.split("\t") for line in read_lines(path)]
    if (wrong := next((number for number, pair in enumerate(pairs, 1) if len(pair) != 2), None)) is not None:
        raise DataError("wanted a source, a tab and a target", where=f"{path}:{wrong}")
    return [(source, target) for source, target in pairs]


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> Path:
    """A file of pairs, a tab between."""
    return write_lines(path, (f"{source}\t{target}" for source, target in pairs))


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """A file of lines. One that holds them already is left alone: a training may be reading it."""
    content = "".join(line + "\n" for line in lines).encode("utf-8")
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_bytes(content)
        new.replace(path)
    return path


def error_rates(models: Sequence[Path], part: Part, split: Split) -> Numbers:
    """WER and PER: one answer a distinct source, against its nearest reference; and by line, against that line's."""
    values = _scores(models, part, split)
    return {name: values[name] for name in RATES}


def exactness(models: Sequence[Path], part: Part, split: Split) -> Numbers:
    """Lines whose answer is that line's reference, in percent; and the share of wrong symbols."""
    values = _scores(models, part, split)
    return {"exact": 100 - values["wer_per_line"], "per": values["per_per_line"]}


def _scores(models: Sequence[Path], part: Part, split: Split) -> dict[str, float]:
    scores: dict[str, float] = json.loads(
        regard("score", *together(models), *part.files(split), "--beam", "5", "--json")
    )
    return scores


def answers(models: Sequence[Path], sources: Path, *options: str) -> list[str]:
    """What `regard translate` prints, line by line."""
    return regard("translate", *together(models, sources), "--beam", "5", *options).removesuffix("\n").split("\n")


def together(models: Sequence[Path], *arguments: Path) -> list[str | Path]:
    """A model and the others of its ensemble, as commands take them."""
    first, *others = models
    return [first, *arguments, *(word for other in others for word in ("--with", other))]
