"""`regard verify`: is this model folder what it was when it was written?"""

from __future__ import annotations

import typer

from regard.cli.models import Run


def verify(run: Run) -> None:
    """Check size and SHA-256 of every file of a model folder, and that the weights fit the recipe."""
    from regard.translator import Translator

    Translator.load(run)
    typer.echo(f"{run}: every file is as it was written, and the weights fit the recipe")
