"""Tables for people: the same text on a terminal, in a pipe and in a page."""

from __future__ import annotations

from collections.abc import Sequence

from regard.lab.measure import Result
from regard.lab.plan import Plan
from regard.lab.statistics import Spread
from regard.lab.summary import LOWER_IS_BETTER, SECOND, Summary, verdict
from regard.look.html import Table

UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
NOTHING = "-"


def tables(plan: Plan, summaries: Sequence[Summary]) -> list[Table]:
    """What the variants are worth, and what they cost."""
    return [quality(plan, summaries), cost(plan, summaries)]


def quality(plan: Plan, summaries: Sequence[Summary]) -> Table:
    """Metrics and loss, mean and spread over the seeds, and how each variant stands against the best."""
    names = [name for name in (plan.metric, SECOND.get(plan.metric), "loss") if name]
    names = [name for name in dict.fromkeys(names) if any(name in summary.numbers for summary in summaries)]
    rows = tuple(
        (
            summary.name,
            *(_spread(summary.numbers.get(name), 3 if name == "loss" else 2) for name in names),
            verdict(summary, summaries),
        )
        for summary in summaries
    )
    head = (varied(plan), *map(heading, names), "against the best")
    return Table("What they are worth", head, rows, (0, len(head) - 1), _quality_notes(plan))


def quality_in_words(plan: Plan, summaries: Sequence[Summary]) -> str:
    """The answer in a sentence."""
    best = next((summary for summary in summaries if summary.behind == 0.0), None)
    if best is None:
        return "No run has come to its end."
    others = [summary for summary in summaries if summary is not best and summary.behind is not None]
    close = [summary.name for summary in others if summary.margin is not None and not summary.is_clear]
    clear = [summary.name for summary in others if summary.is_clear]
    found = f"Best by {heading(plan.metric)}: {best.name} with {_spread(best.numbers[plan.metric], 2)}."
    if clear:
        found += f" Worse by more than the spread: {'; '.join(clear)}."
    if close:
        found += f" Within the spread, so not to be told apart from the best: {'; '.join(close)}."
    if any(summary.margin is None for summary in others):
        found += " With one run of a variant no spread is known, so no difference can be called real."
    return found


def cost(plan: Plan, summaries: Sequence[Summary]) -> Table:
    """Size, training, memory, speed, and the way through the encoder."""
    head = (
        varied(plan), "para-\nmeters", "steps", "training\nseconds", "tokens\n/s", "FLOPs", "step\nmemory",
        "answers\n/s", "serial\nsteps", "longest\npath",
    )  # fmt: skip
    rows = []
    for summary in summaries:
        probe, numbers = summary.planned.probe, summary.numbers
        measured = [
            numbers.get(name) for name in ("steps", "seconds", "tokens_per_second", "flops", "sentences_per_second")
        ]
        steps, seconds, tokens, flops, answers = (NOTHING if each is None else short(each.mean) for each in measured)
        memory = f"{short(probe.step_bytes)}B"
        serial, path = (
            NOTHING if each is None else f"{each:,}" for each in (probe.sequential_steps, probe.longest_path)
        )
        rows.append(
            (summary.name, short(probe.parameters), steps, seconds, tokens, flops, memory, answers, serial, path)
        )
    return Table("What they cost", head, tuple(rows), (0,), _cost_notes(plan))


def runs(plan: Plan, results: Sequence[Result]) -> Table:
    """Each run by itself."""
    names = [name for name in (plan.metric, SECOND.get(plan.metric), "loss") if name]
    rows = tuple(
        (
            result.variant,
            str(result.seed),
            *(f"{result.values[name]:.3f}" if name in result.values else NOTHING for name in dict.fromkeys(names)),
            f"{result.steps:,}",
            f"{result.seconds:.1f}",
            short(result.tokens_per_second),
            _state(result),
        )
        for result in results
    )
    head = (varied(plan), "seed", *map(heading, dict.fromkeys(names)), "steps", "seconds", "tokens/s", "state")
    return Table("Each run", head, rows, (0, len(head) - 1))


def _state(result: Result) -> str:
    left_out = f", {result.left_out} pairs too long for it" if result.left_out else ""
    return result.fault.split("\n")[0] or f"finished{left_out}"


def heading(metric: str) -> str:
    """A metric with the direction that is better."""
    name = {"bleu": "BLEU", "chrf": "chrF"}.get(metric, metric if metric == "loss" else metric.upper())
    return f"{name} {'↓' if metric in LOWER_IS_BETTER else '↑'}"


def varied(plan: Plan) -> str:
    """What varies, without the names of sections where that is clear."""
    keys = plan.question.varied
    short_names = [key.rpartition(".")[2] for key in keys]
    return ", ".join(short_names if len(set(short_names)) == len(keys) else keys) or "variant"


def short(number: float) -> str:
    """Three digits and a unit: 1,234,567 is 1.23M."""
    for size, unit in UNITS:
        if abs(number) >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return f"{number:.0f}" if abs(number) >= 99.95 or number == int(number) else f"{number:.3g}"


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return NOTHING
    mean = f"{spread.mean:.{digits}f}"
    return mean if spread.deviation is None else f"{mean} ± {spread.deviation:.{digits}f}"


def _quality_notes(plan: Plan) -> tuple[str, ...]:
    seeds = plan.question.seeds
    notes = [
        f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed",
        f"{len(plan.development):,} development pairs, decoded greedily; ↓ less is better, ↑ more is better",
    ]
    if seeds > 1:
        notes.append("within the spread: so small a difference may be the luck of the seeds")
    if plan.tokenizers > 1:
        notes.append("the variants cut text into different tokens, so their losses a token do not compare")
    return tuple(notes)


def _cost_notes(plan: Plan) -> tuple[str, ...]:
    lengths = sorted({planned.probe.source_length for planned in plan.planned})
    length = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    return (
        "FLOPs: multiplications and additions of the whole training",
        "step memory: weights, gradients, the optimiser's moments, and what is kept for the backward pass",
        f"serial steps, longest path: through the encoder, for the mean source of {length} tokens",
    )
