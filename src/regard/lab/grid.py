"""From `--vary` to variants: every combination of the values of the settings that vary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from regard.config import Settings, check_key, merge, parse_override
from regard.errors import UsageError

SAME_DATA = "all variants read the same data"
FIXED = {  # settings that cannot vary, and why
    "data.pairs": SAME_DATA,
    "data.valid": SAME_DATA,
    "data.task": SAME_DATA,
    "data.columns": SAME_DATA,
    "data.separator": SAME_DATA,
    "data.on_bad_line": SAME_DATA,
    "data.hold_out": SAME_DATA,
    "training.seed": "--seeds says how many seeds each variant gets",
    "decoding.beam": "variants are compared by greedy decoding",
    "decoding.length_penalty": "variants are compared by greedy decoding",
}
LONGEST_FOLDER = 60  # characters


@dataclass(frozen=True)
class Variant:
    """One way to set what varies: its name for people, its folder, and the settings (nested) that make it."""

    name: str
    folder: str
    settings: Settings


def grid(vary: Sequence[str]) -> tuple[list[str], list[Variant]]:
    """The settings that vary, and their combinations, from texts such as `model.norm=layer,rms`.

    Settings joined by `;` vary together: `model.norm=layer,rms;model.bias=true,false` makes two variants. UsageError
    for no text, one of another form and a setting that cannot vary, RecipeError for a setting that there is not.
    """
    if not vary:
        raise UsageError("nothing varies", fix="name a setting, for example --vary model.norm=layer,rms")
    axes = [_axis(text) for text in vary]
    keys = [key for names, _ in axes for key in names]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--vary names {key} twice", fix="list all of its values in one --vary")
    combined = []
    for choice in product(*(rows for _, rows in axes)):
        values = [value for row in choice for value in row]
        combined.append((", ".join(values), _settings(keys, values)))
    return keys, named(combined)


def named(variants: Iterable[tuple[str, Settings]]) -> list[Variant]:
    """Variants with names and settings given, each with a folder of its own."""
    made: list[Variant] = []
    for name, settings in variants:
        taken = {variant.folder for variant in made}
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:LONGEST_FOLDER] or "variant"
        tries = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3))]
        made.append(Variant(name, next(folder for folder in tries if folder not in taken), settings))
    return made


def _axis(text: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """The settings of one --vary, and the rows of their values."""
    keys, columns = [], []
    for part in text.split(";"):
        key, equals, values = part.partition("=")
        column = [value.strip() for value in values.split(",")]
        if not equals or not all(column):
            raise UsageError(
                f"--vary wants section.key=value,value, found {part[:60]!r}",
                fix="for example --vary model.norm=layer,rms",
            )
        keys.append(_key(key.strip()))
        columns.append(column)
    if len({len(column) for column in columns}) > 1:
        raise UsageError(
            f"settings that vary together want as many values each, found {text[:60]!r}",
            fix="give each as many values, or a --vary of its own",
        )
    rows = list(zip(*columns, strict=True))
    if twice := [row for row in rows if rows.count(row) > 1]:
        raise UsageError(f"--vary names {', '.join(twice[0])} twice", fix="name each value once")
    return keys, rows


def _key(key: str) -> str:
    check_key(key)
    if key in FIXED:
        raise UsageError(f"{key} cannot vary: {FIXED[key]}", fix="compare in folders of their own, or vary another")
    return key


def _settings(keys: Sequence[str], values: Sequence[str]) -> Settings:
    settings: Settings = {}
    for key, value in zip(keys, values, strict=True):
        settings = merge(settings, parse_override(f"{key}={value}"))
    return settings
