"""Experiments: what the user asks for wins, and what was found is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from quick import try_less

from regard.config import Settings
from regard.lab.budget import Budget
from regard.lab.compare import Comparison
from regard.lab.finding import Asked, Experiment, Finding, conduct, in_words, page, trained
from regard.look.html import Table
from regard.trainer import Listener

TABLE = Table("Counted", ("what", "number"), (("<b>", "1"),))
TINY: Settings = {
    "model": {"layers": 1, "size": 8, "heads": 1, "inner": 8},
    "data": {"task": "copy", "task_pairs": 30, "tokens_per_batch": 200},
    "training": {"valid_pairs": 5},
    "decoding": {"limit_factor": 0.01, "limit_extra": 2},
}


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    try_less(monkeypatch)


def judge(comparison: Comparison) -> tuple[bool | None, str]:
    return len(comparison.summaries) == 2, f"{len(comparison.results)} runs"


def experiment() -> Experiment:
    return trained(
        "bias",
        "N26",
        "a bias costs parameters",
        "no time",
        varied=["model.bias"],
        variants=[("with", {"model": {"bias": True}}), ("without", {"model": {"bias": False}})],
        settings=TINY,
        judge=judge,
        seeds=2,
        budget=Budget(2, "steps"),
    )


@pytest.mark.parametrize(("holds", "said"), [(True, "holds"), (False, "does not hold"), (None, "not decided")])
def test_a_verdict_is_one_of_three(holds: bool | None, said: str) -> None:
    finding = Finding("claim <x>", (TABLE,), holds, "measured <y>")
    assert finding.verdict == said
    assert in_words(finding).endswith(f"Measured: measured <y>\nThe claim: {said}.")
    shown = page(Experiment("name", "N1", "", "", lambda *_: finding), finding).decode()
    for part in (said, "claim &lt;x&gt;", "measured &lt;y&gt;", "<td>1</td>", "&lt;b&gt;"):
        assert part in shown


def test_a_trained_experiment_is_a_comparison_with_a_verdict(tmp_path: Path) -> None:
    finding = conduct(experiment(), tmp_path / "out", Asked(), Listener())
    assert (finding.holds, finding.text) == (True, "4 runs")
    facts = json.loads((tmp_path / "out/finding.json").read_text(encoding="utf-8"))
    assert (facts["recipe"], facts["rows"], facts["verdict"]) == ("bias", "N26", "holds")
    assert facts["tables"][0]["rows"][0][0] == "with"
    assert 'href="report.html"' in (tmp_path / "out/finding.html").read_text(encoding="utf-8")
    events: list[dict[str, object]] = []
    assert conduct(experiment(), tmp_path / "out", Asked(), Listener(tell=events.append)) == finding
    assert [event["event"] for event in events] == ["plan"]


def test_what_the_user_asks_for_wins(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"a b {n}\tc\n" for n in range(30)), encoding="utf-8")
    asked = Asked({"data": {"pairs": [str(pairs)], "hold_out": 0.2}, "model": {"inner": 9}}, 1, Budget(1, "steps"))
    conduct(experiment(), tmp_path / "out", asked, Listener())
    question = json.loads((tmp_path / "out/comparison.json").read_text(encoding="utf-8"))["question"]
    assert (question["seeds"], question["budget"]) == (1, "1steps")
    assert question["settings"]["model"]["inner"] == 9
    assert "task" not in question["settings"]["data"]


def test_an_experiment_that_trains_nothing_has_a_folder_all_the_same(tmp_path: Path) -> None:
    finding = Finding("claim", (TABLE,), None, "text")
    assert conduct(Experiment("a", "N1", "claim", "", lambda *_: finding), tmp_path / "new", Asked(), Listener())
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"finding.json", "finding.html"}
    assert "report.html" not in (tmp_path / "new/finding.html").read_text(encoding="utf-8")
