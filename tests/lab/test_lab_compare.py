"""A whole comparison on tiny models: files, going on, faults, and the same numbers everywhere."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from quick import try_less

from regard.config import Settings, merge
from regard.errors import ModelFolderError, RecipeError, TrainingError, UsageError, UserError
from regard.lab.budget import Budget
from regard.lab.compare import Comparison, compare
from regard.lab.grid import grid, named
from regard.lab.plan import asked_in
from regard.lab.question import Question
from regard.lab.summary import verdict
from regard.lab.table import short, tables
from regard.look.text import as_text
from regard.trainer import Listener
from regard.training.journal import Journal
from regard.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("unchecked")  # many equal steps: tests/training checks one

TINY: Settings = {
    "model": {"layers": 1, "size": 8, "heads": 1, "inner": 8, "dropout": 0.1},
    "training": {"steps": 4, "checkpoint_every": 2, "average": 2, "warmup": 1, "valid_pairs": 10},
    "data": {"tokens_per_batch": 300, "hold_out": 0.2},
    "decoding": {"limit_factor": 0.01, "limit_extra": 4},  # short answers: each step of decoding is checked here
}
EVIL = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(cache))
    try_less(monkeypatch)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 words with their letters in reverse; some answers try to break out of a page."""
    words = [f"{a}{b}{c}" for a in "abc" for b in "efg" for c in "jklm"]
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    lines = [f"{word} {EVIL if word.startswith('a') else ''}\t{' '.join(reversed(word))} {EVIL}\n" for word in words]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def question(pairs: Path, changes: Settings | None = None, seeds: int = 2, budget: Budget | None = None) -> Question:
    keys, variants = grid(["model.norm=layer,rms"])
    settings = merge(merge(TINY, {"data": {"pairs": [str(pairs)]}}), changes or {})
    return Question(tuple(variants), settings, tuple(keys), seeds, budget)


@pytest.fixture(scope="module")
def whole(pairs: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Two variants with two seeds, from start to end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGARD_CACHE", str(cache))
        folder = tmp_path_factory.mktemp("whole") / "out"
        with pytest.MonkeyPatch.context() as inner:
            try_less(inner)
            compare(question(pairs), folder, command="regard compare a.tsv")
        return folder, compare(question(pairs), folder)  # measured before


def told(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def measured(folder: Path) -> dict[str, Any]:
    """What does not depend on the machine."""
    rows = list(csv.DictReader((folder / "results.csv").read_text(encoding="utf-8").split("\n")))
    timed = ("seconds", "tokens_per_second", "sentences_per_second", "step_seconds")
    return {(row["variant"], row["seed"]): {k: v for k, v in row.items() if k not in timed} for row in rows}


def test_a_folder_holds_runs_results_and_a_report(whole: tuple[Path, Comparison]) -> None:
    folder, found = whole
    assert {path.name for path in folder.iterdir()} == {
        "comparison.json", "layer", "rms", "report.html", "results.csv", "results.json", "summary.csv",
    }  # fmt: skip
    for variant in ("layer", "rms"):
        names = {path.name for path in (folder / variant).iterdir()}
        assert names == {"seed-1", "seed-2", "seed-1.json", "seed-2.json"}
        assert (folder / variant / "seed-2" / "MANIFEST.json").exists()
    assert [(result.variant, result.seed) for result in found.results] == [
        ("layer", 1), ("rms", 1), ("layer", 2), ("rms", 2),
    ]  # fmt: skip
    assert found.summaries[0].numbers["steps"].mean == 4.0


def test_all_runs_are_measured_on_the_same_pairs(whole: tuple[Path, Comparison]) -> None:
    _, found = whole
    sources = {tuple((source, reference) for source, _, reference in result.answers) for result in found.results}
    assert len(sources) == 1
    assert len({result.look and result.look.source for result in found.results}) == 1


def test_csv_json_table_and_objects_say_the_same(whole: tuple[Path, Comparison]) -> None:
    folder, found = whole
    runs = list(csv.DictReader((folder / "results.csv").read_text(encoding="utf-8").split("\n")))
    summary = list(csv.DictReader((folder / "summary.csv").read_text(encoding="utf-8").split("\n")))
    facts = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert len(runs) == len(facts["runs"]) == 4
    for rows, records in ((runs, facts["runs"]), (summary, facts["summary"])):
        for row, record in zip(rows, records, strict=True):
            assert row == {name: "" if value is None else str(value) for name, value in record.items()}
    table = as_text(tables(found.plan, found.summaries)[0]) + as_text(tables(found.plan, found.summaries)[1])
    metric = found.plan.metric
    for record in facts["summary"]:
        mean = sum(run[metric] for run in facts["runs"] if run["variant"] == record["variant"]) / 2
        assert record[metric] == pytest.approx(mean)
        assert f"{record[metric]:.2f} ± {record[f'{metric}_deviation']:.2f}" in table
        assert f"{record['loss']:.3f} ± {record['loss_deviation']:.3f}" in table
        assert short(record["parameters"]) in table
        assert short(record["flops"]) in table
    assert all(verdict(each, found.summaries)[:20] in table for each in found.summaries)
    for run in facts["runs"]:
        end = Journal(folder / run["folder"]).read()[-1]
        assert {name: run[name] for name in (metric, "loss", "seconds")} == {
            name: end[name] for name in (metric, "loss", "seconds")
        }


def test_the_same_question_again_is_nothing_to_do(whole: tuple[Path, Comparison], pairs: Path) -> None:
    folder, found = whole
    events: list[dict[str, Any]] = []
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = compare(question(pairs), folder, Listener(tell=events.append))
    assert [event["event"] for event in events] == ["plan"]
    assert again.results == found.results
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert compare(asked_in(folder), folder).results == found.results


def interrupting(when: Callable[[dict[str, Any]], bool]) -> tuple[Listener, list[dict[str, Any]]]:
    """Asks to stop from the event on that `when` knows."""
    events: list[dict[str, Any]] = []
    return Listener(events.append, lambda: any(when(event) for event in events)), events


@pytest.mark.parametrize(
    ("when", "begun", "finished"),
    [
        (lambda event: event["event"] == "run" and event["number"] == 2, 2, 1),  # as a run starts
        (lambda event: event["event"] == "result" and event["variant"] == "rms", 2, 2),  # between runs
    ],
)
def test_interrupted_it_goes_on_and_trains_nothing_twice(
    when: Callable[[dict[str, Any]], bool],
    begun: int,
    finished: int,
    whole: tuple[Path, Comparison],
    pairs: Path,
    tmp_path: Path,
) -> None:
    listener, before = interrupting(when)
    with pytest.raises(Interrupted):
        compare(question(pairs), tmp_path / "out", listener)
    assert (len(told(before, "run")), len(told(before, "result"))) == (begun, finished)
    assert "will follow" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/seed-*/model.safetensors")}
    after: list[dict[str, Any]] = []
    compare(question(pairs), tmp_path / "out", Listener(tell=after.append))
    assert len(told(after, "result")) == 4 - finished
    assert told(after, "planned") == []  # what steps cost is not tried again
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert measured(tmp_path / "out") == measured(whole[0])
    for run in whole[0].glob("*/seed-*/model.safetensors"):
        assert (tmp_path / "out" / run.relative_to(whole[0])).read_bytes() == run.read_bytes()


def test_interrupted_before_the_first_run_it_leaves_nothing(pairs: Path, tmp_path: Path) -> None:
    listener, events = interrupting(lambda event: event["event"] == "planned")
    with pytest.raises(Interrupted):
        compare(question(pairs), tmp_path / "out", listener)
    assert len(told(events, "planned")) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_only_measured(whole: tuple[Path, Comparison], pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(whole[0], tmp_path / "out")
    (tmp_path / "out/layer/seed-1.json").unlink()
    events: list[dict[str, Any]] = []
    found = compare(question(pairs), tmp_path / "out", Listener(tell=events.append))
    assert [event["event"] for event in events] == ["plan", "run", "result"]
    assert len(found.results) == 4
    assert measured(tmp_path / "out") == measured(whole[0])


def test_a_run_that_died_before_its_first_checkpoint_starts_anew(
    whole: tuple[Path, Comparison], pairs: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path / "out")
    shutil.rmtree(tmp_path / "out/rms/seed-2")
    (tmp_path / "out/rms/seed-2").mkdir()
    (tmp_path / "out/rms/seed-2/recipe.toml").write_text("half", encoding="utf-8")
    (tmp_path / "out/rms/seed-2.json").unlink()
    compare(question(pairs), tmp_path / "out")
    assert measured(tmp_path / "out") == measured(whole[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 3}, "seeds: 2 there, 3 asked for"),
        ({"budget": Budget(5, "steps")}, "budget: none there, 5steps asked for"),
        ({"changes": {"model": {"inner": 16}}}, r"model\.inner: 8 there, 16 asked for"),
    ],
)
def test_another_question_is_refused_with_what_differs(
    changes: dict[str, Any], said: str, whole: tuple[Path, Comparison], pairs: Path
) -> None:
    with pytest.raises(UsageError, match=rf"holds another comparison[\s\S]*{said}[\s\S]*--out"):
        compare(question(pairs, **changes), whole[0])


def test_other_variants_and_other_data_are_refused(whole: tuple[Path, Comparison], pairs: Path, tmp_path: Path) -> None:
    asked = question(pairs)
    other = Question(asked.variants[:1], asked.settings, asked.varied, 2)
    with pytest.raises(UsageError, match="variants: layer; rms there, layer asked for"):
        compare(other, whole[0])
    same_names = Question(tuple(named([("layer", {}), ("rms", {})])), asked.settings, asked.varied, 2)
    with pytest.raises(UsageError, match="the same names, but other settings"):
        compare(same_names, whole[0])
    copy = tmp_path / "pairs.tsv"
    shutil.copy(pairs, copy)
    compare(question(copy, seeds=1), tmp_path / "changing")
    copy.write_text(copy.read_text(encoding="utf-8") + "x\ty\n", encoding="utf-8")
    with pytest.raises(UsageError, match="the data have changed"):
        compare(question(copy, seeds=1), tmp_path / "changing")


@pytest.mark.parametrize("name", ["comparison.json", "layer/seed-1.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"question": {"seeds": 3}}', "\x00"])
def test_a_spoilt_file_is_named(
    name: str, content: str, whole: tuple[Path, Comparison], pairs: Path, tmp_path: Path
) -> None:
    for each in ("comparison.json", "layer/seed-1.json"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        shutil.copy(whole[0] / each, tmp_path / each)
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ModelFolderError, match=rf"{name}: expected what `regard compare` wrote[\s\S]*--out"):
        compare(question(pairs), tmp_path)


def test_a_folder_with_something_else_is_not_touched(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no comparison"):
        compare(question(pairs), tmp_path)
    with pytest.raises(UsageError, match=r"holds no comparison\.json"):
        asked_in(tmp_path)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ([("good", {}), ("bad", {"model": {"norm": "lairs"}})], r"variant bad: model\.norm"),
        ([("good", {}), ("bad", {"model": {"heads": 3}})], r"variant bad: model\.heads: Input should divide"),
        # each value is fine, together they cannot be built
        ([("good", {}), ("bad", {"model": {"decoder_norm": "instance"}})], "variant bad: .*instance"),
    ],
)
def test_every_variant_is_checked_before_anything_is_written(
    variants: list[tuple[str, Settings]], said: str, pairs: Path, tmp_path: Path
) -> None:
    asked = Question(tuple(named(variants)), merge(TINY, {"data": {"pairs": [str(pairs)]}}))
    with pytest.raises(RecipeError, match=said):
        compare(asked, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_faults_of_the_data_are_told_before_anything_is_written(pairs: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_bytes(b"a\tx y\nb\t\xff\n")
    for settings, said in (
        ({"data": {"pairs": [str(bad)]}}, r"bad\.tsv:2"),
        ({"data": {"valid": [str(bad)]}}, r"bad\.tsv:2"),
        ({"data": {"pairs": []}}, "give a file of pairs or --task"),
    ):
        with pytest.raises(UserError, match=said):
            compare(question(pairs, settings), tmp_path / "out")
    with pytest.raises(UsageError, match="does not pay for one step"):
        compare(question(pairs, budget=Budget(10, "flops")), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tsv"]


def test_a_question_must_vary_something() -> None:
    with pytest.raises(UsageError, match="nothing varies"):
        Question((), {})
    for seeds in (0, 100_000):
        with pytest.raises(UsageError, match="--seeds wants 1 to"):
            Question(tuple(named([("a", {})])), {}, seeds=seeds)
    with pytest.raises(UsageError, match=r"training\.steps cannot vary under a budget"):
        Question(tuple(named([("a", {})])), {}, ("training.steps",), budget=Budget(5, "steps"))


def test_a_variant_whose_loss_is_lost_has_diverged(pairs: Path, tmp_path: Path) -> None:
    wild = {"training": {"learning_rate": 1e30, "clip": "none", "optimiser": "adam", "warmup": 0}}
    asked = Question(tuple(named([("calm", {}), ("wild", wild)])), question(pairs).settings, (), 1)
    found = compare(asked, tmp_path / "out")
    assert [bool(result.fault) for result in found.results] == [False, True]
    assert verdict(found.summaries[0], found.summaries) == "best"
    assert verdict(found.summaries[1], found.summaries) == "1 of 1 diverged"
    rows = list(csv.DictReader((tmp_path / "out/results.csv").read_text(encoding="utf-8").split("\n")))
    assert [bool(row["loss"]) for row in rows] == [True, False]
    assert "the loss on the development pairs is nan" in rows[1]["fault"]
    assert "the loss on the development pairs is nan" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    events: list[dict[str, Any]] = []
    assert compare(asked, tmp_path / "out", Listener(tell=events.append)).results == found.results
    assert told(events, "run") == []


def test_all_variants_may_diverge(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(settings: Settings, run: Path, listener: Listener) -> None:
        run.mkdir(parents=True)
        raise TrainingError("lost")

    monkeypatch.setattr("regard.trainer.train", lose)
    found = compare(question(pairs, seeds=1), tmp_path / "out")
    assert [verdict(each, found.summaries) for each in found.summaries] == ["1 of 1 diverged"] * 2
    assert "No run has come to its end" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_a_generated_task_has_the_same_development_pairs_for_all_seeds(tmp_path: Path) -> None:
    _, variants = grid(["model.norm=layer"])
    settings = merge(TINY, {"data": {"task": "reverse", "task_pairs": 40, "hold_out": 0.0}, "training": {"seed": 7}})
    found = compare(Question(tuple(variants), settings, ("model.norm",), 2), tmp_path / "out")
    assert [result.seed for result in found.results] == [7, 8]
    one, two = ([(source, reference) for source, _, reference in result.answers] for result in found.results)
    assert one == two
    lines = (tmp_path / "out/development.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["source"] for line in lines if line] == [pair.source for pair in found.plan.development]
    recipes = [(tmp_path / f"out/layer/seed-{seed}/recipe.toml").read_text(encoding="utf-8") for seed in (7, 8)]
    assert recipes[0].replace("seed = 7", "seed = 8") == recipes[1]
    assert all("development.jsonl" in recipe for recipe in recipes)


def test_a_budget_of_flops_is_not_passed(pairs: Path, tmp_path: Path) -> None:
    budget = Budget(3e6, "flops")
    found = compare(question(pairs, seeds=1, budget=budget), tmp_path / "out")
    for planned, result in zip(found.plan.planned, found.results, strict=True):
        price = planned.probe.step_flops
        assert planned.steps * price <= budget.amount < (planned.steps + 1) * price
        assert result.steps == planned.steps
        assert result.flops == planned.steps * price


def test_a_budget_of_time_ends_by_the_clock(pairs: Path, tmp_path: Path) -> None:
    changes = {"training": {"checkpoint_every": 1000}}
    found = compare(question(pairs, changes, seeds=1, budget=Budget(0.5, "seconds")), tmp_path / "out")
    assert all(planned.max_minutes == 0.5 / 60 for planned in found.plan.planned)
    assert all(result.seconds >= 0.5 or result.steps == planned.steps
               for planned, result in zip(found.plan.planned, found.results, strict=True))  # fmt: skip


class Page(HTMLParser):
    """Everything in a page that could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "srcset", "href", "data", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_loads_nothing_and_runs_nothing(whole: tuple[Path, Comparison]) -> None:
    text = (whole[0] / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.links == []
    assert page.tags.count("figure") == 6
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert len(text) < 3_000_000
    shown = "".join(page.texts)
    assert EVIL in shown  # as text, not as a tag
    assert EVIL not in text


def test_the_report_shows_what_was_asked_and_found(whole: tuple[Path, Comparison]) -> None:
    text = (whole[0] / "report.html").read_text(encoding="utf-8")
    for part in ("regard compare a.tsv", "model.norm=rms", "as many steps as the settings say", "model.inner=8"):
        assert part in text
    assert text.count('<svg class="heat"') == 2  # where each variant looks
    assert "<img" not in text
    assert text.count("prefers-color-scheme: dark") == 1
    assert "will follow" not in text
