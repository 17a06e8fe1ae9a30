"""How long a step takes, by taking some."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from regard.data.tokens import Batch
from regard.training.step import Stepper

TIMED, WARM_UP, LONGEST = 12, 2, 3.0  # steps that are timed, those before, seconds that timing takes about


def seconds_per_token(stepper: Stepper, batches: Sequence[Batch]) -> float:
    """Seconds for each token, padding included, of steps on `batches` at the best speed seen.

    The best, for whatever else runs can only slow a step down. The learning rate is 0, so no loss can run away; but the
    optimiser counts the steps, so the stepper is of no more use.
    """
    accumulate = stepper.training.accumulate
    endless = itertools.cycle(batches)
    best, start = float("inf"), time.monotonic()
    for number in range(WARM_UP + TIMED):
        step = list(itertools.islice(endless, accumulate))
        before = time.perf_counter()
        stepper.step(step, number, rate=0.0)
        if number >= WARM_UP:
            best = min(best, (time.perf_counter() - before) / sum(map(padded_tokens, step)))
        if number > WARM_UP and time.monotonic() - start > LONGEST:
            break
    return best


def padded_tokens(batch: Batch) -> int:
    """Tokens of a batch, padding included."""
    return batch.source.ids.numel() + batch.target.ids.numel()
