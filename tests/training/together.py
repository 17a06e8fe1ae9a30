"""Trains what the first argument lists, [[settings, folder], ...], in the processes that were started together."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from regard import trainer
from regard.errors import RegardError
from regard.trainer import Listener, setup
from regard.training.loop import Interrupted
from regard.training.world import joined


def main() -> None:
    with joined():
        work()


def work() -> None:
    if os.environ.get("STOP") == "differ":
        setup.__version__ = "0.0.0"
    for settings, folder in json.loads(sys.argv[1]):
        asked = _asked if os.environ.get("STOP") in ("ask", "kill") else _never
        run, listener = Path(folder), Listener(interrupted=asked)
        try:
            if (run / "recipe.toml").exists():
                trainer.resume(run, listener)
            else:
                trainer.train(settings, run, listener)
        except RegardError as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            raise SystemExit(error.exit_code) from None
        except Interrupted:
            sys.stderr.write("interrupted\n")


CALLS = iter(range(1, 10_000))


def _asked() -> bool:
    """Process 1 is asked to stop after its third step, or dies there."""
    first_time = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    here = first_time and os.environ["RANK"] == "1" and next(CALLS) == int(os.environ.get("STEP", "3"))
    if here and os.environ["STOP"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return here


def _never() -> bool:
    return False


if __name__ == "__main__":
    main()
