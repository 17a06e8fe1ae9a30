"""What was measured, as Markdown: a row a part and way of choosing settings, seeds as mean and spread; and how far what
`regard train` chooses by itself is from the recipe.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sets import SETS

Row = Mapping[str, Any]
Key = tuple[str, str, str, int]  # part, settings, split, models that answered together
FACTS = ("parameters", "steps", "minutes")
ERRORS = ("wer", "per")  # the fewer the better
NAMES = ("part", "settings", "split", "seeds")  # beside these, a row has measured numbers and how they were measured


def tables(results: Path) -> str:
    """All data sets that were measured."""
    files = {name: results / f"{name}.json" for name in SETS}
    measured = {name: json.loads(file.read_text("utf-8")) for name, file in files.items() if file.exists()}
    each = (table(name, rows) for name, rows in measured.items())
    return "\n\n".join([against_published(measured), defaults(measured), *each])


def against_published(measured: Mapping[str, Sequence[Row]]) -> str:
    """What was scored on test data: a row for each mean over parts, and each part that is in none."""
    lines = [["set", "part", "recipe", "seeds", "measure", "measured", "published"], ["---"] * 7]
    for name, rows in measured.items():
        measure = _measures(rows)[0]
        for (part, settings, split, together), group in _whole(name, rows).items():
            if split == "test":
                seeds = _seeds(group, together)
                value = _spread([row[measure] for row in group])
                lines.append([name, part or "all", settings, seeds, measure, value, SETS[name].published.get(part, "")])
    return "## Test against published\n\n" + markdown(lines)


def defaults(measured: Mapping[str, Sequence[Row]]) -> str:
    """What no settings at all come to beside the recipe that is best there, single models on development data: a row
    for each mean over parts, and each part that is in none.
    """
    lines = [["set", "part", "measure", "default", "seeds", "recipe", "best", "seeds", "worse by"], ["---"] * 9]
    for name, rows in measured.items():
        measures, groups = _measures(rows), _whole(name, rows)
        for part in dict.fromkeys(part for part, *_ in groups):
            single = {
                settings: [row[measures[0]] for row in group]
                for (where, settings, split, together), group in groups.items()
                if (where, split, together) == (part, "dev", 1)
            }
            if "default" in single and len(single) > 1:
                lines.append([name, part or "all", measures[0], *_beside(single, measures[0])])
    return "## Default against best\n\n" + markdown(lines)


def _whole(name: str, rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """The means over parts, and the parts that are in none."""
    means = SETS[name].means
    in_means = {part for parts in means.values() for part in parts}
    groups = _groups([*rows, *_means(means, rows, _measures(rows))])
    return {key: group for key, group in groups.items() if key[0] not in in_means}


def _beside(single: Mapping[str, Sequence[float]], measure: str) -> list[str]:
    """The values of `default`, and those of the recipe whose mean is best."""
    sign = -1 if measure in ERRORS else 1
    means = {settings: statistics.mean(values) for settings, values in single.items()}
    best = max((name for name in means if name != "default"), key=lambda name: sign * means[name])
    worse = sign * (means[best] - means["default"]) / means[best]
    found, wanted = ([_spread(single[name]), str(len(single[name]))] for name in ("default", best))
    return [*found, best, *wanted, f"{100 * worse:+.1f} %"]


def table(name: str, rows: Sequence[Row]) -> str:
    """One data set; a row for each mean over its parts that can be taken."""
    measures = _measures(rows)
    has_published = bool(SETS[name].published)
    titles = [*NAMES, *measures, *FACTS, *(["published"] if has_published else [])]
    groups = _groups([*rows, *_means(SETS[name].means, rows, measures)])
    lines = [titles, ["---"] * len(titles)]
    for key, group in groups.items():
        part, _, split, _ = key
        published = [SETS[name].published.get(part, "") if split == "test" else ""] if has_published else []
        lines.append([*_line(key, group, measures), *published])
    return f"## {name}\n\n" + markdown(lines) + _remarks(rows)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first two rows are titles and rule."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _measures(rows: Sequence[Row]) -> list[str]:
    """Names of what was measured, the one that matters most first."""
    return list(dict.fromkeys(key for row in rows for key in row if _is_number(row[key]) and key not in FACTS))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _groups(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """Trainings of one part that differ by their seed share a line; an ensemble has one of its own."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["part"], row["settings"], row["split"], len(row["seeds"])), []).append(row)
    return groups


def _means(means: Mapping[str, Sequence[str]], rows: Sequence[Row], measures: Sequence[str]) -> Iterator[Row]:
    """Macro averages over parts: one for each choice of seeds with which all of these were measured."""
    by_key: dict[str, dict[str, Row]] = {}
    for row in rows:
        key = json.dumps({name: row[name] for name in NAMES[1:]})
        by_key.setdefault(key, {})[row["part"]] = row
    for name, parts in means.items():
        for key, found in by_key.items():
            if found.keys() >= set(parts):
                every = [found[part] for part in parts]
                averages = {measure: statistics.mean(row[measure] for row in every) for measure in measures}
                yield {**json.loads(key), "part": name, **averages, "minutes": sum(row["minutes"] for row in every)}


def _line(key: Key, group: Sequence[Row], measures: Sequence[str]) -> list[str]:
    part, settings, split, together = key
    numbers = [_spread([row[measure] for row in group if measure in row]) for measure in measures]
    facts = [
        _spread([row[fact] for row in group if fact in row], digits)
        for fact, digits in zip(FACTS, (0, 0, 1), strict=True)
    ]
    return [part or "all", settings, split, _seeds(group, together), *numbers, *facts]


def _seeds(group: Sequence[Row], together: int) -> str:
    return f"{len(group)}" if together == 1 else f"{together} together"


def _spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):,.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 and digits == 2 else mean


def _remarks(rows: Sequence[Row]) -> str:
    """How it was measured, where a row says so."""
    said = dict.fromkeys((row["part"], row["signature"]) for row in rows if "signature" in row)
    return "".join(f"\n\nSignature for {part}: `{signature}`." for part, signature in said)
