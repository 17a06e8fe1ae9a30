"""report.html: one file that loads and runs nothing, holds every text as text, and says what was measured."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from regard.config import build_section
from regard.config.recipe import Data
from regard.look.data_report import data_event
from regard.look.report import MOST_LOOKS, MOST_NOTES, MOST_ROWS, WORST, looks, page, save_report
from regard.metrics.samples import samples
from regard.text.pairs import Pair, PairReader
from regard.text.report import report
from small import untrained

EVIL = [
    "</script><b>x</b>",
    "</style>",
    '" onload="x',
    "<!-- x",
    "שלום",
    "a\x00b\x1b[31m",
    "&lt;",
    "x" * 5000,
    "$x$ \u202e",
]
PAIRS = [Pair(f"{text} {number}", f"A {text}", number) for number, text in enumerate(EVIL)]
ANSWERS = [f"B {text}" for text in EVIL]
REASON = {"key": "model.layers", "value": "3", "why": "<i>1,550 pairs</i>"}
FINDING = {"level": "look", "title": "blanks", "detail": "<u>2</u> of them", "examples": ["a.tsv:3: <em> | "]}


def told(steps: int = 100, every: int = 50) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [
        {"event": "recipe", "pairs": 1550, "reasons": [REASON]},
        {"event": "data", "worst": "look", "sections": [FINDING]},
        {"event": "warning", "text": "<b>few</b>"},
        {"event": "start", "pairs": 1500, "steps": steps, "left_out": {"blank": 7, "too_long": 0, "bad_lines": 3}},
    ]
    for step in range(20, steps + 1, 20):
        events.append(
            {"event": "step", "step": step, "loss": 2.0, "rate": 1e-3, "gradient": 1.0, "tokens_per_second": 500}
        )
    for step in range(every, steps + 1, every):
        events.append({"event": "checkpoint", "step": step, "best": True, "loss": 1.0, "wer": 50.0, "per": 25.0})
        shown = [{**each, "answer": f"at {step}"} for each in samples(PAIRS, ANSWERS)]
        events.append({"event": "samples", "step": step, "samples": shown})
    end = {
        "event": "end",
        "step": steps,
        "seconds": 150.0,
        "published": "step 50",
        "loss": 0.25,
        "wer": 12.5,
        "per": 3.25,
    }
    return [*events, {**end, "wer_per_line": 13.5}]


class Page(HTMLParser):
    """What a browser would make of a page: its tags, all they name, and its text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.named: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(content.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.named += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.named += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


@pytest.fixture(scope="module")
def content() -> bytes:
    return page("a <run>", told(), untrained(), PAIRS, ANSWERS)


def test_it_loads_nothing_and_runs_nothing(content: bytes) -> None:
    seen, text = Page(content), content.decode()
    assert not {"script", "link", "iframe", "object", "embed", "base", "img", "form", "a", "b", "i", "em", "u"} & set(
        seen.tags
    )
    names = {name for name, _ in seen.named}
    assert not {"src", "srcset", "href", "data", "action", "xlink:href", "style"} & names
    assert not any(name.startswith("on") for name in names)
    assert not re.search(r"https?:|url\(|@import|//\w", text)
    assert "default-src 'none'" in text
    assert seen.open == []  # every tag is closed, in order


def test_every_text_is_shown_as_it_is(content: bytes) -> None:
    seen = Page(content)
    for text in ("</script><b>x</b> 0", "A </style>", 'B " onload="x', "<!-- x 3", "שלום 4", "&lt; 6", "$x$ \u202e 8"):
        assert text in seen.text, text
    assert "a\ufffdb\ufffd[31m 5" in seen.text
    assert "\x00" not in seen.text
    assert "x" * 299 + "…" in seen.text
    assert "x" * 301 not in seen.text
    assert all(
        text in seen.text for text in ("<i>1,550 pairs</i>", "<u>2</u> of them", "a.tsv:3: <em> | ", "<b>few</b>")
    )
    assert ("dir", "auto") in seen.named  # text from right to left turns no table round


def test_it_says_what_was_measured_with_units(content: bytes) -> None:
    text = Page(content).text
    for part in (
        "100 steps, in 2.5 minutes, 500 tokens a second (median)",
        "step 50",
        "% of outputs not exactly right",
        "WER, per line",
        "nats a token",
        "1,500 training pairs; left out: 7 blank on a side, 3 not readable",
        "of 9 development pairs".capitalize(),
        'kind = "characters"',
    ):
        assert part in text, part


def test_curves_of_all_that_was_told(content: bytes) -> None:
    text = content.decode()
    titles = re.findall(r'<svg class="chart"[^>]*aria-label="([^"]*)"', text)
    assert titles == [
        "loss, nats a token",
        "development pairs, decoded, percent",
        "learning rate",
        "length of the gradient before clipping",
        "speed, tokens a second",
    ]
    assert "<title>WER at 50: 50</title>" in text
    assert 0 < len(re.findall(r'<svg class="heat"', text)) <= MOST_LOOKS


def rows_of(content: bytes, title: str) -> list[list[str]]:
    """The table under a title, as texts."""
    table = content.decode().partition(f"<h2>{title}</h2>")[2].partition("</table>")[0].partition("<tbody>")[2]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in table.split("</tr>") if "<td" in row]


def test_answers_through_time_are_merged_and_few() -> None:
    rows = rows_of(page("r", told(2000, 50), untrained(), PAIRS, ANSWERS), "Answers through time")
    first = [row[1] for row in rows[: rows.index(next(row for row in rows if row[1] == "published")) + 1]]
    assert first[0] == "wanted"
    assert (first[1], first[-2], first[-1]) == ("50", "2,000", "published")
    assert len(first) == MOST_ROWS + 2
    same = told(150, 50)
    for event in same:
        if event["event"] == "samples" and event["step"] < 150:
            event["samples"] = [{**each, "answer": "<same>"} for each in event["samples"]]
    rows = rows_of(page("r", same, untrained(), PAIRS, ANSWERS), "Answers through time")
    assert [row[1:] for row in rows[1:3]] == [["50 to 100", "&lt;same&gt;"], ["150", "at 150"]]


def test_the_worst_come_first() -> None:
    pairs = [Pair(f"s{number}", "A B C D", number) for number in range(30)]
    answers = ["A B C D" if number == 7 else "A B C" if number % 2 else "E F G H I" for number in range(30)]
    rows = rows_of(page("r", [], untrained(), pairs, answers), "Furthest from right")
    assert len(rows) == WORST
    assert rows[0] == ["s0", "E F G H I", "A B C D", "125.0", "5"]
    assert rows[15] == ["s1", "A B C", "A B C D", "25.0", "1"]
    assert all(row[0] != "s7" for row in rows)


def test_the_worst_text_is_that_of_the_lowest_chrf() -> None:
    text = untrained({"training": {"metric": "bleu"}, "tokenizer": {"target": {"kind": "words"}}})
    pairs = [Pair("a", "the cat sat", 1), Pair("b", "the dog ran far away from here", 2), Pair("c", "right", 3)]
    rows = rows_of(page("r", [], text, pairs, ["the cat sit", "zzz", "right"]), "Furthest from right")
    assert [row[0] for row in rows] == ["b", "a"]
    assert rows[0][3] == "0.0"


def test_a_run_of_which_nothing_is_known_has_a_page(tmp_path: Path) -> None:
    save_report(tmp_path, [], untrained(), [], [])
    seen = Page((tmp_path / "report.html").read_bytes())
    assert "Run: " in seen.text
    assert "Curves" not in seen.text


def test_big_runs_stay_small_pages() -> None:
    pairs = [Pair(f"{'s' * (number % 50)} {number}", "A " * 400, number) for number in range(3000)]
    events = told(100_000, 1000) + [{"event": "warning", "text": "w" * 1000}] * (MOST_NOTES + 50)
    before = time.monotonic()
    content = page("r", events, untrained(), pairs, ["B " * 400] * 3000)
    assert len(content) < 400_000
    assert time.monotonic() - before < 10  # 1 s alone; other tests run beside it
    assert "The first 100 of 151." in content.decode()


def test_pictures_are_of_short_sources_only() -> None:
    translator = untrained()
    assert looks(translator, [Pair("lazy dog " * 10, "A", 1)]) == []
    [seen] = looks(translator, [Pair("dog", "A", 1)])
    assert seen.source == ("d", "o", "g", "⟨end⟩")


def data(**settings: Any) -> Data:
    return build_section(Data, settings, "data")


def test_the_data_event_is_what_check_finds(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\nc\t\na\tb\n", encoding="utf-8")
    event = data_event(data(pairs=[str(path)]))
    found = report(PairReader([str(path)]))
    assert event is not None
    assert event["worst"] == found.worst
    assert [(each["level"], each["title"], each["detail"]) for each in event["sections"]] == [
        (each.level, each.title, each.detail) for each in found.sections
    ]


def test_large_files_are_not_read_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\n" * 10, encoding="utf-8")
    event = data_event(data(pairs=[str(path)], valid=[str(path)]), most_bytes=60)
    assert event is not None
    assert f"`regard check {path} --valid {path}`" in event["sections"][0]["detail"]


def test_tasks_have_no_files_to_check() -> None:
    assert data_event(data(task="reverse")) is None
