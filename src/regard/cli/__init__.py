"""The commands, one file each. Data on stdout, messages on stderr; exit 0 fine, 2 your input, 1 our fault, 130 stopped.

To add one: a file with a function whose options are typer's, and a line in COMMANDS. A command imports what it needs
inside its function, so that `--help` stays fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from regard import __version__
from regard.cli.check import check
from regard.cli.compare import compare
from regard.cli.demo import demo
from regard.cli.embed import embed
from regard.cli.info import info
from regard.cli.look import look
from regard.cli.score import score
from regard.cli.shrink import shrink
from regard.cli.train import train
from regard.cli.translate import translate
from regard.cli.verify import verify
from regard.errors import RegardError

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo,
    "check": check,
    "train": train,
    "translate": translate,
    "score": score,
    "look": look,
    "compare": compare,
    "embed": embed,
    "info": info,
    "shrink": shrink,
    "verify": verify,
}

app = typer.Typer(
    name="regard",
    help="Train, run and look inside models that turn one sequence into another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, command in COMMANDS.items():
    app.command(name)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    """Train, run and look inside models that turn one sequence into another."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its code; a mistake of the user's is a message, never a traceback."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    try:
        code = app(args=list(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except RegardError as error:
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's own errors: an unknown option, a missing argument
            raise
        error.show()  # type: ignore[attr-defined]
        return 2
    return code if isinstance(code, int) else 0
