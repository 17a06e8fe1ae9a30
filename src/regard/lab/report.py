"""The report of a comparison: one page with the question, the tables, the pictures and each run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from regard.config import Settings, toml_value
from regard.lab.measure import Result
from regard.lab.pictures import curves, scatters
from regard.lab.plan import Plan
from regard.lab.question import leaves
from regard.lab.summary import Summary
from regard.lab.table import quality_in_words, runs, tables, varied
from regard.look import html
from regard.look.html import Table
from regard.look.svg import heat_map

MOST_LOOKS = 24  # heat maps on a page


def page(plan: Plan, results: Sequence[Result], summaries: Sequence[Summary]) -> bytes:
    """A comparison, finished or not."""
    expected = len(plan.planned) * plan.question.seeds
    return html.document(
        f"Comparison: {varied(plan)}",
        [
            html.note(f"{len(results)} of {expected} runs are in; more will follow") if len(results) < expected else "",
            f"<p>{escape(quality_in_words(plan, summaries))}</p>",
            _question(plan),
            *map(html.table, tables(plan, summaries)),
            "<h2>Curves</h2>",
            curves(plan, results),
            html.note("On the development pairs. Thin: a seed. Thick: the mean, where all seeds have a value."),
            "<h2>Quality against time and size</h2>",
            scatters(plan, results, summaries),
            html.note("Small: a run. Large: the mean with its standard deviation."),
            _looks(plan, results),
            _answers(plan, results),
            f"<details><summary>Each run</summary>{html.table(runs(plan, results))}</details>",
        ],
    )


def _question(plan: Plan) -> str:
    question = plan.question
    data = plan.data.task or ", ".join(plan.data.pairs)
    settings = ", ".join(f"{key}={_value(value)}" for key, value in leaves(question.settings) if key != "data.pairs")
    budget = str(question.budget) if question.budget else "as many steps as the settings say"
    seeds = ", ".join(map(str, question.all_seeds))
    variants = "; ".join(f"{each.name}: {_in_a_line(each.settings)}" for each in question.variants)
    found = [
        ("data", html.code(data)),
        ("varied", escape(variants)),
        ("settings for all", html.code(settings) if settings else "none"),
        ("budget of a run", escape(budget)),
        ("seeds", escape(seeds)),
        ("made with", escape(plan.made_with)),
    ]
    return html.terms([*found, ("command", html.code(plan.command))] if plan.command else found)


def _in_a_line(settings: Settings) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in leaves(settings)) or "as the others"


def _value(value: object) -> str:
    return value if isinstance(value, str) else toml_value(value)


def _looks(plan: Plan, results: Sequence[Result]) -> str:
    """The first seed of each variant on the same sentence."""
    seed = plan.question.all_seeds[0]
    shown = [result for result in results if result.look and result.seed == seed][:MOST_LOOKS]
    maps = "".join(
        f"<div><h3>{escape(result.variant)}</h3>{heat_map(result.look)}</div>" for result in shown if result.look
    )
    if not maps:
        return ""
    text = (
        f"The last attention of the decoder to the source, mean over heads, seed {seed}: rows are what the model "
        "answered, columns the source; the stronger the colour, the more. The same development sentence for all."
    )
    return f'<h2>Where they look</h2>{html.note(text)}<div class="looks">{maps}</div>'


def _answers(plan: Plan, results: Sequence[Result]) -> str:
    """What each variant makes of the same development sentences, first seed."""
    seed = plan.question.all_seeds[0]
    shown = [result for result in results if result.answers and result.seed == seed]
    if not shown:
        return ""
    rows = []
    for place, (source, _, reference) in enumerate(shown[0].answers):
        rows += [(source, "wanted", reference)]
        rows += [("", result.variant, result.answers[place][1]) for result in shown]
    title = f"Answers of seed {seed}"
    return html.table(Table(title, ("source", varied(plan), "answer"), tuple(rows), (0, 1, 2)))
