"""The notes' claims as experiments. To add one: a function (folder, asked, listener) -> Finding, and a line."""

from __future__ import annotations

from regard.errors import UsageError
from regard.lab import forcing, paths, trainings
from regard.lab.finding import Experiment

RECIPES: dict[str, Experiment] = {
    "scaling": trainings.scaling(),
    "heads": trainings.heads(),
    "no-positions": trainings.no_positions(),
    "norm-position": trainings.norm_position(),
    "norms-on-text": trainings.norms_on_text(),
    "length": trainings.length(),
    "paths": Experiment("paths", "N10", paths.CLAIM, "about 3 minutes", paths.run),
    "teacher-forcing": Experiment("teacher-forcing", "N15", forcing.CLAIM, "about 2 minutes", forcing.run),
}


def recipe_named(name: str) -> Experiment:
    """UsageError with the names there are."""
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}", fix=f"choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
