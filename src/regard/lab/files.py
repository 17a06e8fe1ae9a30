"""What was measured, for programs: results.csv, summary.csv, results.json. The same numbers in each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from regard.lab.measure import Result
from regard.lab.plan import Plan
from regard.lab.summary import RUN_NUMBERS, Summary


def run_records(plan: Plan, results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat row a run."""
    planned = {each.variant.name: each for each in plan.planned}
    return [
        {
            "variant": result.variant,
            "seed": result.seed,
            "folder": f"{planned[result.variant].variant.folder}/seed-{result.seed}",
            "fault": result.fault,
            **result.values,
            **{name: getattr(result, name) for name in RUN_NUMBERS},
            **asdict(planned[result.variant].probe),
        }
        for result in results
    ]


def as_json(plan: Plan, results: Sequence[Result], summaries: Sequence[Summary]) -> dict[str, Any]:
    """Everything but curves and pictures."""
    return {
        "made_with": plan.made_with,
        "command": plan.command,
        "question": plan.question.as_json(),
        "metric": plan.metric,
        "summary": [summary.record() for summary in summaries],
        "runs": run_records(plan, results),
    }


def contents(plan: Plan, results: Sequence[Result], summaries: Sequence[Summary]) -> dict[str, bytes]:
    """Files by name."""
    return {
        "results.csv": _as_csv(run_records(plan, results)),
        "summary.csv": _as_csv([summary.record() for summary in summaries]),
        "results.json": to_bytes(as_json(plan, results, summaries)),
    }


def to_bytes(facts: Any) -> bytes:
    """JSON text, a line's end at its end."""
    return (json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _as_csv(rows: Sequence[dict[str, Any]]) -> bytes:
    """A column for each name that any row has; an empty field where a row has none."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()
