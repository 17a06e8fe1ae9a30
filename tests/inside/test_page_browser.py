"""The page of a look in a browser: each view and each way to use it, what it shows against what the look holds.

Everything runs without a network; each tab is checked at its end for requests, dialogs and errors.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor

from browsing import HOSTILE, Watched, chromium, written
from made_up import SOURCE, SOURCE_WORDS, TARGET, TARGET_WORDS, made_up, side
from regard.inside.page import embedded, page
from regard.inside.result import Alignment, Look

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
VIEWS = ("answer", "heads", "head", "lines", "steps", "opinions")
EVIL = (
    *HOSTILE,
    "\ud800",
    "__proto__",
    "",
)
# what of these is to be read on the page
LITERAL = ("</script><script>alert(1)</script>", "javascript:alert(1)", "{{7*7}}", "a[U+2028]b", "[U+202E]abc[U+2066]")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens looks with a link and returns the watched tab; all are checked and closed at the end."""
    opened: list[Watched] = []

    def open_looks(*looks: Look, link: str = "", **settings: Any) -> Watched:
        file = written(tmp_path, *looks, name=f"look{len(opened)}.html")
        opened.append(Watched(browser, file, link and f"#{link}", **settings))
        return opened[-1]

    yield open_looks
    for each in opened:
        each.close()


def two() -> tuple[Look, Look]:
    """The same source, answers that part at step 7."""
    other = made_up(
        side(SOURCE, SOURCE_WORDS), side((*TARGET[:6], "cat", "s", "on", *TARGET[9:]), TARGET_WORDS), seed=3
    )
    return made_up(), replace(other, changed=("encoder.1.2 x 0",), model="runs/other")


def weights(look: Look, part: str, layer: int, head: int) -> Tensor:
    return next(each for each in look.attentions if (each.part, each.layer) == (part, layer)).weights[head]


def text(tab: Any, selector: str) -> str:
    return str(tab.inner_text(selector))


def matrix(tab: Any, code: str) -> Tensor:
    found = tab.evaluate(f"(() => {{ const m = {code}; return [m.rows, m.columns, [...m.cells]]; }})()")
    return torch.tensor(found[2]).view(found[0], found[1])


def pressed(tab: Any, group: str) -> str:
    return str(tab.inner_text(f'[role=group][aria-label="{group}"] [aria-pressed=true]'))


# Numbers: the page computes what Python computes.


def test_heads_means_and_norms_are_those_of_the_look(show: Any) -> None:
    look = made_up(norms=True)
    tab = show(look).tab
    for each in look.attentions:
        assert each.norms is not None
        for head in range(len(each.weights)):
            place = f"0, '{each.part}', {each.layer}, {head}"
            near = {"rtol": 2e-3, "atol": 1e-5}
            assert torch.allclose(matrix(tab, f"regard.seen({place}).matrix"), each.weights[head], **near)
            norms = matrix(tab, f"regard.seen({place}, {{ measure: 'norms' }}).matrix")
            assert torch.allclose(norms, each.norms[head], **near)
    mean = torch.stack([each.weights for each in look.of("cross")]).mean((0, 1))
    assert torch.allclose(matrix(tab, "regard.seen(0, 'cross', 'mean', 'mean').matrix"), mean, rtol=2e-3, atol=1e-5)


def test_words_are_sums_of_columns_and_means_of_rows(show: Any) -> None:
    look = made_up()
    tab = show(look).tab
    rows = torch.zeros(len(look.target.words), len(look.target.tokens))
    for word, (first, last) in enumerate(look.target.words):
        rows[word, first:last] = 1 / (last - first)
    columns = torch.zeros(len(look.source.tokens), len(look.source.words))
    for word, (first, last) in enumerate(look.source.words):
        columns[first:last, word] = 1
    wanted = rows @ weights(look, "cross", 1, 2) @ columns
    found = matrix(tab, "regard.seen(0, 'cross', 1, 2, { unit: 'words' }).matrix")
    assert torch.allclose(found, wanted, rtol=2e-3, atol=1e-5)
    assert torch.allclose(found.sum(1), torch.ones(len(found)), atol=1e-3)
    decoder = matrix(tab, "regard.seen(0, 'decoder', 0, 1, { unit: 'words' }).matrix")
    assert torch.allclose(decoder.sum(1), torch.ones(len(decoder)), atol=1e-3)
    names = tab.evaluate("regard.seen(0, 'decoder', 0, 1, { unit: 'words' }).columns.map((each) => each.text)")
    assert names == ["⟨start⟩", "A", "man", "is", "walking", "his", "dogs", "in", "the", "park", "."]


def test_a_small_picture_loses_no_peak(show: Any) -> None:
    tab = show(made_up()).tab
    code = """([rows, columns, cells, tall, wide]) =>
        [...regard.pooled({ rows, columns, cells: Float32Array.from(cells) }, tall, wide)]"""
    grid = torch.rand(37, 53) ** 8
    grid[5, 50] = -2.0  # of a difference the largest change stays, whatever its sign
    found = torch.tensor(tab.evaluate(code, [37, 53, grid.flatten().tolist(), 10, 7])).view(10, 7)
    rows, columns = torch.arange(37) * 10 // 37, torch.arange(53) * 7 // 53
    for row in range(10):
        for column in range(7):
            block = grid[rows == row][:, columns == column].flatten()
            assert found[row, column] == block[block.abs().argmax()]


def test_statistics_of_a_head(show: Any) -> None:
    look = made_up()
    tab = show(look).tab
    grid = weights(look, "encoder", 0, 0)
    found = tab.evaluate("regard.statistics(regard.seen(0, 'encoder', 0, 0).matrix, 'encoder')")
    wanted = {
        "entropy": float(-(grid * grid.clamp_min(1e-30).log2()).sum(1).mean()),
        "same": float(grid.diagonal().sum() / len(grid)),
        "before": float(grid.diagonal(-1).sum() / len(grid)),
        "after": float(grid.diagonal(1).sum() / len(grid)),
        "first": float(grid[:, 0].mean()),
        "last": float(grid[:, -1].mean()),
    }
    assert found == pytest.approx(wanted, rel=2e-3, abs=1e-4)


def test_the_difference_reaches_to_where_the_answers_part(show: Any) -> None:
    first, second = two()
    tab = show(first, second, link="view=head&part=cross&layer=1&head=1&look=difference").tab
    wanted = (weights(first, "cross", 1, 1) - weights(second, "cross", 1, 1))[:7]
    found = matrix(tab, "regard.seen('difference', 'cross', 1, 1).matrix")
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, rtol=4e-3, atol=2e-3)
    encoder = matrix(tab, "regard.seen('difference', 'encoder', 0, 2).matrix")
    assert torch.allclose(encoder, weights(first, "encoder", 0, 2) - weights(second, "encoder", 0, 2), atol=1e-3)
    assert matrix(tab, "regard.seen('difference', 'decoder', 0, 2).matrix").shape == (7, 7)
    assert "The first 7 steps only" in text(tab, "#view")
    assert "Orange: more in A" in text(tab, "#view")


def test_a_difference_is_none_where_the_page_is_too_coarse_for_it(show: Any) -> None:
    first = made_up()
    near = tuple(replace(each, weights=each.weights * 0.9999) for each in first.attentions)
    tab = show(first, replace(first, attentions=near), link="view=head&look=difference&layer=1&head=0").tab
    assert "no difference that the numbers of this page could tell" in text(tab, "#view")
    assert float(matrix(tab, "regard.seen('difference', 'cross', 'mean', 'mean').matrix").abs().max()) == 0
    tab.click("#view-heads")
    assert ">1.00<" in tab.evaluate("regard.svgText()")


def test_other_sources_are_not_subtracted(show: Any) -> None:
    tab = show(made_up(), made_up(side(("Zwei", "Hunde"))), link="view=head&look=difference").tab
    assert "cannot be subtracted" in text(tab, "#view")
    tab.click("#part-1")  # the decoder reads answers, which are the same here
    assert tab.locator("#picture-difference").count() == 1


def test_colours_grow_in_lightness_for_every_kind_of_sight(show: Any) -> None:
    sights = {  # linear RGB, severity 1 (Machado et al. 2009)
        "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    tables = show(made_up()).tab.evaluate("regard.TABLE")
    for name, table in tables.items():
        colours = torch.tensor(table, dtype=torch.float64) / 255
        linear = torch.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
        for sight, rows in sights.items():
            seen = linear @ torch.tensor(rows, dtype=torch.float64).T
            light = seen.clamp(0, 1) @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)
            if name.endswith("signed"):
                sign = 1 if name == "light signed" else -1
                assert (sign * (light[127] - light[[0, -1]]) > 0.2).all(), (name, sight)
                assert (seen[0] - seen[-1]).abs().max() > 0.15, (name, sight)
            else:
                growing = light.diff() * (-1 if name == "light" else 1)
                assert (growing > -2e-3).all(), (name, sight)
                assert abs(light[-1] - light[0]) > 0.7


# What is shown, and how one moves about.


def test_the_first_screen_tells_the_answer_its_alignment_and_its_doubts(show: Any) -> None:
    look = made_up()
    tab = show(look).tab
    shown = text(tab, "main")
    assert "It wrote ing with 38 %; the next best was runs 31 %." in shown
    assert "Found by\nbeam 4" in shown
    words = tab.evaluate("[...document.querySelectorAll('.gloss')].map((each) => each.innerText.split('\\n'))")
    assert words[3] == ["walking", "32 %", "geht spazieren"]
    assert words[5] == ["dogs", "35 %", "Hunden"]
    tab.hover("#word-0-3")
    lit = tab.evaluate("[...document.querySelectorAll('.source .on')].map((each) => each.innerText)")
    assert lit == ["geht", "spazieren"]
    tab.click("#word-0-5")
    assert text(tab, ".lead") == "Step 7 writes dog with 38 %."


def test_letters_of_one_word_are_shown_by_the_strongest_attention(show: Any) -> None:
    letters, phones = tuple("photograph"), ("F", "OW1", "T", "AH0")
    look = replace(
        made_up(side(letters, ((0, 10),)), side(phones)), alignment=None, opinions={}
    )  # without spaces the whole source is one word
    tab = show(look).tab
    grid = torch.stack([each.weights for each in look.of("cross")]).mean((0, 1))
    wanted = [letters[int(row[:-1].argmax())] for row in grid[:-1]]
    found = tab.evaluate("[...document.querySelectorAll('.gloss .from')].map((each) => each.innerText)")
    assert found == [*wanted, "⟨end⟩"]
    assert "looked at most" in text(tab, "main")
    later = replace(look, alignment=Alignment(((0, 0),), "cross.1.0:next"))  # between words it says nothing here
    grid = weights(look, "cross", 1, 0)[1:4, :-1]
    wanted = [letters[int(row.argmax())] for row in grid]
    tab = show(later).tab
    found = tab.evaluate("[...document.querySelectorAll('.gloss .from')].map((each) => each.innerText)")
    assert found[:3] == wanted
    assert "cross.1.0, the step after" in text(tab, "main")


def test_views_by_mouse_and_by_number(show: Any) -> None:
    tab = show(made_up()).tab
    for place, view in enumerate(VIEWS):
        tab.click(f"#view-{view}")
        assert tab.get_attribute("nav [aria-current]", "id") == f"view-{view}"
        assert tab.evaluate("document.activeElement.id") == f"view-{view}"  # kept though all is drawn again
        tab.keyboard.press("1" if place else "2")
        tab.keyboard.press(str(place + 1))
        assert tab.evaluate("regard.state.view") == view


def test_single_keys_do_what_the_list_says_and_can_be_switched_off(show: Any) -> None:
    tab = show(made_up(norms=True), link="view=head").tab
    for key, name, value in (
        ("]", "head", 0), ("]", "head", 1), ("[", "head", 0), ("}", "layer", 0), ("}", "layer", 1), ("{", "layer", 0),
        ("p", "part", "encoder"), ("p", "part", "decoder"), ("m", "head", "mean"), ("m", "head", 0),
        ("w", "unit", "words"), ("w", "unit", "tokens"), ("n", "measure", "norms"), ("n", "measure", "weights"),
        ("c", "curve", "root"), ("c", "curve", "even"), (".", "step", 1), (".", "step", 2), (",", "step", 1),
        ("t", "theme", "dark"), ("t", "theme", "light"),
    ):  # fmt: skip
        tab.keyboard.press(key)
        assert tab.evaluate(f"regard.state.{name}") == value, (key, name)
    tab.keyboard.press("?")
    assert tab.evaluate("document.activeElement.id") == "summary-keys"
    listed = text(tab, "#folded-keys")
    assert all(key in listed for key in ("1 to 6", "[ and ]", "Esc", "space", "arrows"))
    tab.uncheck("#use-keys")
    tab.keyboard.press("2")
    assert tab.evaluate("regard.state.view") == "head"


def test_choices_by_mouse(show: Any) -> None:
    tab = show(made_up(norms=True), link="view=head").tab
    tab.click("#part-0")
    tab.select_option("#layer", "2")
    tab.select_option("#head", "3")
    assert text(tab, "h2") == "One head: encoder.2.3"
    for group, place, name in (("Numbers", 1, "Norms"), ("By", 1, "Words"), ("Colours", 1, "Spread")):
        tab.click(f"#{ {'Numbers': 'measure', 'By': 'unit', 'Colours': 'curve'}[group] }-{place}")
        assert pressed(tab, group) == name
    tab.select_option("#layer", "mean of all")
    assert text(tab, "h2") == "One head: encoder, head 3, mean of all layers"
    tab.select_option("#head", "mean of all")
    assert text(tab, "h2") == "One head: encoder, mean of all layers and heads"


def test_a_cell_is_read_by_hovering_kept_by_a_click_and_let_go(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=head&layer=1&head=2").tab
    box = tab.locator("#picture-0").bounding_box()
    places: list[tuple[int, int]] = []
    for x in range(60, 600, 90):
        tab.mouse.move(box["x"] + x, box["y"] + box["height"] / 2)
        said = text(tab, ".readout")
        tokens, number = said.rsplit(": ", 1)
        row, column = tokens.split(" looks at ")
        places.append((look.target.tokens.index(row), [*look.source.tokens].index(column)))
        cells = weights(look, "cross", 1, 2)[places[-1][0]]
        same = [float(cells[at]) for at, token in enumerate(look.source.tokens) if token == column]
        assert min(abs(float(number) - each) for each in same) < 1e-3
    assert len(set(places)) > 4
    tab.mouse.click(box["x"] + 150, box["y"] + 150)
    kept = text(tab, ".readout")
    tab.mouse.move(5, 5)
    assert text(tab, ".readout").startswith(kept.split("  (")[0])
    assert "locked" in text(tab, ".readout")
    tab.mouse.click(box["x"] + 150, box["y"] + 150)
    tab.mouse.move(5, 5)
    assert "Point at a cell" in text(tab, ".readout")


def test_a_picture_by_keyboard(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=head&layer=0&head=1").tab
    tab.focus("#picture-0")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        tab.keyboard.press(key)
    wanted = f"man looks at Mann: {float(weights(look, 'cross', 0, 1)[1, 1]):.4f}"
    assert text(tab, ".readout")[: len("man looks at Mann: ")] == wanted[: len("man looks at Mann: ")]
    assert text(tab, "#said") == text(tab, ".readout")  # read out
    tab.keyboard.press("Enter")
    assert tab.evaluate("[regard.state.row, regard.state.column]") == [1, 1]
    assert tab.evaluate("document.activeElement.id") == "picture-0"
    tab.keyboard.press("Escape")
    assert tab.evaluate("[regard.state.row, regard.state.column]") == ["", ""]


def test_all_heads_have_one_scale_and_open_large(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=heads").tab
    box = tab.locator("#picture-0").bounding_box()
    tab.mouse.move(box["x"] + 60, box["y"] + 130)
    assert text(tab, ".readout").startswith("encoder.0.0 ")
    tab.focus("#picture-0")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
    assert text(tab, ".readout").startswith("encoder.1.")
    name = text(tab, ".readout").split(" ")[0]
    tab.keyboard.press("Enter")
    assert text(tab, "h2") == f"One head: {name}"
    tab.click("#view-heads")
    tab.mouse.click(box["x"] + 60, box["y"] + 130)
    assert text(tab, "h2") == "One head: encoder.0.0"
    svg = show(look, link="view=heads").tab.evaluate("regard.svgText()")
    top = max(float(each.weights.max()) for each in look.attentions)
    assert f">{top:.2f}<" in svg


def test_lines_follow_a_token(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=lines&layer=0&head=0").tab
    tab.focus("#picture-0")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    row = weights(look, "cross", 0, 0)[1]
    best = look.source.tokens[int(row.argmax())]
    assert text(tab, ".readout").startswith(f"man looks at {best} {float(row.max()):.2f}")
    tab.keyboard.press("Enter")
    tab.mouse.move(5, 5)
    assert tab.evaluate("regard.state.row") == 1
    tab.focus("#picture-0")
    tab.keyboard.press("ArrowLeft")
    assert " is looked at by " in text(tab, ".readout")
    box = tab.locator("#picture-0").bounding_box()
    tab.mouse.move(box["x"] + box["width"] - 100, box["y"] + 70)
    assert text(tab, ".readout").startswith("A looks at ")


def test_the_player_writes_the_answer_again(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=steps").tab
    for button, step in (("on", 1), ("on", 2), ("back", 1), ("first", 0)):
        tab.click(f"#step-{button}")
        assert tab.evaluate("regard.state.step") == step
    tab.click("#token-0-4")
    step = look.steps[4]
    assert text(tab, ".lead") == f"Step 5 writes ing with {round(100 * math.exp(step.log_probability))} %."
    found = tab.evaluate("[...document.querySelectorAll('.bars .name')].map((each) => each.innerText)")
    assert found == [each.token for each in step.alternatives]
    guesses = tab.evaluate("[...document.querySelectorAll('.small tbody tr td:nth-child(2)')].map((e) => e.innerText)")
    assert guesses == [*(each.token for each in step.early), "ing"]
    tab.evaluate("document.getElementById('step-slider').value = 9")
    tab.dispatch_event("#step-slider", "input")
    assert tab.evaluate("regard.state.step") == 9
    tab.click("#step-first")
    tab.keyboard.press("Escape")
    tab.click("#step-play")
    assert tab.get_attribute("#step-play", "aria-label") == "Pause"
    tab.wait_for_timeout(2600)
    assert tab.evaluate("regard.state.step") == 2
    tab.click("#step-play")
    tab.wait_for_timeout(1400)
    assert tab.evaluate("[regard.state.step, regard.state.playing]") == [2, False]


def test_the_row_of_a_step_is_its_attention(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=steps&step=3&part=cross&layer=2&head=1").tab
    found = tab.evaluate("[...document.querySelectorAll('.shaded')].map((each) => each.title.split(': '))")
    row = weights(look, "cross", 2, 1)[3]
    assert [name for name, _ in found[: len(row)]] == list(look.source.tokens)
    assert torch.allclose(torch.tensor([float(number) for _, number in found[: len(row)]]), row, atol=1e-3)
    assert len(found) == len(row) + 4  # the decoder has read the start and three tokens
    assert "Attention cross.2.1." in text(tab, "#view")


def test_the_tree_has_every_candidate_and_why_it_died(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=steps").tab
    died = sum(each["fate"] in {"pruned", "filtered"} for step in look.search.trace for each in step["candidates"])
    tab.click("#all-0-1")
    assert pressed(tab, "Show") == f"every candidate ({died} died)"
    tab.focus("#tree-0")
    said = []
    for _ in range(12):
        tab.keyboard.press("ArrowDown")
        said.append(text(tab, ".tree .readout"))
    for each, candidate in zip(said, look.search.trace[0]["candidates"], strict=False):
        assert each.startswith(f"{candidate['token']}: ")
        assert f"total {candidate['total']:.3f}".replace("-", "−") in each
    assert "it stands in the answer" in said[0]
    assert "died: others had a higher total" in said[-1]
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert tab.evaluate("regard.state.step") == 1
    tab.click("#summary-table")
    tab.wait_for_selector("#folded-table tr")
    rows = tab.evaluate("[...document.querySelectorAll('#folded-table tr')].map((each) => each.innerText)")
    everything = sum(len(step["candidates"]) for step in look.search.trace)
    assert len(rows) == everything + 2 + len(look.steps[1].alternatives)
    assert sum(row.endswith("yes") for row in rows) == len(look.target.tokens)
    assert any("not allowed here" in row for row in rows)


def test_greedy_stands_beside_the_beam(show: Any) -> None:
    look = made_up()
    other = made_up(target=side((*TARGET[:4], "s", "cats"), None))
    greedy = replace(other.search, name="greedy", log_probability=-9.0)
    tab = show(replace(look, greedy=greedy, greedy_text="A man is walks cats"), link="view=steps").tab
    shown = text(tab, "#view")
    assert "Greedy beside beam 4" in shown
    assert "They part at step 5." in shown
    assert "The wider search found the likelier answer: log-probability −4.27 against −9.00." in shown
    forced = show(made_up(beam=0), link="view=steps").tab
    assert "the answer was given, not searched for" in text(forced, "#view")


def test_opinions_stand_beside_attention(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=opinions").tab
    assert "not why it answered" in text(tab, ".honest")
    mean = torch.stack([each.weights for each in look.of("cross")]).mean((0, 1))
    for name, values in look.opinions.items():
        same = int((values.argmax(1) == mean.argmax(1)).sum())
        wanted = f"{name.replace('_', ' ')} points to the same source token as attention in {same} of 13 rows."
        assert wanted in text(tab, "#view")
    tab.locator("#picture-0-2").hover(position={"x": 200, "y": 200})
    readouts = tab.evaluate("[...document.querySelectorAll('.readout')].map((each) => each.innerText.split(':')[0])")
    assert len(set(readouts)) == 1  # one place in all four
    assert " looks at " in readouts[0]


def test_two_answers(show: Any) -> None:
    first, second = two()
    tab = show(first, second).tab
    assert "The answers differ: 2 words only in A, 2 words only in B" in text(tab, "#view")
    marked = tab.evaluate("[...document.querySelectorAll('.differs .said')].map((each) => each.innerText)")
    assert marked == ["dogs", "in", "cats", "on"]
    assert "runs/other, with encoder.1.2 x 0, beam 4" in text(tab, "#view")
    for view in ("heads", "head", "lines"):
        tab.click(f"#view-{view}")
        for place, panes in ((0, 1), (1, 1), (2, 2), (3, 1)):
            tab.click(f"#look-{place}")
            assert tab.locator(".pane").count() == panes
            assert tab.locator(".picture").count() == panes
    tab.click("#view-steps")
    assert tab.locator(".pane").count() == 2
    tab.keyboard.press("d")
    assert tab.evaluate("regard.state.look") == "0"


# What leaves the page, and what comes back.


@pytest.mark.parametrize("view", VIEWS)
def test_a_link_shows_the_same_again(show: Any, view: str) -> None:
    link = f"view={view}&part=decoder&layer=1&head=2&unit=words&curve=root&row=2&column=1&step=3&all=yes&look=1"
    tab = show(*two(), link=link).tab
    again = tab.evaluate("regard.toLink()")
    assert set(again[1:].split("&")) == set(link.split("&")) - {"view=answer"}
    other = show(*two(), link=again[1:]).tab
    assert other.evaluate("regard.svgText()") == tab.evaluate("regard.svgText()")
    assert other.evaluate("document.getElementById('view').innerText") == text(tab, "#view")
    tab.evaluate("regard.go({ step: 5 })")
    tab.wait_for_timeout(300)
    assert "step=5" in tab.url


def test_a_link_that_says_nonsense_shows_what_there_is(show: Any) -> None:
    tab = show(made_up(), link="view=<b>&part=constructor&layer=99&head=-1&step=9999&row=x&__proto__=1&look=both").tab
    assert tab.evaluate("regard.state.view") == "answer"
    assert tab.evaluate("[regard.state.layer, regard.state.head, regard.state.step]") == ["mean", "mean", 12]
    tab.evaluate("location.hash = '#view=steps&step=2'")
    tab.wait_for_timeout(200)
    assert text(tab, ".lead").startswith("Step 3 writes")


def saved(tab: Any, name: str) -> bytes:
    with tab.expect_download() as waiting:
        tab.click(f"#save-{name}")
    return Path(waiting.value.path()).read_bytes()


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_seen_is_saved_as_pictures(show: Any, view: str) -> None:
    tab = show(made_up(), link=f"view={view}&layer=1&head=1").tab
    png = saved(tab, "PNG")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    root = ElementTree.fromstring(saved(tab, "SVG"))
    assert (float(root.get("width", 0)) * 2, float(root.get("height", 0)) * 2) == pytest.approx((width, height), abs=2)
    written_in_it = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"answer": "walking", "heads": "Encoder", "head": "spazier", "lines": "spazier"}.get(
        view, "A"
    ) in written_in_it
    assert sum(1 for _ in root) > 20


def test_the_json_is_read_back_by_python(show: Any) -> None:
    look = made_up(norms=True)
    found = Look.from_json(saved(show(look).tab, "JSON").decode())
    for name in ("model", "source", "target", "alignment", "greedy_text", "changed"):
        assert getattr(found, name) == getattr(look, name)
    for one, other in zip(found.attentions, look.attentions, strict=True):
        assert (one.part, one.layer) == (other.part, other.layer)
        assert torch.allclose(one.weights, other.weights, rtol=2e-3, atol=1e-5)
        assert torch.all((one.weights == 0) | (other.weights > 0))
        assert torch.allclose(one.norms, other.norms, rtol=2e-3, atol=1e-5)
    for name, values in look.opinions.items():
        assert torch.allclose(found.opinions[name], values, rtol=1e-3, atol=1e-5)
    assert [step.token for step in found.steps] == [step.token for step in look.steps]
    filtered = [
        each["total"] for step in found.search.trace for each in step["candidates"] if each["fate"] == "filtered"
    ]
    assert filtered
    assert set(filtered) == {-math.inf}


def test_the_table_tells_the_numbers(show: Any) -> None:
    look = made_up()
    tab = show(look, link="view=head&layer=1&head=2").tab
    tab.click("#summary-table")
    tab.wait_for_selector("#folded-table tr")
    cells = "[...document.querySelectorAll('#folded-table tr')].map((row) => [...row.cells].map((c) => c.innerText))"
    rows = tab.evaluate(cells)
    assert rows[0][1:] == list(look.source.tokens)
    assert [row[0] for row in rows[1:]] == list(look.target.tokens)
    found = torch.tensor([[float(cell) for cell in row[1:]] for row in rows[1:]])
    assert torch.allclose(found, weights(look, "cross", 1, 2), atol=1e-3)
    tab.click("#view-answer")  # it stays open, and tells the view that is seen
    assert "walking\t32 %\tgeht spazieren" in text(tab, "#folded-table")


# For everyone, everywhere.


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("looks", ["one", "two"])
def test_axe_finds_nothing_in_any_view(show: Any, scheme: str, looks: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install regard[dev]").Axe()
    seen = show(*(two() if looks == "two" else [made_up(norms=True)]), color_scheme=scheme)
    for view in VIEWS:
        seen.tab.evaluate(f"regard.go({{ view: '{view}', row: 1, column: 2, all: 'yes', step: 3 }})")
        for fold in ("table", "keys"):
            if not seen.tab.get_attribute(f"#folded-{fold}", "open"):
                seen.tab.evaluate(f"document.getElementById('folded-{fold}').open = true")
        seen.tab.wait_for_timeout(100)
        found = axe.run(seen.tab)
        assert found.violations_count == 0, found.generate_report()


def test_light_and_dark_follow_the_reader_and_the_switch(show: Any) -> None:
    seen = show(made_up(), color_scheme="dark")
    shade = "getComputedStyle(document.body).backgroundColor"
    dark = seen.tab.evaluate(shade)
    seen.tab.click("#theme")
    light = seen.tab.evaluate(shade)
    assert dark != light
    seen.tab.reload()
    assert seen.tab.evaluate(shade) == light  # remembered
    other = show(made_up(), color_scheme="light").tab
    assert other.evaluate(shade) == light
    other.emulate_media(color_scheme="dark")
    other.wait_for_timeout(300)
    assert other.evaluate(shade) == dark


@pytest.mark.parametrize("width", [320, 390, 700])
def test_a_narrow_screen_scrolls_down_only(show: Any, width: int) -> None:
    seen = show(*two(), viewport={"width": width, "height": 800})
    for view in VIEWS:
        seen.tab.evaluate(f"regard.go({{ view: '{view}' }})")
        assert seen.tab.evaluate("document.documentElement.scrollWidth") <= width, view


def test_right_to_left_runs_so(show: Any) -> None:
    arabic, hebrew = ("ذهب", "الرجل", "إلى", "السوق"), ("האיש", "הלך", "לשוק")
    look = made_up(side(arabic), side(hebrew))
    tab = show(look, link="view=head&layer=0&head=0").tab
    assert "Columns run from right to left" in text(tab, "#view")
    box = tab.locator("#picture-0").bounding_box()
    tab.focus("#picture-0")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowLeft")
    assert text(tab, ".readout").split(":")[0] == "האיש looks at الرجل"
    tab.mouse.move(box["x"] + 70, box["y"] + 80)
    assert "⟨end⟩" in text(tab, ".readout")  # the end of the source is at the left
    tab.click("#view-answer")
    places = [tab.locator(f"#word-0-{word}").bounding_box()["x"] for word in range(3)]
    assert places == sorted(places, reverse=True)
    assert tab.evaluate("['abc', 'שלום', '123', '中文', '١٢٣ abc'].map(regard.direction)") == [
        "ltr", "rtl", "ltr", "ltr", "rtl",
    ]  # fmt: skip


def test_every_character_can_be_seen(show: Any) -> None:
    tab = show(made_up()).tab
    for plain, seen in {
        "a b": "a␣b", "": "∅", "\x00\t\x7f": "␀␉␡", "\u202eabc\u2066": "[U+202E]abc[U+2066]", "a\u2028b": "a[U+2028]b",
        "\u200d": "[U+200D]", "a\u200cb": "a\u200cb", "\u0301": "\u25cc\u0301", "e\u0301": "e\u0301",
        "\ud800": "[U+D800]",
        "\ue000": "[U+E000]", "中": "中", "\u00ad": "[U+00AD]", "\U000e0041": "[U+E0041]", "👩‍👧": "👩‍👧",
    }.items():  # fmt: skip
        assert tab.evaluate("(text) => regard.token(text)", plain) == seen
    long = tab.evaluate("regard.short('x'.repeat(500))")
    assert long == "x" * 27 + "…"
    assert tab.evaluate("regard.short('e\\u0301'.repeat(28))") == "e\u0301" * 28
    assert tab.evaluate("[0.5, 0.0001, 0, 0.9999, 1].map(regard.share)") == [
        "50 %",
        "< 0.1 %",
        "0.0 %",
        "100.0 %",
        "100 %",
    ]


# Nothing in a look runs or loads anything.


def evil() -> Look:
    return replace(
        made_up(side(EVIL), side(EVIL[::-1]), model=EVIL[0]),
        changed=(EVIL[1],),
        greedy_text=EVIL[2],
        opinions={
            name: torch.rand(len(EVIL) + 1, len(EVIL) + 1) for name in (EVIL[0], "infinite", "__proto__", EVIL[6])
        },
    )


@pytest.mark.parametrize("count", [1, 2])
def test_evil_texts_are_shown_as_they_are(show: Any, count: int) -> None:
    seen = show(*[evil()] * count)
    for view in VIEWS:
        seen.tab.evaluate(f"regard.go({{ view: '{view}', all: 'yes', step: 2 }})")
        seen.tab.evaluate("document.getElementById('folded-table').open = true")
        seen.tab.wait_for_timeout(60)
        shown = text(seen.tab, "body")
        if view in {"answer", "steps", "opinions", "head"}:
            assert all(each in shown for each in LITERAL), view
        assert "\u202e" not in shown
        assert seen.tab.locator("img, svg, iframe, object, [onerror], [onload], a[href]").count() == 0
        svg = seen.tab.evaluate("regard.svgText()")
        tags = {each.tag.rpartition("}")[2] for each in ElementTree.fromstring(svg.encode("utf-8", "replace")).iter()}
        assert tags <= {"svg", "rect", "text", "path", "image"}
        back = seen.tab.evaluate("regard.jsonPieces(regard.LOOKS[0]).join('')")
    assert Look.from_json(back).source.tokens == evil().source.tokens
    assert "alert(1)" in seen.tab.title()


def test_the_saved_drawing_runs_nothing_when_opened(show: Any, browser: Any, tmp_path: Path) -> None:
    tab = show(evil(), link="view=head&layer=0&head=0").tab
    file = tmp_path / "saved.svg"
    file.write_bytes(saved(tab, "SVG"))
    opened = Watched(browser, file)
    assert opened.tab.evaluate("document.documentElement.tagName") == "svg"
    assert EVIL[3] in opened.tab.evaluate("document.documentElement.textContent")
    opened.close()


def test_the_frame_in_a_notebook_works_and_reaches_nothing(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "notebook.html"
    body = f"<!doctype html><title>notebook</title><p>{escape(EVIL[0])}</p>{embedded([evil()])}"
    file.write_text(body, encoding="utf-8")
    seen = Watched(browser, file)
    seen.requests = [url for url in seen.requests if url != "about:srcdoc"]
    frame = seen.tab.frame_locator("iframe")
    frame.locator("#view-head").click()
    assert frame.locator("h2").inner_text().startswith("One head")
    frame.locator("#theme").click()
    frame.locator("#save-link").click()
    for name, start in (("PNG", b"\x89PNG"), ("SVG", b"<?xml"), ("JSON", b'{"kind":"regard.look"')):
        with seen.tab.expect_download() as waiting:
            frame.locator(f"#save-{name}").click()
        assert Path(waiting.value.path()).read_bytes().startswith(start)
    inner = next(each for each in seen.tab.frames if each != seen.tab.main_frame)
    assert inner.evaluate("(() => { try { return parent.document.title; } catch { return 'shut'; } })()") == "shut"
    seen.close()


def test_the_policy_stops_what_is_not_the_page(show: Any) -> None:
    seen = show(made_up())
    seen.tab.evaluate(
        """() => {
        window.broken = [];
        document.addEventListener("securitypolicyviolation", (event) => window.broken.push(event.violatedDirective));
        const script = document.createElement("script");
        script.textContent = "window.evil = 1";
        const image = document.createElement("img");
        image.src = "https://example.org/x.png";
        document.body.append(script, image);
        fetch("https://example.org/").catch(() => {});
    }"""
    )
    seen.tab.wait_for_timeout(300)
    assert seen.tab.evaluate("window.evil") is None
    assert {"script-src-elem", "img-src", "connect-src"} <= set(seen.tab.evaluate("window.broken"))
    assert seen.requests == ["https://example.org/x.png"]  # refused by the policy, as the browser says in its log
    seen.requests.clear()
    seen.errors.clear()


# Models and answers of every kind.


def test_models_with_one_kind_of_attention_or_none(show: Any) -> None:
    crossing = show(made_up(parts=("cross",), layers=1, heads=1), link="view=head").tab
    assert text(crossing, "h2") == "One head: cross.0.0"
    assert crossing.locator("#part-0, #layer, #head").count() == 0  # there is nothing to choose
    encoder = show(made_up(parts=("encoder",)), link="view=heads").tab
    assert encoder.locator("#picture-0").count() == 1
    bare = show(replace(made_up(parts=(), beam=0), alignment=None, opinions={}))
    for view, says in (
        ("heads", "no attentions"),
        ("head", "no cross attention"),
        ("lines", "no cross attention"),
        ("opinions", "neither"),
    ):
        bare.tab.click(f"#view-{view}")
        assert says in text(bare.tab, "#view")
        bare.tab.evaluate("regard.svgText()")
    bare.tab.click("#view-steps")
    assert "Step 1 writes A" in text(bare.tab, "#view")


def test_empty_and_unfinished_answers(show: Any) -> None:
    empty = replace(
        made_up(target=side(()), parts=("encoder",)), target=replace(side(()), tokens=(), words=(), ends=False),
        steps=(), opinions={},
        search=replace(made_up().search, trace=(), finished=False, met=False), greedy=None, alignment=None,
    )  # fmt: skip
    seen = show(empty)
    assert "The answer is empty." in text(seen.tab, "main")
    assert "no: cut at its limit" in text(seen.tab, "main")
    for view in VIEWS:
        seen.tab.click(f"#view-{view}")
        seen.tab.evaluate("regard.svgText()")


def test_what_is_left_out_is_said(show: Any, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "small.html"
    file.write_text(page([made_up(norms=True)], keep=["cross", "encoder.2.1"], most_megabytes=0.003), encoding="utf-8")
    seen = Watched(browser, file, "#view=head&part=decoder&layer=0&head=0")
    said = text(seen.tab, "footer")
    assert "Left out to keep the page small, or by choice: encoder.2.1; all but cross, encoder.2.1." in said
    assert text(seen.tab, "h2") == "One head: cross.0.0"  # what the link asks for is not there
    seen.close()


def test_many_tokens_do_not_stop_it(show: Any) -> None:
    words = tuple(f"w{place}" for place in range(511))
    look = made_up(side(words), side(words), layers=2, heads=4)
    seen = show(look)
    slowest = """async (view) => {
        const start = performance.now();
        regard.go({ view, layer: 1, head: 1, step: 300, all: "yes" });
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        return performance.now() - start;
    }"""
    for view in VIEWS:
        assert seen.tab.evaluate(slowest, view) < 5000  # frozen is something else; benchmarks/page.py times it
    assert "Steps 281 to 320 of 512 are drawn" in seen.tab.evaluate(
        "regard.go({ view: 'steps' }), document.body.innerText"
    )
    seen.tab.evaluate("regard.go({ view: 'head' }); document.getElementById('folded-table').open = true")
    seen.tab.wait_for_timeout(300)
    assert "of each row the 5 strongest cells" in text(seen.tab, "#folded-table")
    assert seen.tab.evaluate("regard.svgText()").count("<image") == 1
    found = json.loads(seen.tab.evaluate("regard.jsonPieces(regard.LOOKS[0]).join('')"))
    assert len(found["attentions"][0]["weights"][0]) == 512
