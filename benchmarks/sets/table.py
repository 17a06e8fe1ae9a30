"""What was measured, as Markdown: a row a part and way of choosing settings, seeds as mean and spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sets import SETS

Row = Mapping[str, Any]
FACTS = {"settings", "part", "seeds", "split", "parameters", "steps", "minutes"}  # beside the measured numbers


def tables(results: Path) -> str:
    """All data sets that were measured."""
    measured = [(name, results / f"{name}.json") for name in SETS]
    return "\n\n".join(
        table(name, json.loads(file.read_text(encoding="utf-8"))) for name, file in measured if file.exists()
    )


def table(name: str, rows: Sequence[Row]) -> str:
    """One data set."""
    measures = list(dict.fromkeys(key for row in rows for key in row if key not in FACTS))
    titles = ["part", "settings", "split", "seeds", *measures, "parameters", "steps", "minutes"]
    lines = [titles, ["---"] * len(titles), *_lines(rows, measures)]
    others = "".join(
        f"\n\nPublished{' for ' + part if part else ''}: {text}." for part, text in SETS[name].published.items()
    )
    return f"## {name}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + others


def _lines(rows: Sequence[Row], measures: Sequence[str]) -> Iterable[list[str]]:
    """Trainings of one part that differ by their seed share a line; an ensemble has one of its own."""
    groups: dict[tuple[str, str, str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["part"], row["settings"], row["split"], len(row["seeds"])), []).append(row)
    for (part, settings, split, together), group in groups.items():
        seeds = f"{len(group)}" if together == 1 else f"{together} together"
        numbers = [_spread([row[measure] for row in group if measure in row]) for measure in measures]
        facts = [
            _spread([row[fact] for row in group], digits)
            for fact, digits in (("parameters", 0), ("steps", 0), ("minutes", 1))
        ]
        yield [part or "all", settings, split, seeds, *numbers, *facts]


def _spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):,.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 and digits == 2 else mean
