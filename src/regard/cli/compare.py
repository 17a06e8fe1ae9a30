"""`regard compare`: the same data through several models under one budget."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from regard.cli.progress import Screen, _Signals
from regard.cli.train import _stem

if TYPE_CHECKING:
    from regard.config import Settings
    from regard.lab.budget import Budget as Spent
    from regard.lab.question import Question
    from regard.trainer import Listener

SEEDS = 3
Event = dict[str, Any]


Pairs = Annotated[list[str] | None, typer.Argument(help="One file of pairs, as for train, or two parallel files.")]
Task = Annotated[str | None, typer.Option(help="A built-in task in place of files, as for train.")]
Vary = Annotated[
    list[str] | None,
    typer.Option(help="section.key=value,value. Repeated: every combination. Joined by ';': together."),
]
Seeds = Annotated[int | None, typer.Option(help=f"Runs of each variant [default: {SEEDS}].")]
Budget = Annotated[
    str | None, typer.Option(help="What a run may spend: 10m, 90s, 2h, 500steps, 1e15flops [default: the steps].")
]
Out = Annotated[Path | None, typer.Option(help="The folder to make [default: comparisons/NAME].")]
Recipe = Annotated[str | None, typer.Option(help="A prepared experiment in place of --vary; `list` shows them.")]
Resume = Annotated[Path | None, typer.Option(help="Go on in this folder; so does the same command again.")]
Valid = Annotated[list[str] | None, typer.Option(help="Development pairs; give it twice for two parallel files.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A setting for all variants, as section.key=value.")]
Config = Annotated[Path | None, typer.Option(help="A TOML file of settings for all variants.")]
Columns = Annotated[str | None, typer.Option(help="Source and target column, as 1,2 or by header.")]
Separator = Annotated[str | None, typer.Option(help="What stands between columns [default: a tab].")]
OnBadLine = Annotated[str | None, typer.Option(help="error, or skip and count.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON in place of tables.")]


def compare(
    pairs: Pairs = None,
    task: Task = None,
    vary: Vary = None,
    seeds: Seeds = None,
    budget: Budget = None,
    out: Out = None,
    recipe: Recipe = None,
    resume: Resume = None,
    valid: Valid = None,
    settings: Set = None,
    config: Config = None,
    columns: Columns = None,
    separator: Separator = None,
    on_bad_line: OnBadLine = None,
    as_json: AsJson = False,
) -> None:
    """Train variants with several seeds each: quality, speed, memory, size, and which differences are real."""
    from regard.cli.settings import gather
    from regard.errors import UsageError
    from regard.lab.budget import parse_budget

    if recipe == "list":
        _list_recipes()
        return
    words = {"--task": task, "--budget": budget, "--config": config, "--columns": columns, "--separator": separator}
    words |= {"--on-bad-line": on_bad_line}
    lists = {"--valid": valid, "--vary": vary, "--set": settings}
    if resume:
        if any((pairs, seeds, out, recipe, *words.values(), *lists.values())):
            raise UsageError("--resume takes no other settings", fix="a comparison goes on with what it began with")
        _go_on(resume, as_json)
        return
    if recipe and vary:
        raise UsageError("--recipe and --vary exclude each other", fix="a recipe says what varies")
    given = gather(pairs or [], task, valid or [], settings or [], config, columns, separator, on_bad_line)
    spent = parse_budget(budget) if budget else None
    if recipe:
        _experiment(recipe, given, seeds, spent, out or Path("comparisons") / recipe, as_json)
        return
    question = _question(vary or [], given, SEEDS if seeds is None else seeds, spent)
    folder = out or Path("comparisons") / (task or _stem((pairs or ["pairs"])[0]))
    lists |= {name: [str(word)] for name, word in words.items() if word}
    options = [part for name, values in lists.items() for value in values or [] for part in (name, value)]
    typed = ["regard", "compare", *(pairs or []), *options, "--seeds", str(question.seeds)]
    _compare(question, folder, shlex.join(typed), as_json)


def _question(vary: Sequence[str], given: Settings, seeds: int, budget: Spent | None) -> Question:
    from regard.lab.grid import grid
    from regard.lab.question import Question

    keys, variants = grid(vary)
    return Question(tuple(variants), given, tuple(keys), seeds, budget)


def _go_on(folder: Path, as_json: bool) -> None:
    from regard.lab.plan import asked_in

    _compare(asked_in(folder), folder, "", as_json)


def _compare(question: Question, folder: Path, command: str, as_json: bool) -> None:
    from regard.lab import compare as lab
    from regard.lab.files import as_json as facts
    from regard.lab.table import tables
    from regard.look.text import as_text

    with _watched(folder, f"regard compare --resume {shlex.quote(str(folder))}") as listener:
        found = lab.compare(question, folder, listener, command)
    if as_json:
        _print(json.dumps(facts(found.plan, found.results, found.summaries), ensure_ascii=False))
    else:
        _print("\n\n".join(as_text(table) for table in tables(found.plan, found.summaries)))
    typer.echo(f"the report is {folder / lab.REPORT}", err=True)


def _experiment(
    name: str, given: Settings, seeds: int | None, budget: Spent | None, folder: Path, as_json: bool
) -> None:
    from regard.lab import finding as lab
    from regard.lab.recipes import recipe_named

    experiment = recipe_named(name)
    typer.echo(f"{name}, {experiment.takes} on two cores. The claim: {experiment.claim}", err=True)
    with _watched(folder, f"the same command, with --out {shlex.quote(str(folder))}") as listener:
        found = lab.conduct(experiment, folder, lab.Asked(given, seeds, budget), listener)
    _print((folder / lab.JSON).read_text(encoding="utf-8").rstrip("\n") if as_json else lab.in_words(found))
    typer.echo(f"the page is {folder / lab.PAGE}", err=True)


def _list_recipes() -> None:
    from regard.lab.recipes import RECIPES

    for experiment in RECIPES.values():
        claim = fill(experiment.claim, 96, initial_indent="    ", subsequent_indent="    ")
        _print(f"{experiment.name} ({experiment.rows}; {experiment.takes})\n{claim}")


def _print(text: str) -> None:
    """UTF-8 whatever the terminal's, for a table holds ± and names in any script."""
    typer.echo(text.encode(errors="backslashreplace"))


@contextmanager
def _watched(folder: Path, go_on: str) -> Iterator[Listener]:
    """A listener that shows events; the first Ctrl-C (or SIGTERM) saves and stops, with what to type to go on."""
    from regard.lab.plan import NAME
    from regard.trainer import Listener
    from regard.training.loop import Interrupted

    stop = _Signals()
    screen = _Screen(Console(stderr=True), folder)
    try:
        yield Listener(screen.tell, stop.asked)
    except Interrupted:
        screen.close()
        is_kept = (folder / NAME).exists()
        typer.echo(f"stopped and saved; go on with: {go_on}" if is_kept else "stopped before the first run", err=True)
        raise typer.Exit(128 + stop.received) from None
    finally:
        screen.close()
        stop.restore()


class _Screen(Screen):
    """A line a run in place of a line a checkpoint; the bar of training stays."""

    def __init__(self, console: Console, run: Path) -> None:
        super().__init__(console, run)
        self.shown |= {
            **dict.fromkeys(("recipe", "data", "forecast", "checkpoint", "samples"), _not_shown),
            "start": self._begin,
            "end": lambda event: self.close(),
            "planned": self._planned,
            "plan": self._plan,
            "run": self._run,
            "result": self._result,
        }

    def tell(self, event: Event) -> None:
        """Shows one event; of a kind that others send, its text."""
        if event["event"] in self.shown:
            super().tell(event)
        elif "text" in event:
            self._say(event["text"])

    def _begin(self, event: Event) -> None:
        self.steps = event["steps"]  # the bar comes with the first step

    def _planned(self, event: Event) -> None:
        tried = event["probe"]
        self._say(
            f"  {event['variant']}: {tried['parameters']:,} parameters, {event['steps']:,} steps of "
            f"{1000 * tried['step_seconds']:.0f} ms, {tried['step_bytes'] / 1e6:,.0f} MB a step"
        )

    def _plan(self, event: Event) -> None:
        runs, missing, minutes = event["runs"], event["missing"], event["seconds"] / 60
        done = f", {runs - missing} of them done before" if missing < runs else ""
        self._say(f"{runs} runs{done}" + (f"; about {minutes:,.1f} min of training" if missing else ""))

    def _run(self, event: Event) -> None:
        self._say(f"run {event['number']} of {event['runs']}: {event['variant']}, seed {event['seed']}")

    def _result(self, event: Event) -> None:
        self.close()
        if event["fault"]:
            self._say(f"  diverged: {event['fault']}")
            return
        values, metric = event["values"], event["metric"]
        numbers = ", ".join(f"{name} {values[name]:.3f}" for name in dict.fromkeys((metric, "loss")))
        self._say(f"  {numbers}, {event['seconds']:.0f} s")


def _not_shown(event: Event) -> None:
    pass
