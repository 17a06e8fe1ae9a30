"""report.html: a finished run on one page that opens without a network.

What it is, how it went, what it answers, where it looks, and why it is set as it is. The work is bounded: whatever the
size of the data, so many lines are shown, each so long.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from regard.config import Data
from regard.folder import write_file
from regard.look import html
from regard.look.curve import PER_LINE, heading, line_of, lines_of_loss, lines_of_metrics
from regard.look.glance import MOST, Glance, glance
from regard.look.html import Table
from regard.look.svg import heat_map, line_chart
from regard.metrics import METRICS
from regard.metrics.evaluate import scored_by_symbols, worst_answers
from regard.metrics.samples import cut, samples
from regard.text.pairs import Pair
from regard.training.journal import Event
from regard.translator import Translator

NAME = "report.html"
WORST = 20  # answers
MOST_RATED = 2000  # development pairs among which the worst are sought
MOST_ROWS = 12  # answers to one source, over the checkpoints
MOST_LOOKS = 4  # heat maps
MOST_NOTES = 100  # warnings


def save_report(
    run: Path, events: Sequence[Event], translator: Translator, pairs: Sequence[Pair], answers: Sequence[str]
) -> None:
    """Writes `run`/report.html. `events` are the journal's, with their times where they are known; `pairs` the
    development pairs and `answers` what the published model answers to each. StorageError."""
    write_file(run / NAME, page(run.resolve().name, events, translator, pairs, answers))


def page(
    name: str, events: Sequence[Event], translator: Translator, pairs: Sequence[Pair], answers: Sequence[str]
) -> bytes:
    """The page; a part of which nothing is known is left out."""
    told = _by_kind(events)
    return html.document(
        f"Run: {name}",
        [
            _facts(name, told, translator),
            _numbers(told, len(pairs)),
            _curves(told),
            _samples(told, pairs, answers),
            _worst(translator, pairs[:MOST_RATED], answers[:MOST_RATED]),
            _looks(translator, pairs),
            _data(told, translator.recipe.data.longest),
            _settings(told, translator),
            _notes(events),
        ],
    )


def _by_kind(events: Sequence[Event]) -> dict[str, list[Event]]:
    told: dict[str, list[Event]] = {}
    for event in events:
        told.setdefault(event["event"], []).append(event)
    return told


def _last(told: dict[str, list[Event]], kind: str) -> Event:
    return told.get(kind, [{}])[-1]


def _facts(name: str, told: dict[str, list[Event]], translator: Translator) -> str:
    model, end = translator.recipe.model, _last(told, "end")
    parameters = sum(parameter.numel() for parameter in translator.model.parameters())
    sides = (("source", translator.tokenizers.source), ("target", translator.tokenizers.target))
    facts = [
        ("data", _named(translator.recipe.data)),
        (
            "model",
            f"{model.encoder_name} encoder, {model.decoder_name} decoder; {model.layers} layers, "
            f"{model.size} features; {parameters:,} parameters",
        ),
        ("tokens", "; ".join(f"{side}: {len(each):,} {each.kind}" for side, each in sides)),
        ("training", _training(told)),
        ("weights", end.get("published", "")),
    ]
    shown = [(key, html.printable(text)) for key, text in facts if text]
    return html.terms([*shown, ("command", html.code(f"regard translate {name}"))])


def _named(data: Data) -> str:
    return f"the task {data.task}" if data.task else ", ".join(data.pairs)


def _training(told: dict[str, list[Event]]) -> str:
    end = _last(told, "end") or _last(told, "checkpoint")
    speeds = [event["tokens_per_second"] for event in told.get("step", ()) if "tokens_per_second" in event]
    parts = [f"{end['step']:,} steps"] if "step" in end else []
    parts += [f"in {end['seconds'] / 60:.1f} minutes"] if "seconds" in end else []
    parts += [f"{statistics.median(speeds):,.0f} tokens a second (median)"] if speeds else []
    return ", ".join(parts)


def _numbers(told: dict[str, list[Event]], pairs: int) -> str:
    """What the end measured, or the last checkpoint of a run without one."""
    end = _last(told, "end") or _last(told, "checkpoint")
    rows = [(heading(key), f"{value:.4g}", _unit(key)) for key, value in end.items() if _unit(key)]
    if not rows:
        return ""
    notes = (
        f"On {pairs:,} development pairs, {end.get('search', 'greedy')}. "
        "A line is right if it equals any reference of its source; per line: its own reference.",
    )
    return html.table(Table("What it is worth", ("measure", "value", "unit"), tuple(rows), (0, 2), notes))


def _unit(key: str) -> str:
    """Empty for what is no measure."""
    info = METRICS.get(key.removesuffix(PER_LINE))
    return "nats a token" if key == "loss" else info.unit if info else ""


def _curves(told: dict[str, list[Event]]) -> str:
    steps, checkpoints = told.get("step", []), told.get("checkpoint", [])
    if not steps and not checkpoints:
        return ""
    charts = {
        "loss, nats a token": lines_of_loss(steps, checkpoints),
        "development pairs, decoded, percent": lines_of_metrics(checkpoints),
        "learning rate": [line_of("", steps, "rate")],
        "length of the gradient before clipping": [line_of("", steps, "gradient")],
        "speed, tokens a second": [line_of("", steps, "tokens_per_second")],
    }
    drawn = {title: [line for line in lines if line.points] for title, lines in charts.items()}
    inside = "".join(f"<figure>{line_chart(title, lines)}</figure>" for title, lines in drawn.items() if lines)
    note = html.note(
        "The loss in training counts label smoothing, if there is any; that of development pairs does not."
    )
    return f'<h2>Curves</h2><div class="charts">{inside}</div>{note}'


def _samples(told: dict[str, list[Event]], pairs: Sequence[Pair], answers: Sequence[str]) -> str:
    """What became of the same few sources from checkpoint to checkpoint, and what the published model says."""
    rows: list[tuple[str, ...]] = []
    for final in samples(pairs, answers):
        rows.append((final["source"], "wanted", final["reference"]))
        said = [
            (event["step"], each["answer"])
            for event in told.get("samples", ())
            for each in event["samples"]
            if each["source"] == final["source"]
        ]
        rows += [("", steps, answer) for steps, answer in _spread(_merged(said))]
        rows.append(("", "published", final["answer"]))
    if not rows:
        return ""
    notes = (f"Steps with equal answers in a row are one line; at most {MOST_ROWS} lines a source.",)
    return html.table(Table("Answers through time", ("source", "step", "answer"), tuple(rows), (0, 2), notes))


def _merged(said: Sequence[tuple[int, str]]) -> list[tuple[str, str]]:
    """Equal answers that follow each other as one, with their first and last step."""
    runs: list[tuple[int, int, str]] = []
    for step, answer in said:
        first = runs.pop()[0] if runs and runs[-1][2] == answer else step
        runs.append((first, step, answer))
    return [(f"{first:,} to {last:,}" if first != last else f"{first:,}", answer) for first, last, answer in runs]


def _spread(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """At most MOST_ROWS of them, the first and the last among them."""
    if len(rows) <= MOST_ROWS:
        return rows
    return [rows[round(place * (len(rows) - 1) / (MOST_ROWS - 1))] for place in range(MOST_ROWS)]


def _worst(translator: Translator, pairs: Sequence[Pair], answers: Sequence[str]) -> str:
    found = worst_answers(translator, pairs, answers, WORST)
    if not found:
        return ""
    rows = tuple(
        (cut(line.source), cut(line.hypothesis), cut(" | ".join(line.references)), f"{value:.1f}", f"{line.edits:,}")
        for line, value in found
    )
    measure = "PER, %" if scored_by_symbols(translator) else "chrF"
    notes = (f"Of {len(pairs):,} development pairs; by {measure.rstrip(', %')} of the line, then by edits.",)
    head = ("source", "answer", "wanted", measure, "edits")
    return html.table(Table("Furthest from right", head, rows, (0, 1, 2), notes))


def _looks(translator: Translator, pairs: Sequence[Pair]) -> str:
    maps = "".join(f"<figure>{heat_map(seen)}</figure>" for seen in looks(translator, pairs))
    if not maps:
        return ""
    text = (
        "The decoder's last attention to the source, mean over heads: rows are what the model answered, columns the "
        "source; the stronger the colour, the more."
    )
    return f'<h2>Where it looks</h2>{html.note(text)}<div class="looks">{maps}</div>'


def looks(translator: Translator, pairs: Sequence[Pair]) -> list[Glance]:
    """Of a few sources that fit into a picture however they are cut into tokens, spread over their lengths; none if
    the decoder attends to no source."""
    short = [pair for pair in pairs if len(pair.source) < MOST]
    chosen = samples(short, [pair.target for pair in short], MOST_LOOKS)
    return [seen for each in chosen if (seen := glance(translator, each["source"])) is not None]


def _data(told: dict[str, list[Event]], longest: int) -> str:
    start, found = _last(told, "start"), _last(told, "data")
    why = {"blank": "blank on a side", "too_long": f"of more than {longest:,} tokens", "bad_lines": "not readable"}
    left = [f"{count:,} {why.get(key, key)}" for key, count in start.get("left_out", {}).items() if count]
    said = [f"{start['pairs']:,} training pairs; left out: {', '.join(left) or 'none'}"] if start else []
    rows = tuple(
        (each["level"], each["title"], "\n".join([each["detail"], *_examples(each)]))
        for each in found.get("sections", ())
    )
    findings = html.table(Table("", ("", "question", "found"), rows, (0, 1, 2))) if rows else ""
    text = "".join(map(html.note, said)) + findings
    return f"<h2>Data</h2>{text}" if text else ""


def _examples(finding: dict[str, object]) -> list[str]:
    examples = finding["examples"]
    assert isinstance(examples, list | tuple)
    return [cut(str(example)) for example in examples] if finding["level"] != "ok" else []


def _settings(told: dict[str, list[Event]], translator: Translator) -> str:
    reasons = _last(told, "recipe").get("reasons", ())
    rows = tuple((each["key"], cut(str(each["value"])), each["why"]) for each in reasons)
    chosen = html.table(Table("Settings", ("setting", "value", "why"), rows, (0, 1, 2))) if rows else ""
    recipe = f"<pre>{html.printable(translator.recipe.to_toml())}</pre>"
    return f"{chosen}<details><summary>All settings</summary>{recipe}</details>"


def _notes(events: Sequence[Event]) -> str:
    """What was out of the ordinary."""
    kinds = ("beginning", "warning", "note", "skipped", "resumed")
    said = [event for event in events if event["event"] in kinds]
    rows = tuple((f"{event['step']:,}" if "step" in event else "", cut(str(event["text"]))) for event in said)
    notes = (f"The first {MOST_NOTES} of {len(rows):,}.",) if len(rows) > MOST_NOTES else ()
    return html.table(Table("Notes", ("step", "what"), rows[:MOST_NOTES], (1,), notes)) if rows else ""
