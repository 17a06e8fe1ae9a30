"""Verdicts and tables from results made by hand."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from by_hand import plan, result

from regard.lab.files import contents
from regard.lab.pictures import curves, scatters
from regard.lab.question import differences, read_question
from regard.lab.report import page
from regard.lab.summary import Summary, summarise, verdict
from regard.lab.table import quality_in_words, runs, short, tables, varied
from regard.look.glance import Glance
from regard.look.html import Table
from regard.look.html import table as as_html
from regard.look.svg import heat_map
from regard.look.text import WIDTH, as_text


def summaries(values: dict[str, list[float | None]], metric: str = "wer", seeds: int = 2) -> list[Summary]:
    results = [result(name, seed, value, metric) for name, each in values.items() for seed, value in enumerate(each, 1)]
    return summarise(plan(list(values), metric, seeds), results)


def verdicts(values: dict[str, list[float | None]], metric: str = "wer") -> list[str]:
    found = summaries(values, metric)
    return [verdict(each, found) for each in found]


def test_a_clear_difference_is_told_from_luck() -> None:
    # deviations 0.1 and 0.1, two each: margin 4.303 * sqrt(0.01/2 + 0.01/2) = 0.4303
    ten = [9.9292893, 10.0707107]
    assert verdicts({"a": ten, "b": [value + 0.5 for value in ten]}) == ["best", "0.50 worse"]
    assert verdicts({"a": ten, "b": [value + 0.4 for value in ten]}) == [
        "best, 1 within the spread",
        "0.40 worse, within the spread (0.43)",
    ]


def test_more_is_better_for_bleu() -> None:
    assert verdicts({"a": [10.0, 10.0], "b": [30.0, 30.0]}, "bleu") == ["20.00 worse", "best"]
    assert verdicts({"a": [10.0, 10.0], "b": [30.0, 30.0]}, "loss") == ["best", "0.20 worse"]


def test_equals_are_both_best() -> None:
    assert verdicts({"a": [0.0, 0.0], "b": [0.0, 0.0]}) == ["best, 1 within the spread"] * 2


def test_one_seed_says_so() -> None:
    assert verdicts({"a": [1.0], "b": [2.5]}) == [
        "best; one seed: no spread known",
        "1.50 worse; one seed: no spread known",
    ]


def test_diverged_runs_are_counted_and_not_averaged() -> None:
    found = summaries({"a": [1.0, 1.0], "b": [5.0, None], "c": [None, None], "d": []})
    assert [verdict(each, found) for each in found] == [
        "best; no spread known",
        "4.00 worse; no spread known, 1 of 2 diverged",
        "2 of 2 diverged",
        "no run yet",
    ]
    assert found[1].numbers["wer"].mean == 5.0
    assert found[2].behind is None


def test_the_answer_in_words() -> None:
    values: dict[str, list[float | None]] = {"a": [1.0, 1.1], "b": [1.0, 1.3], "c": [50.0, 51.0]}
    found = quality_in_words(plan(list(values)), summaries(values))
    assert found.startswith("Best by WER ↓: a with 1.05 ± 0.07.")
    assert "Worse by more than the spread: c." in found
    assert "not to be told apart from the best: b." in found
    assert "no difference can be called real" in quality_in_words(plan(["a", "b"]), summaries({"a": [1.0], "b": [2.0]}))
    assert quality_in_words(plan(["a"]), summaries({"a": [None]})) == "No run has come to its end."


def test_a_table_fits_a_terminal_whatever_the_names() -> None:
    names = ["x" * 30 + ", " + "y" * 30, "convolutional, relative_bias, instance, 128", "a"]
    found = summaries({name: [33.33, 99.99] for name in names})
    for table in tables(plan(names), found):
        text = as_text(table)
        assert max(map(len, text.split("\n"))) <= WIDTH
        for name in ("convolutional", "relative_bias"):
            assert name in text
    assert "33.33" not in as_text(tables(plan(names), found)[0])
    assert "66.66 ± 47.14" in as_text(tables(plan(names), found)[0])
    assert "1.23M" in as_text(tables(plan(names), found)[1])
    assert "88.0MB" in as_text(tables(plan(names), found)[1])


def test_text_in_a_table_is_text() -> None:
    table = Table("[b]t[/b]", ("a",), (("[red]x[/red] :smile:", "$1$"),), notes=("[i]n[/i]",))
    text = as_text(Table(table.title, ("a", "b"), table.rows, notes=table.notes))
    assert "[b]t[/b]" in text
    assert "[red]x[/red] :smile:" in text
    assert "<td>&lt;b&gt;</td>" in as_html(Table("", ("a", "b"), (("", "<b>"),)))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (7, "7"), (0.5, "0.5"), (12.34, "12.3"), (999.4, "999"), (1000, "1.00k"), (999_999, "1.00M"),
        (12_345, "12.3k"), (123_456, "123k"), (1_234_567, "1.23M"), (5.04e11, "504G"), (3e15, "3.00P"),
    ],
)  # fmt: skip
def test_three_digits_and_a_unit(number: float, text: str) -> None:
    assert short(number) == text


def test_what_varies_is_named_shortly_where_that_is_clear() -> None:
    assert varied(plan(["a"], varied=("model.norm", "model.bias"))) == "norm, bias"
    assert varied(plan(["a"], varied=("model.size", "other.size"))) == "model.size, other.size"
    assert varied(plan(["a"], varied=())) == "variant"


def test_a_report_of_nothing_yet_and_of_lost_runs() -> None:
    for results in ([], [result("a", 1, None)]):
        found = summarise(plan(["a", "b"]), results)
        text = page(plan(["a", "b"]), results, found).decode()
        assert f"{len(results)} of 4 runs are in" in text
        assert contents(plan(["a", "b"]), results, found)["results.json"]


def test_many_variants_and_odd_names_can_be_drawn() -> None:
    names = [f"_$\\frac{{{place}}}$ 语言 {'long' * 20}" for place in range(9)]
    results = [result(name, seed, 10.0 + seed) for name in names for seed in (1, 2)]
    for drawn in (curves(plan(names), results), scatters(plan(names), results, summarise(plan(names), results))):
        root = ElementTree.fromstring(f"<div>{drawn}</div>")
        assert [each.text for each in root.iter("span")] == names
        titles = [each.text or "" for each in root.iter("title")]
        assert {name for name in names if name in titles or f"{name}: 11.5 ± 0.71 at 600" in titles} == set(names)
        assert all(any(f"{name}, seed 2" in title for title in titles) for name in names)


@pytest.mark.parametrize("metric", ["loss", "bleu"])
def test_every_metric_can_be_drawn(metric: str) -> None:
    results = [result("a", seed, 10.0 + seed, metric) for seed in (1, 2)]
    drawn = ElementTree.fromstring(f"<div>{curves(plan(['a'], metric), results)}</div>")
    shown = [each.get("aria-label") for each in drawn.iter("svg") if each.get("aria-label")]
    loss, other = "loss ↓, nats a token", "BLEU ↑, percent"
    assert shown == ([loss, loss] if metric == "loss" else [loss, loss, other, other])


def test_a_curve_is_against_flops_and_against_time() -> None:
    """The runs made by hand end after 20 steps of 5 billion operations, and after 2 seconds."""
    drawn = ElementTree.fromstring(f"<div>{curves(plan(['a']), [result('a', 1, 10.0)])}</div>")
    labels = [[each.text for each in chart.iter("text")] for chart in drawn.iter("svg") if chart.get("aria-label")]
    operations, seconds = labels[:2]
    assert "FLOPs" in operations
    assert "100G" in operations
    assert "seconds of training" in seconds
    assert "2" in seconds


def test_a_heat_map_has_a_cell_for_each_weight_that_shows() -> None:
    seen = Glance(("a", "<b>", "(end)"), ("x", " "), ((0.9, 0.1, 0.0), (0.005, 0.0, 0.995)))
    svg = heat_map(seen)
    assert svg.count("<rect") == 1 + 3
    assert 'fill-opacity="0.90"' in svg
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert "␣" in svg


def test_each_run_has_a_row() -> None:
    rows = runs(plan(["a"]), [result("a", 1, 5.0), result("a", 2, None)]).rows
    assert rows[0] == ("a", "1", "5.000", "-", "0.050", "100", "600.0", "16.0k", "finished")
    assert rows[1][-1] == "the loss is nan"


def test_a_question_comes_back_from_json() -> None:
    asked = plan(["a", "b"]).question
    assert read_question(asked.as_json()) == asked
    assert differences(asked, asked) == []
