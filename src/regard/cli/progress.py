"""What a person sees while a model trains: a bar on a terminal, plain lines elsewhere. All of it on stderr."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from regard.trainer import Listener

Event = dict[str, Any]
QUIET = 10.0  # seconds between plain lines
PERCENT = ("wer", "per", "exact", "bleu", "chrf")


@contextmanager
def watched(run: Path) -> Iterator[Listener]:
    """A listener that shows events; the first Ctrl-C (or SIGTERM) saves and stops, with the command to go on."""
    from regard.trainer import Listener
    from regard.training.loop import Interrupted

    stop = _Signals()
    screen = Screen(Console(stderr=True), run)
    try:
        yield Listener(screen.tell, stop.asked)
    except Interrupted:
        screen.close()
        typer.echo(f"stopped and saved; go on with: regard train --resume {run}", err=True)
        raise typer.Exit(128 + stop.received) from None
    finally:
        screen.close()
        stop.restore()


class Screen:
    """Shows events as they come."""

    def __init__(self, console: Console, run: Path) -> None:
        self.console, self.run = console, run
        self.bar: Progress | None = None
        self.last_line = 0.0
        self.steps = 0
        self.shown: dict[str, Callable[[Event], None]] = {
            "recipe": self._recipe,
            "warning": lambda event: self._say(f"warning: {event['text']}"),
            "start": self._start,
            "step": self._step,
            "checkpoint": self._checkpoint,
            "end": self._end,
        }

    def tell(self, event: Event) -> None:
        """Shows one event."""
        self.shown[event["event"]](event)

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self.bar:
            self.bar.stop()
            self.bar = None

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _recipe(self, event: Event) -> None:
        self._say(f"{event['pairs']:,} pairs. Settings from the data (override with --set KEY=VALUE):")
        for reason in event["reasons"]:
            self._say(f"  {reason['key']:24} {reason['value']:>10}   {reason['why']}")

    def _start(self, event: Event) -> None:
        self.steps = event["steps"]
        self._say(
            f"{event['parameters']:,} parameters, {event['pairs']:,} training pairs, {event['steps']:,} steps; "
            f"an epoch is {event['batches_per_epoch']:,} batches, {event['real_tokens']:.0%} of their tokens are real"
        )
        left = {what.replace("_", " "): count for what, count in event["left_out"].items() if count}
        if left:
            self._say("left out: " + ", ".join(f"{count:,} {what}" for what, count in left.items()))
        self._open_bar()

    def _open_bar(self) -> None:
        if not self.console.is_terminal:
            return
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("left   loss {task.fields[loss]:.3f}   {task.fields[speed]:,} tokens/s"),
        )
        self.bar = Progress(*columns, console=self.console)
        self.bar.add_task("train", total=self.steps, loss=float("nan"), speed=0)
        self.bar.start()

    def _step(self, event: Event) -> None:
        if self.bar:
            task = self.bar.task_ids[0]
            self.bar.update(task, completed=event["step"], loss=event["loss"], speed=event["tokens_per_second"])
        elif time.monotonic() - self.last_line >= QUIET and not self.console.is_terminal:
            self.last_line = time.monotonic()
            left = event["seconds"] / event["step"] * (self.steps - event["step"]) if self.steps else 0.0
            self._say(
                f"step {event['step']:,}  loss {event['loss']:.3f}  {event['tokens_per_second']:,} tokens/s"
                + (f"  {left / 60:.1f} min left" if self.steps else "")
            )

    def _checkpoint(self, event: Event) -> None:
        best = "  best so far" if event["best"] else ""
        self._say(f"checkpoint {event['step']:,}: {_numbers(event)}{best}")

    def _end(self, event: Event) -> None:
        self.close()
        self._say(f"done in {event['seconds'] / 60:.1f} min; kept {event['published']}: {_numbers(event)}")
        self._say(f"the model is in {self.run}")


def _numbers(event: Event) -> str:
    shown = [f"{name.upper()} {event[name]:.2f} %" for name in PERCENT if name in event]
    return "  ".join([f"loss {event['loss']:.3f}", *shown])


class _Signals:
    """Remembers the first signal; the second does what it always does."""

    def __init__(self) -> None:
        self.received = 0
        self.before = {number: signal.signal(number, self._first) for number in (signal.SIGINT, signal.SIGTERM)}

    def _first(self, number: int, frame: object) -> None:
        self.received = number
        sys.stderr.write("saving; once more to stop at once\n")
        self.restore()

    def asked(self) -> bool:
        return self.received != 0

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
