"""Boards that show a training while it runs, for those who want one: TensorBoard and trackio.

Each is told the same: numbers by step, and samples as text. A new board is a class with the methods of `Board` and a
line in BOARDS. Nothing here is imported before a board is asked for.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from regard.errors import StorageError, UsageError
from regard.training.journal import Event

FOLDER, PROJECT = "tensorboard", "regard"
OF_STEPS = ("loss", "rate", "gradient", "tokens_per_second")
NO_METRIC = ("step", "seconds", "best")  # numbers of a checkpoint that are none of its worth


@runtime_checkable
class Board(Protocol):
    """What every board can do."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Shows values by name, "/" between group and name."""

    def text(self, step: int, name: str, markdown: str) -> None:
        """Shows a text."""

    def close(self) -> None:
        """The run is over."""


@dataclass(frozen=True)
class _Maker:
    """`package` must be installed, which the extra `extra` does; `open` gets run, settings, and past events."""

    package: str
    extra: str
    open: Callable[[Path, Mapping[str, Any], Sequence[Event] | None], Board]


def check_boards(names: Sequence[str]) -> None:
    """UsageError, with the command that installs it, unless the package of each board is there."""
    for name in names:
        if find_spec(BOARDS[name].package) is None:
            raise UsageError(
                f"training.boards names {name}, but the package {BOARDS[name].package} is not installed",
                fix=f"pip install 'regard[{BOARDS[name].extra}]', or take {name} out of training.boards",
            )


def open_boards(
    names: Sequence[str], run: Path, config: Mapping[str, Any], history: Sequence[Event] | None = None
) -> Callable[[Event], None]:
    """What tells events to the boards of these names; it closes them at the event "end".

    `config`: all settings, nested. `history`: of a resumed run, the events up to the checkpoint it goes on from; what
    boards were told after it is taken back, so that no step is there twice. UsageError as `check_boards`.
    """
    check_boards(names)
    boards = [BOARDS[name].open(run, config, history) for name in names]

    def tell(event: Event) -> None:
        for board in boards:
            show(board, event)

    return tell


def show(board: Board, event: Event) -> None:
    """Tells a board what it can show of an event."""
    kind = event["event"]
    if kind == "step":
        board.numbers(event["step"], {f"training/{key}": event[key] for key in OF_STEPS if key in event})
    elif kind == "checkpoint":
        board.numbers(event["step"], _worth("development", event))
    elif kind == "samples":
        board.text(event["step"], "samples", _table(event["samples"]))
    elif kind == "end":
        board.numbers(event["step"], _worth("published", event))
        board.close()


def _worth(group: str, event: Event) -> dict[str, float]:
    numbers = {key: value for key, value in event.items() if isinstance(value, int | float) and key not in NO_METRIC}
    return {f"{group}/{key}": value for key, value in numbers.items()}


def _table(samples: Sequence[Mapping[str, str]]) -> str:
    rows = ["| source | wanted | answer |", "|---|---|---|"]
    return "\n".join(rows + [f"| {' | '.join(map(_cell, _texts(each)))} |" for each in samples])


def _texts(sample: Mapping[str, str]) -> tuple[str, str, str]:
    return sample["source"], sample["reference"], sample["answer"]


def _cell(text: str) -> str:
    """A text that breaks no table and is no HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("\n", " ")


class TensorBoard:
    """Event files in the folder `tensorboard` of the run; `tensorboard --logdir runs` shows all runs together."""

    def __init__(self, run: Path, config: Mapping[str, Any], history: Sequence[Event] | None) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        told = max((event.get("step", 0) for event in history or ()), default=0)
        purge = None if history is None else told + 1  # what was written from this step on is hidden
        self.folder = run / FOLDER
        self.writer: Any = SummaryWriter(str(self.folder), purge_step=purge)
        if history is None:
            settings = [f"    {key} = {value}" for key, value in _flat(config)]  # Markdown's form of code
            self.writer.add_text("settings", "\n".join(settings), 0)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars, on the disk before this returns. StorageError."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self._flush()

    def text(self, step: int, name: str, markdown: str) -> None:
        """A text, as `numbers`."""
        self.writer.add_text(name, markdown, step)
        self._flush()

    def close(self) -> None:
        """Closes the file."""
        self.writer.close()

    def _flush(self) -> None:
        try:
            self.writer.flush()
        except OSError as error:
            raise StorageError(f"cannot write: {error}", where=str(self.folder)) from None


class Trackio:
    """A run of the local project `regard`; `trackio show --project regard` opens it. No network is needed.

    What was logged cannot be taken back there: of a resumed run the old entry is deleted, and `history` told again.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], history: Sequence[Event] | None) -> None:
        import trackio

        self.trackio, folder = trackio, str(run.resolve())
        if history is not None:
            self._delete(folder)
        with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to answers
            trackio.init(
                project=PROJECT,
                name=run.resolve().name,
                config={"folder": folder, **dict(_flat(config))},
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        for event in history or ():
            show(self, event)

    def _delete(self, folder: str) -> None:
        try:
            runs = list(self.trackio.Api().runs(PROJECT))
        except ValueError:  # no such project yet
            return
        for run in runs:
            if (run.config or {}).get("folder") == folder:
                run.delete()

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics; a thread of trackio writes them."""
        self.trackio.log(dict(values), step=step)

    def text(self, step: int, name: str, markdown: str) -> None:
        """A Markdown report."""
        self.trackio.log({name: self.trackio.Markdown(markdown)}, step=step)

    def close(self) -> None:
        """Waits until all is written."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.trackio.finish()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(section.key, value) of nested settings."""
    pairs: list[tuple[str, str]] = []
    for key, value in settings.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", str(value))]
    return pairs


BOARDS: dict[str, _Maker] = {
    "tensorboard": _Maker("tensorboard", "boards", TensorBoard),
    "trackio": _Maker("trackio", "trackio", Trackio),
}
