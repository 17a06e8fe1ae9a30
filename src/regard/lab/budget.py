"""What each run may spend: time, steps or operations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from regard.errors import UsageError

Unit = Literal["seconds", "steps", "flops"]
UNITS: dict[str, tuple[Unit, float]] = {
    "s": ("seconds", 1.0),
    "m": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
    "steps": ("steps", 1.0),
    "flops": ("flops", 1.0),
}
FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE]\+?[0-9]{1,3})?)\s*([a-z]+)")
MOST_STEPS = 10**9  # what training.steps takes
# Under a budget of time the clock ends a run, and the schedule goes by the clock. The steps are only there for the
# warm-up and the checkpoints, which are shares of them; so many more than fit, lest a run end before its time because
# the machine was busy when steps were tried.
SPARE = 1.5


@dataclass(frozen=True)
class Budget:
    """So much of a unit for each run, the same for all variants."""

    amount: float
    unit: Unit

    def __str__(self) -> str:
        """As --budget takes it."""
        amount = f"{self.amount:.15g}"
        return f"{amount}s" if self.unit == "seconds" else f"{amount}{self.unit}"

    @property
    def minutes(self) -> float | None:
        """How long a run may last; None if the budget is no time."""
        return self.amount / 60 if self.unit == "seconds" else None

    def steps(self, seconds_per_step: float, flops_per_step: float) -> int:
        """How many steps it pays for, and some more if it is time. UsageError if not for one."""
        price = {"seconds": seconds_per_step / SPARE, "steps": 1.0, "flops": flops_per_step}[self.unit]
        steps = int(self.amount // price) if price else MOST_STEPS
        if steps < 1 and self.unit != "seconds":  # a run that ends by the clock has had one step at least
            raise UsageError(
                f"a budget of {self} does not pay for one step, which takes {price:.3g} {self.unit}",
                fix="give more with --budget, or make the batches smaller with --set data.tokens_per_batch",
            )
        return min(max(1, steps), MOST_STEPS)


def parse_budget(text: str) -> Budget:
    """`10m`, `90s`, `2h`, `500steps`, `1e15flops`. UsageError for anything else."""
    found = FORM.fullmatch(text.strip())
    if not found or found[2] not in UNITS or not 0 < float(found[1]) < float("inf"):
        raise UsageError(
            f"--budget wants a number with a unit, found {text[:60]!r}",
            fix="for example 10m, 90s, 2h, 500steps or 1e15flops",
        )
    unit, factor = UNITS[found[2]]
    amount = float(found[1]) * factor
    if unit == "steps" and (amount != int(amount) or amount > MOST_STEPS):
        raise UsageError(f"--budget wants a whole number of steps up to {MOST_STEPS:,}, found {text[:60]!r}")
    return Budget(amount, unit)
