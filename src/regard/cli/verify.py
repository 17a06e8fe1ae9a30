"""`regard verify`: is this model folder what it was when it was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(run: Annotated[Path, typer.Argument(help="A model folder or a checkpoint.")]) -> None:
    """Check size and SHA-256 of every file of a model folder, and that the weights fit the recipe."""
    from regard.translator import Translator

    Translator.load(run)
    typer.echo(f"{run}: every file is as it was written, and the weights fit the recipe")
