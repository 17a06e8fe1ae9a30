"""One run in numbers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regard.lab.plan import Plan, Planned
from regard.lab.statistics import at
from regard.look.glance import Glance, glance, sentence_to_show
from regard.metrics.evaluate import score_answers
from regard.text.pairs import Pair
from regard.training.journal import Event, Journal
from regard.translator import Translator

BATCH = 64  # sentences that are decoded together
SHOWN = 5  # answers that the report shows


@dataclass(frozen=True)
class Result:
    """What came of one run. A diverged one has no `values`, and `fault` says what happened.

    `values`: loss and metrics of the published model, decoded greedily, without the `left_out` development pairs that
    are too long for it. `seconds` on the training clock, validations
    included; `tokens_per_second` of training without them; `sentences_per_second` of greedy decoding. `curve` holds
    the checkpoints: step, seconds, loss and metrics. `answers` are (source, answer, reference).
    """

    variant: str
    seed: int
    fault: str
    values: dict[str, float]
    left_out: int
    seconds: float
    steps: int
    flops: float
    tokens_per_second: float
    sentences_per_second: float | None
    curve: tuple[dict[str, float], ...]
    answers: tuple[tuple[str, str, str], ...]
    look: Glance | None

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `read_result` takes back."""
        return asdict(self)


def read_result(facts: dict[str, Any]) -> Result:
    """What `as_json` gave."""
    curve, answers = tuple(facts["curve"]), tuple((each[0], each[1], each[2]) for each in facts["answers"])
    seen = facts["look"] and Glance(
        tuple(facts["look"]["source"]), tuple(facts["look"]["target"]), tuple(map(tuple, facts["look"]["weights"]))
    )
    return Result(**{**facts, "curve": curve, "answers": answers, "look": seen})


def measure(plan: Plan, planned: Planned, seed: int, run: Path) -> Result:
    """A finished run: its published model decodes the development pairs greedily, which is timed."""
    translator = Translator.load(run)
    events = Journal(run).read()
    end = next(event for event in reversed(events) if event["event"] == "end")
    pairs = _readable(translator, plan.development)
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    answers, seconds = _decode(translator, sources)
    found = dict(zip(sources, answers, strict=True))
    values = score_answers(translator, pairs, [found[pair.source] for pair in pairs]).values
    return Result(
        planned.variant.name,
        seed,
        "",
        {"loss": end["loss"], **values},
        len(plan.development) - len(pairs),
        end["seconds"],
        end["step"],
        end["step"] * planned.probe.step_flops,
        training_speed(events) or planned.probe.step_tokens / planned.probe.step_seconds,
        len(sources) / seconds,
        curve(events),
        tuple((pair.source, found.get(pair.source, ""), pair.target) for pair in _spaced(plan.development)),
        glance(translator, sentence_to_show(sources)),
    )


def diverged(planned: Planned, seed: int, run: Path, fault: str) -> Result:
    """A run whose loss was lost: what is known of it up to there."""
    events = Journal(run).read()
    last = next((event for event in reversed(events) if event["event"] == "step"), None)
    steps, seconds = (int(last["step"]), float(last["seconds"])) if last else (0, 0.0)
    return Result(
        planned.variant.name,
        seed,
        fault,
        {},
        0,
        seconds,
        steps,
        steps * planned.probe.step_flops,
        training_speed(events) or planned.probe.step_tokens / planned.probe.step_seconds,
        None,
        curve(events),
        (),
        None,
    )


def training_speed(events: Sequence[Event]) -> float | None:
    """Tokens a second: the median of the readings that no checkpoint and no start fell into; None without such."""
    told = [event for event in events if event["event"] in ("step", "checkpoint")]
    clean = sorted(
        float(event["tokens_per_second"])
        for before, event in itertools.pairwise(told)
        if before["event"] == event["event"] == "step" and before["step"] < event["step"]
    )
    return clean[len(clean) // 2] if clean else None


def curve(events: Sequence[Event]) -> tuple[dict[str, float], ...]:
    """What each checkpoint was worth, and when on the training clock it was reached, read off between steps told."""
    clock = [(0.0, 0.0), *((event["step"], event["seconds"]) for event in events if event["event"] == "step")]
    checkpoints = [event for event in events if event["event"] == "checkpoint"]
    end = next((event for event in reversed(events) if event["event"] == "end"), None)
    if end and end["step"] > clock[-1][0]:
        clock.append((end["step"], end["seconds"]))
    left_out = ("event", "best")
    return tuple(
        {"seconds": round(at(clock, event["step"]), 3), **{k: v for k, v in event.items() if k not in left_out}}
        for event in checkpoints
    )


def _readable(translator: Translator, pairs: Sequence[Pair]) -> list[Pair]:
    """Those that training validated on."""
    ids = translator.tokenizers.source.encode_many([pair.source for pair in pairs])
    return [pair for pair, source in zip(pairs, ids, strict=True) if len(source) <= translator.longest_source]


def _decode(translator: Translator, sources: Sequence[str]) -> tuple[list[str], float]:
    """Answers, and the seconds they took after a first batch that warmed up."""
    list(translator.translate(sources[:BATCH], beam=1, batch_size=BATCH))
    start = time.perf_counter()
    answers = [answer.text for answer in translator.translate(sources, beam=1, batch_size=BATCH)]
    return answers, max(time.perf_counter() - start, 1e-9)


def _spaced(pairs: Sequence[Pair]) -> list[Pair]:
    """A few from everywhere."""
    return list(pairs[:: max(1, len(pairs) // SHOWN)][:SHOWN])
