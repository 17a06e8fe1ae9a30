"""Pictures of regressions and heat maps: the right numbers at the right place, any label, and a page that runs."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention import NadarayaWatson
from regard.errors import StorageError, UsageError
from regard.look import heat_map, regression
from regard.look.heat_map import LONGEST_LABEL, draw_heat_map, new_figure, save_figure, shown
from regard.look.regression import ASKED, save_regression

PAGE = Path(__file__).parents[2] / "docs" / "attention-pooling.md"
X = torch.tensor([3.0, 1.0, 2.0, 5.0])
Y = torch.tensor([1.0, -1.0, 0.0, 2.0])
MODELS = {"average": NadarayaWatson.average(X, Y), "kernel": NadarayaWatson(X, Y, width=2.0)}


def texts(path: Path) -> list[str]:
    """What is written in an SVG."""
    return ["".join(element.itertext()) for element in ElementTree.parse(path).iter() if element.tag.endswith("}text")]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that save_regression makes."""
    figures: list[Any] = []

    def kept(width: float, height: float) -> Any:
        figures.append(new_figure(width, height))
        return figures[-1]

    monkeypatch.setattr(regression, "new_figure", kept)
    return figures


# Regressions.


def test_points_truth_and_predictions_are_drawn_where_they_are(drawn: list[Any], tmp_path: Path) -> None:
    save_regression(MODELS, torch.sin, tmp_path / "fit.png")
    points, truth, average, kernel = drawn[0].axes[0].lines
    asked = torch.linspace(1, 5, ASKED)
    for line, x, y in [
        (points, X, Y),
        (truth, asked, asked.sin()),
        (average, asked, Y.mean().expand(ASKED)),
        (kernel, asked, MODELS["kernel"].predict(asked)[0]),
    ]:
        assert list(line.get_xdata()) == pytest.approx(x.tolist())
        assert list(line.get_ydata()) == pytest.approx(y.tolist())
    labels = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert labels == ["training points", "truth", "average", "kernel"]


def test_n02_heat_maps_have_a_row_for_each_question_and_columns_in_order(drawn: list[Any], tmp_path: Path) -> None:
    save_regression(MODELS, None, tmp_path / "fit.png")
    maps = [axis.images[0] for axis in drawn[0].axes[1:3]]
    asked = torch.linspace(1, 5, ASKED)
    for image, model in zip(maps, MODELS.values(), strict=True):
        weights = torch.tensor(image.get_array().data)
        assert weights.shape == (ASKED, 4)
        assert torch.allclose(weights, model.predict(asked)[1][:, [1, 2, 0, 3]].double())
        assert (image.origin, image.norm.vmin) == ("lower", 0)
    assert maps[0].norm.vmax == maps[1].norm.vmax == pytest.approx(MODELS["kernel"].predict(asked)[1].max().item())
    assert [axis.get_title() for axis in drawn[0].axes[1:3]] == ["average\nwidth 0", "kernel\nwidth 2"]


@pytest.mark.parametrize("points", [1, 2, 3000])
def test_any_number_of_points_and_one_column_of_them(points: int, tmp_path: Path) -> None:
    x = torch.randn(points, 1, dtype=torch.float64)
    model = NadarayaWatson(x, x.sin().requires_grad_())
    save_regression({"one": model}, torch.sin, tmp_path / "fit.svg")
    assert "one" in texts(tmp_path / "fit.svg")


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 4.7, ["0", "1.22", "2.44", "3.67"]),
        (2000, 2010, ["2000", "2002.6", "2005.2", "2007.8"]),
        (0, 1e-4, ["0", "2.6e-05", "5.2e-05", "7.8e-05"]),
        (-1e6, 1e6, ["-1e+06", "-480000", "40000", "560000"]),
    ],
)
def test_ticks_have_the_digits_they_need(
    low: float, high: float, wanted: list[str], drawn: list[Any], tmp_path: Path
) -> None:
    x = torch.linspace(low, high, 51, dtype=torch.float64)
    save_regression({"one": NadarayaWatson(x, x)}, None, tmp_path / "fit.png")
    assert labels(drawn[0].axes[1], "x") == wanted


def test_any_name_of_a_regression(tmp_path: Path) -> None:
    names = [r"$\nothing$", "a $ b $ c_", "_hidden", "发音", ""]
    save_regression(dict.fromkeys(names, MODELS["kernel"]), None, tmp_path / "fit.svg")
    written = texts(tmp_path / "fit.svg")
    for name in (r"$\nothing$", "a $ b $ c_", "发音", "hidden"):
        assert name in written


OTHER = NadarayaWatson(X + 1, Y)
WIDE = NadarayaWatson(torch.ones(2, 2), torch.ones(2))
BAD: list[tuple[str, dict[str, NadarayaWatson], str]] = [
    ("one regression at least, found none", {}, "fit.png"),
    ("same training points, found others", {"a": MODELS["kernel"], "b": OTHER}, "fit.png"),
    (r"one x and one y, found x \[2, 2\] and y \[2\]", {"a": WIDE}, "fit.png"),
    (r"fit.jpeg: a picture is a .png or .svg file, found '.jpeg'", MODELS, "fit.jpeg"),
    (r"found 'no suffix'", MODELS, "fit"),
]


@pytest.mark.parametrize(("message", "models", "name"), BAD)
def test_what_cannot_be_drawn_is_explained(
    message: str, models: dict[str, NadarayaWatson], name: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=rf"(?s){message}.*fix: "):
        save_regression(models, None, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_comes_with_a_right_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fix: name it my.fit.png$"):
        save_figure(new_figure(1, 1), tmp_path / "my.fit.pdf")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        save_regression(MODELS, None, tmp_path / "no" / "fit.png")


# Heat maps.


def labels(axis: Any, side: str) -> list[str]:
    return [text.get_text() for text in getattr(axis, f"get_{side}ticklabels")()]


def test_cells_and_labels_stand_together() -> None:
    axis = new_figure(4, 4).subplots()
    image = draw_heat_map(axis, [[0.25, 0.75, 0.0]], ["q"], ["a", "b", "c"], title="t", row_name="r", column_name="c")
    assert image.get_array().tolist() == [[0.25, 0.75, 0.0]]
    assert (image.norm.vmin, image.norm.vmax, image.origin) == (0.0, 0.75, "upper")
    assert (labels(axis, "x"), labels(axis, "y")) == (["a", "b", "c"], ["q"])
    assert (axis.get_title(), axis.get_ylabel(), axis.get_xlabel()) == ("t", "r", "c")
    assert len(axis.figure.axes) == 2  # the colour bar
    other = new_figure(4, 4).subplots()
    assert draw_heat_map(other, [[0.25]], ["q"], ["a"], highest=1.0, colour_bar=False).norm.vmax == 1.0
    assert len(other.figure.axes) == 1


def test_of_many_labels_some_are_written_at_their_places() -> None:
    axis = new_figure(4, 4).subplots()
    draw_heat_map(axis, torch.eye(90).tolist(), *[[str(i) for i in range(90)]] * 2, most_labels=40)
    assert list(axis.get_xticks()) == list(axis.get_yticks()) == list(range(0, 90, 3))
    assert labels(axis, "x") == labels(axis, "y") == [str(i) for i in range(0, 90, 3)]
    few = new_figure(4, 4).subplots()
    draw_heat_map(few, torch.eye(40).tolist(), ["word"] * 40, ["x"] * 40)
    assert len(labels(few, "x")) == 40
    assert {text.get_rotation() for text in few.get_xticklabels()} == {0.0}


@pytest.mark.parametrize(("words", "width", "turned"), [(4, 4, 0.0), (15, 4, 90.0), (15, 14, 0.0), (4, 1.5, 90.0)])
def test_words_stand_upright_where_they_would_touch(words: int, width: float, turned: float) -> None:
    figure = new_figure(width, 4)
    axis = figure.subplots()
    draw_heat_map(axis, [[0.0] * words], ["x"], ["wordy"] * words)
    assert {text.get_rotation() for text in axis.get_xticklabels()} == {turned}
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axis.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


ODD = ["发音", "हिन्दी", "$", r"$\nothing$", "a_b^c", "x" * 200, "a\nb", "\x00", "", " ", "עברית", "\ud800"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_any_text_is_a_label_and_nothing_is_said(suffix: str, tmp_path: Path) -> None:
    figure = new_figure(6, 6)
    weights = torch.eye(len(ODD)).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_heat_map(figure.subplots(), weights, ODD, ODD, title="$发_\x00", row_name="$a$发", column_name="$\ud800")
        save_figure(figure, tmp_path / f"map{suffix}")
    if suffix == ".svg":
        written = texts(tmp_path / "map.svg")
        for label in (*ODD[:5], "a b", "␣", "$发_\ufffd", "$a$发", "$\ufffd", "x" * (LONGEST_LABEL - 1) + "…"):
            assert label in written


@pytest.mark.parametrize(
    ("label", "wanted"),
    [("cat", "cat"), (" the", " the"), (" ", "␣"), ("\t\n", "␣␣"), ("", ""), ("a\u2028b", "a b"), ("\x07", "\ufffd"),
     ("क\u200dष", "कष"), ("x" * 24, "x" * 24), ("x" * 25, "x" * 23 + "…"), ("发音", "发音")],
)  # fmt: skip
def test_labels_are_one_line_and_short(label: str, wanted: str) -> None:
    assert shown(label) == wanted


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (3, 0)])
def test_an_empty_map_is_an_empty_axis(rows: int, columns: int, tmp_path: Path) -> None:
    figure = new_figure(4, 4)
    draw_heat_map(figure.subplots(), [[0.0] * columns] * rows, ["r"] * rows, ["c"] * columns)
    save_figure(figure, tmp_path / "map.png")


def test_all_weights_0_or_not_a_number(tmp_path: Path) -> None:
    figure = new_figure(4, 4)
    image = draw_heat_map(figure.subplots(), [[0.0, math.nan]], ["r"], ["a", "b"])
    assert image.norm.vmax == 1.0
    save_figure(figure, tmp_path / "map.png")


@pytest.mark.parametrize("weights", [[], [[1.0]], [[1.0, 2.0], [1.0]], [[1.0, 2.0]] * 3])
def test_labels_that_do_not_fit_are_refused(weights: list[list[float]]) -> None:
    with pytest.raises(
        UsageError, match=rf"2 rows and 2 columns .* found {len(weights)} rows of .*\n  fix: give a label"
    ):
        draw_heat_map(new_figure(4, 4).subplots(), weights, ["a", "b"], ["c", "d"])


def test_pyplot_is_not_imported_and_no_state_changes(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from regard.look.heat_map import draw_heat_map, new_figure, save_figure
        assert "matplotlib" not in sys.modules
        import matplotlib
        before = matplotlib.rcParams.copy()
        figure = new_figure(3, 3)
        draw_heat_map(figure.subplots(), [[1.0]], ["a"], ["b"])
        save_figure(figure, Path(sys.argv[1]))
        assert "matplotlib.pyplot" not in sys.modules
        assert "torch" not in sys.modules
        assert matplotlib.rcParams.copy() == before
    """
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "map.svg")], check=True)
    assert "weight" in texts(tmp_path / "map.svg")


# The page for the learner.


def blocks(kind: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return found


def test_the_page_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks("python"))],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stderr, ran.stdout) == ("", "".join(blocks("text")))
    assert [path.name for path in tmp_path.iterdir()] == ["regression.png"]


def test_n02_the_page_tells_the_truth_about_more_points() -> None:
    def error(count: int, seed: int, truth: Callable[[Tensor], Tensor]) -> float:
        generator = torch.Generator().manual_seed(seed)
        x = 5 * torch.rand(count, generator=generator)
        y = truth(x) + 0.5 * torch.randn(count, generator=generator)
        asked = torch.linspace(0, 5, 200)
        return (NadarayaWatson(x, y, 2 * count**0.2).predict(asked)[0] - truth(asked)).square().mean().item()

    for count, stated in [(50, 0.06), (500, 0.02), (5000, 0.001)]:
        assert f"{stated} for {count}" in " ".join(PAGE.read_text(encoding="utf-8").split()).replace(" points", "")
        mean = sum(error(count, seed, lambda x: 2 * x.sin() + x**0.8) for seed in range(10)) / 10
        assert 0.4 * stated < mean < 2.5 * stated, (count, mean)


def test_the_modules_are_apart() -> None:
    assert not hasattr(heat_map, "torch")  # other pages draw heat maps of what is no tensor
