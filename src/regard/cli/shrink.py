"""`regard shrink`: a model folder small enough to be handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.models import Run


def shrink(
    run: Run,
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    card: Annotated[Path | None, typer.Option(help="Its README.md [default: the run's, without pictures].")] = None,
) -> None:
    """Write what is needed to use a model to a new folder, its weights in 16 bits: half the size."""
    from regard.translator.shrinking import shrink

    sizes = shrink(run, out, card)
    typer.echo(f"{out}: {sizes.folder:,} bytes; of these the weights take {sizes.after:,}, they took {sizes.before:,}")
