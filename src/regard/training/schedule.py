"""How the learning rate moves: a warm-up from 0, then one of SCHEDULES. To add one: a function and a line."""

from __future__ import annotations

import math
from collections.abc import Callable

# (done, warmup): `done` is the share of the run that is over (0..1), `warmup` the share that is warm-up. The answer is
# a factor of the highest learning rate. Shares, not steps, because a run may also end by the clock.
Schedule = Callable[[float, float], float]


def constant(done: float, warmup: float) -> float:
    """The same rate to the end."""
    return 1.0


def linear(done: float, warmup: float) -> float:
    """Straight down to 0."""
    return (1.0 - done) / max(1.0 - warmup, 1e-9)


def cosine(done: float, warmup: float) -> float:
    """Half a cosine down to 0 (Loshchilov and Hutter 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * (done - warmup) / max(1.0 - warmup, 1e-9)))


def inverse_sqrt(done: float, warmup: float) -> float:
    """1 / sqrt(step), joined to the warm-up (Vaswani et al. 2017, section 5.3)."""
    return math.sqrt(max(warmup, 1e-9) / done)


SCHEDULES: dict[str, Schedule] = {
    "inverse_sqrt": inverse_sqrt,
    "linear": linear,
    "cosine": cosine,
    "constant": constant,
}


def rate_factor(name: str, done: float, warmup: float) -> float:
    """The factor at a share `done` of the run: rising straight during the warm-up, then as the schedule says."""
    done = min(done, 1.0)
    return done / warmup if done < warmup else SCHEDULES[name](done, warmup)
