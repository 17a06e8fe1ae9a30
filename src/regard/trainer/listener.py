"""Who is told what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from regard.training.journal import Event

Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Listener:
    """Who is told what happens, and who may ask a run to stop."""

    tell: Tell = lambda event: None
    interrupted: Callable[[], bool] = lambda: False


SILENT = Listener()


def tell_all(*listeners: Tell) -> Tell:
    """One after another."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
