"""A look as text: the answer, how sure the model was of each token, and where it looked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from regard.inside.result import Look
from regard.look.html import Table
from regard.look.text import as_text

UNSURE = 0.5  # a probability below it is marked
MOST_ROWS = 40  # steps in the table; of a longer answer the least sure


def in_words(look: Look) -> str:
    """The answer and its steps as text: what was written, how sure, what else, and where it looked most."""
    total = look.search.log_probability
    facts = [look.search.name, f"log-probability {total:.2f}", f"probability {_percent(math.exp(total))}"]
    head = [f"{look.source.text}  →  {look.target.text}", f"({', '.join([*facts, *look.changed])})"]
    if not look.search.finished:
        head.append("the answer was cut at the limit of its length")
    if look.greedy and look.greedy_text != look.target.text:
        head.append(f"greedy search would answer: {look.greedy_text}")
    return "\n".join([*head, as_text(_steps(look))])


def _steps(look: Look) -> Table:
    shares = _cross(look)
    rows = [_row(look, place, shares) for place in range(len(look.steps))]
    notes: tuple[str, ...] = (f"?: less than {_percent(UNSURE)} sure",)
    if len(rows) > MOST_ROWS:
        least = sorted(range(len(rows)), key=lambda place: look.steps[place].log_probability)[:MOST_ROWS]
        notes += (f"the {MOST_ROWS} least sure of {len(rows)} steps",)
        rows = [rows[place] for place in sorted(least)]
    return Table("", ("step", "written", "sure", "", "instead", "sure", "looks at"), tuple(rows), (1, 3, 4, 6), notes)


def _row(look: Look, place: int, shares: Sequence[int] | None) -> tuple[str, ...]:
    step = look.steps[place]
    probability = math.exp(step.log_probability)
    others = [each for each in step.alternatives if each.token != step.token]
    instead = (others[0].token, _percent(math.exp(others[0].log_probability))) if others else ("", "")
    at = "" if shares is None else look.source.tokens[shares[place]]
    return (str(place + 1), step.token, _percent(probability), "?" if probability < UNSURE else "", *instead, at)


def _cross(look: Look) -> list[int] | None:
    """The source token that each step looks at most: the mean over all layers and heads."""
    layers = [each.weights.mean(0) for each in look.of("cross")]
    return torch.stack(layers).mean(0).argmax(-1).tolist() if layers else None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"
