"""The flow of a comparison: plan, train what is not trained yet, measure, report. It goes on where it stopped.

comparisons/NAME/
  comparison.json     the question, and what was found before the first run
  development.jsonl   the pairs all runs are measured on, where a task draws them
  VARIANT/seed-1/     a run folder, as `regard train` makes it
  VARIANT/seed-1.json what was measured of it
  results.csv summary.csv results.json report.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regard import trainer
from regard.errors import TrainingError
from regard.folder import MANIFEST, remove_folder, write_file
from regard.lab.files import contents, to_bytes
from regard.lab.measure import Result, diverged, measure, read_result
from regard.lab.plan import Plan, Planned, open_plan
from regard.lab.question import Question, read_json
from regard.lab.report import page
from regard.lab.summary import Summary, summarise
from regard.trainer import Listener
from regard.training.checkpoint import latest_checkpoint
from regard.training.loop import Interrupted

REPORT = "report.html"
SILENT = Listener()


@dataclass(frozen=True)
class Comparison:
    """A question, the runs that answer it, and a summary a variant."""

    plan: Plan
    results: tuple[Result, ...]
    summaries: tuple[Summary, ...]


def compare(question: Question, folder: Path, listener: Listener = SILENT, command: str = "") -> Comparison:
    """Trains every variant with every seed into `folder` and measures them; files and report are renewed after each.

    Asked again, it goes on: what is measured is not trained again. Interrupted, with all saved, if the listener asks
    to stop. UserErrors before anything is written; a run whose loss is lost is a result, not an error.
    """
    plan = open_plan(question, folder, listener, command)
    runs = list(_runs(plan, folder))
    missing = [planned.seconds for planned, _, run in runs if not _result_file(run).exists()]
    listener.tell({"event": "plan", "runs": len(runs), "missing": len(missing), "seconds": sum(missing)})
    results: list[Result] = []
    written: Comparison | None = None
    for number, (planned, seed, run) in enumerate(runs, 1):
        if _result_file(run).exists():
            results.append(read_json(_result_file(run), read_result))
            continue
        if listener.interrupted():
            raise Interrupted
        name = planned.variant.name
        listener.tell({"event": "run", "number": number, "runs": len(runs), "variant": name, "seed": seed})
        results.append(_result(plan, planned, seed, run, folder, listener))
        write_file(_result_file(run), to_bytes(results[-1].as_json()))
        listener.tell({"event": "result", "metric": plan.metric, **vars(results[-1])})
        written = _write(plan, results, folder)
    if written and len(written.results) == len(results):
        return written
    return _write(plan, results, folder)  # the last runs were measured before


def _runs(plan: Plan, folder: Path) -> Iterator[tuple[Planned, int, Path]]:
    """Each seed of all variants before the next one: an unfinished comparison is a whole one with fewer seeds."""
    for seed in plan.question.all_seeds:
        for planned in plan.planned:
            yield planned, seed, folder / planned.variant.folder / f"seed-{seed}"


def _result_file(run: Path) -> Path:
    return run.with_name(f"{run.name}.json")


def _result(plan: Plan, planned: Planned, seed: int, run: Path, folder: Path, listener: Listener) -> Result:
    try:
        _train(plan, planned, seed, run, folder, listener)
    except TrainingError as error:
        return diverged(planned, seed, run, error.message)
    return measure(plan, planned, seed, run)


def _train(plan: Plan, planned: Planned, seed: int, run: Path, folder: Path, listener: Listener) -> None:
    """To the end, from wherever the run stands."""
    if (run / MANIFEST).exists():
        return
    if latest_checkpoint(run):
        trainer.resume(run, listener)
        return
    if run.exists():  # it died before its first checkpoint: nothing in it is worth keeping
        remove_folder(run)
    trainer.train(plan.settings(planned, seed, folder), run, listener)


def _write(plan: Plan, results: list[Result], folder: Path) -> Comparison:
    comparison = Comparison(plan, tuple(results), tuple(summarise(plan, results)))
    files = contents(plan, results, comparison.summaries)
    files[REPORT] = page(plan, results, comparison.summaries)
    for name, content in files.items():
        write_file(folder / name, content)
    return comparison
