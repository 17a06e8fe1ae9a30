"""What a person sees while a model trains, all of it on stderr.

On a terminal a bar with the curve of what validation measures, elsewhere plain lines.
"""

from __future__ import annotations

import os
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

from regard.cli.sparkline import ASCII, BLOCKS, in_bytes, in_time, sparkline

if TYPE_CHECKING:
    from regard.trainer import Listener

Event = dict[str, Any]
QUIET = 10.0  # seconds between plain lines
PERCENT = ("wer", "per", "exact", "bleu", "chrf")
CURVED = ("wer", "bleu", "exact", "loss")  # the first of them that validation measured has a curve
WIDE = 100  # columns of a terminal that has room for everything
AT_ONCE = 1.0  # seconds between two signals that are one
SHOWN_SAMPLES = 2  # of the samples of a checkpoint
FASTER = {
    "bfloat16": "  a processor with units for bfloat16: training.precision=bfloat16 takes about 2/3 of float32's time",
    "float32": "  no units of this processor for half precision are known: training.precision=float32 may be faster",
}


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
        if is_first():
            typer.echo(f"stopped and saved; go on with: {again(run)}", err=True)
        raise typer.Exit(128 + (stop.received or signal.SIGTERM)) from None  # perhaps another process was asked to
    finally:
        screen.close()
        stop.restore()


def is_first() -> bool:
    """Whether this is the process that talks, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def again(run: Path) -> str:
    """The command that goes on with a run, in as many processes; `...` is what torchrun was told on each machine."""
    size, here = (os.environ.get(name, "1") for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    told = f"--nproc-per-node={size}" if size == here else "..."
    start = "regard" if size == "1" else f"torchrun {told} -m regard"
    return f"{start} train --resume {run}"


class Screen:
    """Shows events as they come."""

    def __init__(self, console: Console, run: Path) -> None:
        self.console, self.run = console, run
        self.bar: Progress | None = None
        self.last_line = 0.0
        self.steps = 0
        self.curve: list[tuple[str, float]] = []  # of each checkpoint, what was measured and how much
        utf8 = console.encoding.startswith("utf")
        self.blocks, self.arrow, self.more = (BLOCKS, "→", "…") if utf8 else (ASCII, "->", "...")
        self.shown: dict[str, Callable[[Event], None]] = {
            "recipe": self._recipe,
            "data": self._data,
            "warning": lambda event: self._say(f"warning: {event['text']}"),
            "note": lambda event: self._say(event["text"]),
            "beginning": lambda event: self._say(event["text"]),
            "skipped": lambda event: self._say(f"warning: {event['text']}"),
            "resumed": self._resumed,
            "start": self._start,
            "forecast": self._forecast,
            "step": self._step,
            "checkpoint": self._checkpoint,
            "samples": self._samples,
            "end": self._end,
        }

    def tell(self, event: Event) -> None:
        """Shows one event; one that it does not know says nothing to a person."""
        if event["event"] in self.shown:
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

    def _data(self, event: Event) -> None:
        """What `regard check` would warn of; nothing if all is well."""
        odd = [each for each in event["sections"] if each["level"] != "ok"]
        for each in odd:
            self._say(f"  data: {each['level']:5} {each['title']}: {each['detail']}")
        if odd:
            self._say("  `regard check` shows examples")

    def _resumed(self, event: Event) -> None:
        """The curve goes on from what was measured before."""
        from regard.training.journal import Journal

        self._say(event["text"])
        before = [each for each in Journal(self.run).read() if each.get("step", 0) <= event["step"]]
        self.steps = next((each["steps"] for each in before if each["event"] == "start"), 0)
        self.curve = [_curved(each) for each in before if each["event"] == "checkpoint"]

    def _forecast(self, event: Event) -> None:
        self.steps = event["steps"]
        for line in forecast_lines(event):
            self._say(line)

    def _start(self, event: Event) -> None:
        self.steps = event["steps"]
        self._say(
            f"{event['parameters']:,} parameters, {event['pairs']:,} training pairs, {event['steps']:,} steps; "
            f"an epoch is {event['batches_per_epoch']:,} batches, {event['real_tokens']:.0%} of their tokens are real"
        )
        left = {what.replace("_", " "): count for what, count in event["left_out"].items() if count}
        if left:
            self._say("left out: " + ", ".join(f"{count:,} {what}" for what, count in left.items()))

    def _open_bar(self) -> None:
        wide = self.console.width >= WIDE
        speed = "   {task.fields[speed]:,} tokens/s" if wide else ""
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=max(8, min(40, self.console.width - (WIDE - 16 if wide else 68)))),
            TimeRemainingColumn(),
            TextColumn("left  loss {task.fields[loss]:.3f}" + speed),
            TextColumn("{task.fields[curve]}", markup=False),
        )
        self.bar = Progress(*columns, console=self.console)
        self.bar.add_task("train", total=self.steps or None, loss=float("nan"), speed=0, curve="")
        self.bar.start()

    def _step(self, event: Event) -> None:
        if self.console.is_terminal and not self.bar:  # only now: what comes before a first step may take long
            self._open_bar()
        if self.bar:
            task = self.bar.task_ids[0]
            self.bar.update(task, completed=event["step"], loss=event["loss"], speed=event["tokens_per_second"])
            self._show_curve()
        elif time.monotonic() - self.last_line >= QUIET:
            self.last_line = time.monotonic()
            left = event["seconds"] / event["step"] * (self.steps - event["step"]) if self.steps else 0.0
            self._say(
                f"step {event['step']:,}  loss {event['loss']:.3f}  {event['tokens_per_second']:,} tokens/s"
                + (f"  {left / 60:.1f} min left" if self.steps else "")
            )

    def _checkpoint(self, event: Event) -> None:
        best = "  best so far" if event["best"] else ""
        self._say(f"checkpoint {event['step']:,}: {_numbers(event)}{best}")
        self.curve.append(_curved(event))
        self._show_curve()

    def _show_curve(self) -> None:
        if self.bar and self.curve:
            values = [value for _, value in self.curve]
            line = sparkline(values, 12 if self.console.width >= WIDE else 8, self.blocks)
            self.bar.update(self.bar.task_ids[0], curve=f"{self.curve[-1][0]} {line} {values[-1]:.2f}")

    def _samples(self, event: Event) -> None:
        """A few answers, those of a middling length."""
        found, room = event["samples"], max(12, (self.console.width - 20) // 3)
        for place in sorted({(2 * part + 1) * len(found) // (2 * SHOWN_SAMPLES) for part in range(SHOWN_SAMPLES)}):
            if place < len(found):
                self._say(f"    {self._sample(found[place], room)}")

    def _sample(self, sample: dict[str, str], room: int) -> str:
        from regard.metrics.samples import cut
        from regard.text.report import visible

        source, wanted, answer = (cut(visible(sample[key]), room) for key in ("source", "reference", "answer"))
        right = "right" if sample["answer"] == sample["reference"] else f"wanted: {wanted}"
        return f"{source} {self.arrow} {answer}   ({right})".replace("…", self.more)

    def _end(self, event: Event) -> None:
        self.close()
        share = f", {event['in_steps']:.0%} of it in steps" if "in_steps" in event else ""
        search = f", by {event['search']}" if "search" in event else ""
        kept = f"kept {event['published']}{search}: {_numbers(event)}"
        self._say(f"done in {event['seconds'] / 60:.1f} min{share}; {kept}")
        self._say(f"the model is in {self.run}; report.html there shows how it went")


def forecast_lines(event: Event) -> list[str]:
    """What a run will take, in a few lines; what is not known is left out."""
    processes = f", {event['processes']} processes" if event.get("processes", 1) > 1 else ""
    lines = [
        f"forecast: {event['steps']:,} steps, {event['tokens']:,} tokens, {event['epochs']:.1f} epochs; "
        f"about {in_time(event['seconds'])} of steps on {event['device']}{processes}"
    ]
    if event.get("memory_bytes") is not None:
        lines.append(f"  memory: about {in_bytes(event['memory_bytes'])}{_free(event.get('free_memory_bytes'))}")
    disk = f"{in_bytes(event['checkpoint_bytes'])} a checkpoint, {in_bytes(event['disk_bytes'])} in all"
    lines.append(f"  disk: {disk}{_free(event.get('free_disk_bytes'))}")
    if (faster := event.get("could_be_faster")) is not None:
        lines.append(FASTER[faster])
    return lines


def _free(count: int | None) -> str:
    return "" if count is None else f"; {in_bytes(count)} free"


def _curved(event: Event) -> tuple[str, float]:
    """The name and the value of what has a curve."""
    key = next(key for key in CURVED if key in event)
    return ("loss" if key == "loss" else key.upper()), event[key]


def _numbers(event: Event) -> str:
    shown = [f"{name.upper()} {event[name]:.2f} %" for name in PERCENT if name in event]
    return "  ".join([f"loss {event['loss']:.3f}", *shown])


class _Signals:
    """Remembers the first signal; the second does what it always does.

    torchrun passes a signal on to processes that a terminal has sent it to already, so there two at once are one.
    """

    def __init__(self) -> None:
        self.received, self.at = 0, 0.0
        self.before = {number: signal.signal(number, self._got) for number in (signal.SIGINT, signal.SIGTERM)}

    def _got(self, number: int, frame: object) -> None:
        if self.received:
            if time.monotonic() - self.at < AT_ONCE and "RANK" in os.environ:
                return
            self.restore()
            os.kill(os.getpid(), number)
            return
        self.received, self.at = number, time.monotonic()
        if is_first():
            sys.stderr.write("saving; once more to stop at once\n")

    def asked(self) -> bool:
        return self.received != 0

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
