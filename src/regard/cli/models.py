"""How a command is told which model: a folder, or the name of one that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.ready import model_folder

HELP = "A model folder, a checkpoint of a run, or a model that comes with the package: see `regard info`."

Run = Annotated[Path, typer.Argument(help=HELP, parser=model_folder)]
Mates = Annotated[
    list[Path] | None,
    typer.Option("--with", help="Another model of an ensemble; may be repeated.", parser=model_folder),
]
