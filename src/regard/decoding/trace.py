"""The trace of a search: at every step each sentence's candidates, what they grew from, and what became of them.

Off unless asked for, and then nothing of it runs. A step of one sentence becomes one dict, ready for a JSON line:

    {"step": 3, "candidates": [
        {"parent": 0, "id": 17, "log_probability": -0.2, "total": -1.7, "fate": "kept", "place": 0}, ...]}

Fates: kept (at `place` of the next step), finished (took eos), pruned (others were better), filtered (a filter or the
list of ids that are never generated forbade it). Candidates stand in the order of their totals, the best first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from regard.decoding.interface import Event, TraceStep


@dataclass
class Trace:
    """Keeps at most `candidates` of those not chosen, for each sentence at each of the first `steps` steps."""

    eos: int
    candidates: int = 10
    steps: int = 500
    sentences: dict[int, list[TraceStep]] = field(default_factory=dict)

    def step(self, event: Event) -> None:
        """One step of all sentences."""
        if event.length >= self.steps:
            return
        shape = (*event.before.shape, event.values.shape[1])
        values, filtered = event.values.view(shape), event.filtered.view(shape)
        for line, sentence in enumerate(event.sentence.tolist()):
            totals = event.before[line, :, None] + filtered[line]
            seen = self._chosen(event, line, values[line])
            taken = {(each["parent"], each["id"]) for each in seen}
            wanted = event.before[line, :, None] + values[line]
            for parent, token, total in _top(wanted, self.candidates + len(taken)):
                if (parent, token) not in taken and len(seen) < self.candidates + len(taken):
                    fate = "filtered" if float(totals[parent, token]) == -math.inf else "pruned"
                    seen.append(_candidate(parent, token, values[line], total, fate))
            seen.sort(key=lambda each: -each["total"])
            self.sentences.setdefault(sentence, []).append({"step": event.length, "candidates": seen})

    def of(self, sentence: int) -> tuple[TraceStep, ...]:
        """The steps of one sentence of the call."""
        return tuple(self.sentences.get(sentence, ()))

    def _chosen(self, event: Event, line: int, values: Tensor) -> list[TraceStep]:
        columns = (event.parent[line].tolist(), event.token[line].tolist(), event.total[line].tolist())
        chosen = []
        for place, (parent, token, total) in enumerate(zip(*columns, strict=True)):
            if total > -math.inf:
                ends = token == self.eos
                candidate = _candidate(parent, token, values, total, "finished" if ends else "kept")
                chosen.append(candidate if ends else {**candidate, "place": place})
        return chosen


def _candidate(parent: int, token: int, values: Tensor, total: float, fate: str) -> TraceStep:
    value = float(values[parent, token])
    return {"parent": parent, "id": token, "log_probability": value, "total": total, "fate": fate}


def _top(totals: Tensor, count: int) -> list[tuple[int, int, float]]:
    """The greatest of [W, V]: (place, id, total), without the impossible."""
    top = totals.flatten().topk(min(count, totals.numel()))
    places = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [(where // totals.shape[1], where % totals.shape[1], value) for where, value in places if value > -math.inf]
