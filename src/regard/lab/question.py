"""What is compared: variants, the settings they share, seeds and a budget. It decides what a folder of runs is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from regard.config import Settings
from regard.errors import ModelFolderError, UsageError
from regard.lab.budget import Budget, parse_budget
from regard.lab.grid import Variant

MOST_SEEDS = 1000
Content = TypeVar("Content")


@dataclass(frozen=True)
class Question:
    """Each of `variants` is trained over `settings` with `seeds` seeds; without a budget as long as the settings say.

    `varied` names the settings that vary, for the head of tables.
    """

    variants: tuple[Variant, ...]
    settings: Settings
    varied: tuple[str, ...] = ()
    seeds: int = 3
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if not self.variants:
            raise UsageError("nothing varies", fix="name a setting, for example --vary model.norm=layer,rms")
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise UsageError(f"--seeds wants 1 to {MOST_SEEDS}, found {self.seeds}")
        for key in ("training.steps", "training.max_minutes"):
            if self.budget and key in self.varied:
                raise UsageError(f"{key} cannot vary under a budget, which sets it", fix="leave out --budget")

    @property
    def all_seeds(self) -> range:
        """One after another from `training.seed`, or from 1."""
        training = self.settings.get("training", {})
        first = training.get("seed", 1) if isinstance(training, dict) else 1
        return range(first, first + self.seeds)

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `read_question` takes back."""
        facts = {
            "varied": list(self.varied),
            "variants": [vars(variant) for variant in self.variants],
            "settings": self.settings,
            "seeds": self.seeds,
            "budget": str(self.budget) if self.budget else None,
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))  # what is a tuple here is a list there
        return plain


def read_question(facts: dict[str, Any]) -> Question:
    """What `as_json` gave."""
    return Question(
        tuple(Variant(each["name"], each["folder"], each["settings"]) for each in facts["variants"]),
        facts["settings"],
        tuple(facts["varied"]),
        facts["seeds"],
        parse_budget(facts["budget"]) if facts["budget"] else None,
    )


def differences(asked: Question, before: Question) -> list[str]:
    """What two questions do not share, in words."""
    new, old = (_told(question) for question in (asked, before))
    found = [
        f"{what}: {old.get(what, 'not set')} there, {new.get(what, 'not set')} asked for"
        for what in dict.fromkeys((*old, *new))
        if new.get(what) != old.get(what)
    ]
    # the same names may stand for other settings
    return found or ([] if asked.as_json() == before.as_json() else ["variants: the same names, but other settings"])


def _told(question: Question) -> dict[str, str]:
    told = {
        "variants": "; ".join(variant.name for variant in question.variants),
        "seeds": str(question.seeds),
        "budget": str(question.budget or "none"),
    }
    return told | {key: str(value) for key, value in leaves(question.settings)}


def read_json(path: Path, read: Callable[[Any], Content]) -> Content:
    """What `read` makes of a file of ours; ModelFolderError if it cannot be read or is not as we write it."""
    try:
        return read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        fix = "restore the file, or compare in another folder with --out"
        message = f"expected what `regard compare` wrote, found a fault: {type(error).__name__}: {error}"
        raise ModelFolderError(message, where=str(path), fix=fix) from None


def leaves(settings: Settings, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as `section.key` with its value."""
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found
