"""Pictures of attentions: each number at its place, one scale, every label as it is, limits that are said."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch

from made_up import TARGET_WORDS, made_up, side
from regard.errors import StorageError, UsageError
from regard.inside.result import END, START, Attention, Look
from regard.inside.words import merge
from regard.look import attention_grid, fonts
from regard.look.attention_grid import save_grid, save_map
from regard.look.fonts import OWN, families
from regard.look.heat_map import new_figure

SMALL = made_up(side(("a", "b", "c")), side(("x", "y")), layers=2, heads=3)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are made."""
    figures: list[Any] = []

    def kept(width: float, height: float) -> Any:
        figures.append(new_figure(width, height))
        return figures[-1]

    monkeypatch.setattr(attention_grid, "new_figure", kept)
    return figures


def labels(axis: Any, side: str) -> list[str]:
    return [text.get_text() for text in getattr(axis, f"get_{side}ticklabels")()]


def texts(path: Path) -> list[str]:
    """What is written in an SVG."""
    return ["".join(element.itertext()) for element in ElementTree.parse(path).iter() if element.tag.endswith("}text")]


def test_a_grid_has_each_weight_at_its_place_on_one_scale(drawn: list[Any], tmp_path: Path) -> None:
    save_grid(SMALL, tmp_path / "grid.png")
    axis, *_ = drawn[0].axes
    [image] = axis.images
    pixels, gap = image.get_array(), 1
    height, width = 3, 4  # steps, source tokens
    for layer, attention in enumerate(SMALL.of("cross")):
        for head in range(3):
            top, left = layer * (height + gap), head * (width + gap)
            assert torch.equal(
                torch.tensor(pixels.data[top : top + height, left : left + width]).float(), attention.weights[head]
            )
    assert pixels.mask.sum() == pixels.size - 2 * 3 * height * width  # nothing between the panels
    largest = max(each.weights.max().item() for each in SMALL.of("cross"))
    assert (image.norm.vmin, image.norm.vmax) == (0, largest)
    assert len(drawn[0].axes) == 2  # the other one has the bar of colours
    assert (labels(axis, "x"), labels(axis, "y")) == (["a", "b", "c", END] * 3, ["x", "y", END] * 2)
    above, right = axis.child_axes
    assert (labels(above, "x"), labels(right, "y")) == (["head 0", "head 1", "head 2"], ["layer 0", "layer 1"])
    assert drawn[0].get_suptitle().replace("\n", " ") == "runs/multi30k: cross, each step to the source"


@pytest.mark.parametrize(
    ("part", "rows", "columns"),
    [("encoder", ["a", "b", "c", END], ["a", "b", "c", END]), ("decoder", ["x", "y", END], [START, "x", "y"])],
)
def test_labels_of_the_other_parts(
    part: Any, rows: list[str], columns: list[str], drawn: list[Any], tmp_path: Path
) -> None:
    save_map(SMALL, tmp_path / "map.png", f"{part}.1.2")
    axis = drawn[0].axes[0]
    assert (labels(axis, "y"), labels(axis, "x")) == (rows, columns)
    assert torch.equal(torch.tensor(axis.images[0].get_array().data).float(), SMALL.of(part)[1].weights[2])


def test_means_of_a_layer_and_of_a_part(drawn: list[Any], tmp_path: Path) -> None:
    save_map(SMALL, tmp_path / "layer.png", "cross.1")
    save_map(SMALL, tmp_path / "part.png", "cross")
    layers = torch.stack([each.weights for each in SMALL.of("cross")])
    for figure, wanted, note in zip(
        drawn, (layers[1].mean(0), layers.mean((0, 1))), ("3 heads", "6 heads"), strict=True
    ):
        found = torch.tensor(figure.axes[0].images[0].get_array().data).float()
        assert torch.allclose(found, wanted)
        assert figure.get_suptitle().replace("\n", " ").endswith(f"mean of {note}")


def test_between_words(drawn: list[Any], tmp_path: Path) -> None:
    look = made_up(layers=1, heads=1)
    save_map(look, tmp_path / "words.png", "decoder.0.0", words=True)
    axis = drawn[0].axes[0]
    words = ["A", "man", "is", "walking", "his", "dogs", "in", "the", "park", "."]
    assert (labels(axis, "y"), labels(axis, "x")) == ([*words, END], [START, *words])
    inputs = ((0, 1), *((first + 1, past + 1) for first, past in TARGET_WORDS))
    wanted = merge(look.of("decoder")[0].weights[0], look.target.words, inputs)
    assert torch.equal(torch.tensor(axis.images[0].get_array().data).float(), wanted)
    spaced = attention_grid._joined(("␣the", "␣do", "g", "␣"), ((0, 1), (1, 3), (3, 4)))
    assert spaced == ["␣the", "dog", "␣"]


def test_layers_with_fewer_heads_leave_their_places_empty(drawn: list[Any], tmp_path: Path) -> None:
    attentions = tuple(Attention("cross", layer, torch.full((heads, 3, 4), 0.25)) for layer, heads in enumerate((1, 2)))
    look = Look("", SMALL.source, SMALL.target, SMALL.search, attentions, ())
    save_grid(look, tmp_path / "grid.png")
    assert (~drawn[0].axes[0].images[0].get_array().mask).sum() == 3 * 3 * 4
    save_map(look, tmp_path / "mean.png")
    assert drawn[1].axes[0].images[0].get_array().min() == 0.25
    assert "mean of 3 heads" in drawn[1].get_suptitle()
    with pytest.raises(UsageError, match=r"no head 'cross\.0\.1'"):
        save_map(look, tmp_path / "none.png", "cross.0.1")


def test_long_sentences_are_thinned_then_cut_and_say_so(
    drawn: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = made_up(side(tuple(f"s{place}" for place in range(60))), side(tuple("xy")), layers=2, heads=2)
    save_grid(long, tmp_path / "long.svg")
    assert labels(drawn[0].axes[0], "x") == [f"s{place}" for place in range(0, 60, 3)] + [END] + [
        f"s{place}" for place in range(0, 60, 3)
    ] + [END]
    assert list(drawn[0].axes[0].get_xticks()) == [panel + place for panel in (0, 61 + 4) for place in range(0, 61, 3)]
    monkeypatch.setattr(attention_grid, "MOST_TOKENS", 40)
    monkeypatch.setattr(attention_grid, "MOST_PANELS", 1)
    save_grid(long, tmp_path / "cut.svg")
    assert drawn[1].axes[0].images[0].get_array().shape == (3, 40)
    title = drawn[1].get_suptitle().replace("\n", " ")
    assert title.endswith("first 1 of 2 layers, first 1 of 2 heads, first 40 of 61 columns")


def test_the_largest_grid_has_a_limit() -> None:
    for tokens, panels in ((1, 1), (256, 1), (256, 32), (5, 32)):
        side = attention_grid._side(tokens, panels)
        assert panels * side <= attention_grid.MOST_TOGETHER
        assert side >= min(attention_grid.LEAST, attention_grid.MOST_TOGETHER / panels)


HARD = ("$x^2$", r"\alpha", "a$b", "</script><b>", "&amp;", "שלום", "你好", "_", "a" * 40)


def test_labels_are_drawn_as_they_are(drawn: list[Any], tmp_path: Path) -> None:
    look = made_up(side(HARD), side(("x",)), layers=1, heads=1, model="runs/$y_1$ <b>")
    save_grid(look, tmp_path / "hard.svg")
    save_grid(look, tmp_path / "hard.png")
    written = texts(tmp_path / "hard.svg")
    for label in HARD[:-1]:
        assert label in written
    assert "a" * 13 + "…" in written
    assert any("$y_1$ <b>" in text for text in written)
    assert b"</script>" not in (tmp_path / "hard.svg").read_bytes()
    assert not any(text.get_parse_math() for axis in drawn[0].axes[:1] for text in axis.get_xticklabels())


def test_fonts_for_what_the_own_one_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.font_manager import fontManager

    fonts_of_matplotlib = [entry for entry in fontManager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(fontManager, "ttflist", fonts_of_matplotlib)
    assert families(["photo graph", "ʃ ŋ θ"]) == [OWN]
    for order in (1, -1):  # in which the machine lists them: only the plain face of that family has this letter
        monkeypatch.setattr(fontManager, "ttflist", fonts_of_matplotlib[::order])
        assert families(["\N{MATHEMATICAL BOLD SCRIPT CAPITAL A}"]) == [OWN, "STIXGeneral"]
    assert families(["你"]) == [OWN]  # no font here has it
    assert fonts._has("gone.ttf", {"a"}) == set()


@pytest.mark.parametrize("save", [save_grid, save_map])
def test_what_cannot_be_drawn(save: Any, tmp_path: Path) -> None:
    recurrent = made_up(layers=1, heads=2, parts=("cross",))
    with pytest.raises(UsageError, match="no encoder attention to draw") as caught:
        save(recurrent, tmp_path / "a.png", "encoder")
    assert caught.value.fix == "there are cross.0 of 2 heads"
    with pytest.raises(UsageError, match=r"a picture is a \.png or \.svg file"):
        save(recurrent, tmp_path / "a.pdf", "cross")
    with pytest.raises(StorageError):
        save(recurrent, tmp_path / "missing" / "a.png", "cross")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["", "cross.", "cross.x", "crosses", "cross.1.2.3", "cross.-1", "cross.0.99", "cross.7"]
)
def test_names_that_there_are_not(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no head"):
        save_map(SMALL, tmp_path / "a.png", name)


def test_nothing_but_0_and_a_single_cell_can_be_drawn(drawn: list[Any], tmp_path: Path) -> None:
    alone = Attention("cross", 0, torch.zeros(1, 1, 1))
    look = Look("", side(()), side(()), SMALL.search, (alone,), ())
    save_grid(look, tmp_path / "a.png")
    save_map(look, tmp_path / "b.svg")
    assert drawn[0].axes[0].images[0].norm.vmax == 1
    assert math.isclose(drawn[1].axes[0].images[0].norm.vmax, 1)
