"""Experiments: a claim, what is done about it, and whether it holds.

An experiment is a function from a folder, what the user asked for and a listener to a Finding. It may do anything, as
long as it can be asked again and goes on; `trained` makes one of a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from textwrap import fill

from regard.config import Settings, merge
from regard.folder import write_file
from regard.lab.budget import Budget
from regard.lab.compare import REPORT, Comparison, compare
from regard.lab.files import to_bytes
from regard.lab.grid import named
from regard.lab.plan import make_folder
from regard.lab.question import Question
from regard.lab.table import tables
from regard.look import html
from regard.look.html import Table
from regard.look.text import WIDTH, as_text
from regard.trainer import Listener

JSON, PAGE = "finding.json", "finding.html"


@dataclass(frozen=True)
class Asked:
    """What the user wants otherwise than the experiment has it: settings that win, seeds, a budget."""

    settings: Settings = field(default_factory=dict)
    seeds: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True)
class Finding:
    """What the notes claim, what was measured, and whether the claim holds; None where that cannot be told.

    `text` says in words what was found. `report` is a page in the same folder with more of it, "" for none.
    """

    claim: str
    tables: tuple[Table, ...]
    holds: bool | None
    text: str
    report: str = ""

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "holds", False: "does not hold", None: "not decided"}[self.holds]


Run = Callable[[Path, Asked, Listener], Finding]
Judge = Callable[[Comparison], tuple[bool | None, str]]


@dataclass(frozen=True)
class Experiment:
    """`rows` of the table of claims that it tests, and how long it takes on two cores."""

    name: str
    rows: str
    claim: str
    takes: str
    run: Run


def conduct(experiment: Experiment, folder: Path, asked: Asked, listener: Listener) -> Finding:
    """Runs it in `folder`, where finding.json and finding.html keep what was found. Errors as those of `compare`."""
    finding = experiment.run(folder, asked, listener)
    make_folder(folder)  # for those that write nothing else
    facts = {"recipe": experiment.name, "rows": experiment.rows, "verdict": finding.verdict, **asdict(finding)}
    write_file(folder / JSON, to_bytes(facts))
    write_file(folder / PAGE, page(experiment, finding))
    return finding


def trained(
    name: str,
    rows: str,
    claim: str,
    takes: str,
    *,
    varied: Sequence[str],
    variants: Sequence[tuple[str, Settings]],
    settings: Settings,
    judge: Judge,
    seeds: int = 2,
    budget: Budget | None = None,
    measure: Callable[[], tuple[Table, ...]] = tuple,
) -> Experiment:
    """An experiment that trains variants. What the user asks for wins: other data, other settings, more seeds.

    `measure` gives tables of what is measured without training, to stand before the others.
    """

    def run(folder: Path, asked: Asked, listener: Listener) -> Finding:
        shared = merge(_without_task(settings) if _has_data(asked.settings) else settings, asked.settings)
        number = seeds if asked.seeds is None else asked.seeds
        question = Question(tuple(named(variants)), shared, tuple(varied), number, asked.budget or budget)
        comparison = compare(question, folder, listener, f"regard compare --recipe {name}")
        holds, text = judge(comparison)
        shown = (*measure(), *tables(comparison.plan, comparison.summaries))
        return Finding(claim, shown, holds, text, REPORT)

    return Experiment(name, rows, claim, takes, run)


def in_words(finding: Finding) -> str:
    """Plain text for a terminal."""
    shown = "\n\n".join(as_text(table) for table in finding.tables)
    claim, measured = (fill(text, WIDTH) for text in (f"Claim: {finding.claim}", f"Measured: {finding.text}"))
    return f"{claim}\n\n{shown}\n\n{measured}\nThe claim: {finding.verdict}."


def page(experiment: Experiment, finding: Finding) -> bytes:
    """The same as a page that needs no network."""
    return html.document(
        f"{experiment.name}: {finding.verdict}",
        [
            html.terms(
                [
                    ("claim", escape(finding.claim)),
                    ("measured", escape(finding.text)),
                    ("the claim", f"<strong>{escape(finding.verdict)}</strong>"),
                ]
            ),
            *map(html.table, finding.tables),
            f'<p><a href="{escape(finding.report)}">All of it, with curves</a></p>' if finding.report else "",
        ],
    )


def _has_data(settings: Settings) -> bool:
    return bool(settings.get("data", {}).keys() & {"pairs", "task"})


def _without_task(settings: Settings) -> Settings:
    return {**settings, "data": {key: value for key, value in settings.get("data", {}).items() if key != "task"}}
