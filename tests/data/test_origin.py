"""Where pairs come from: files, held-out shares, generated tasks, the dictionary, standard input."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.cli.settings import gather
from regard.config import Data, Settings, build_section
from regard.data.corpus import clear_cache
from regard.data.origin import Part, keep_stdin, open_origin, pick, require_some, task_names
from regard.errors import DataError, RecipeError, UsageError, UserError
from regard.text.pairs import Pair

SOURCES = st.lists(st.tuples(st.text("abc", max_size=4), st.text("xy ", max_size=3)), max_size=40)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def fill(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return fill


def pairs(sides: list[tuple[str, str]]) -> list[Pair]:
    return [Pair(source, target, line) for line, (source, target) in enumerate(sides, 1)]


def write(path: Path, sides: list[tuple[str, str]]) -> str:
    path.write_text("".join(f"{source}\t{target}\n" for source, target in sides), encoding="utf-8")
    return str(path)


def data(**given: object) -> Data:
    return build_section(Data, given, "data")


def given_settings(
    *paths: str,
    task: str | None = None,
    valid: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
    config: Path | None = None,
    columns: str | None = None,
    separator: str | None = None,
    on_bad_line: str | None = None,
) -> Settings:
    return gather(paths, task, valid, overrides, config, columns, separator, on_bad_line)


@given(SOURCES, st.floats(0, 0.5))
def test_no_source_stands_on_both_sides(sides: list[tuple[str, str]], share: float) -> None:
    given_pairs = pairs(sides)
    train, valid = (list(Part(given_pairs, share, held_out)) for held_out in (False, True))
    assert not {pair.source for pair in train} & {pair.source for pair in valid}
    assert sorted(train + valid, key=lambda pair: pair.line) == given_pairs
    assert [pair.line for pair in train] == sorted(pair.line for pair in train)
    if share == 0:
        assert valid == []


def test_about_the_share_is_held_out_and_more_holds_out_the_same_and_others() -> None:
    given_pairs = pairs([(f"word {number}", "x") for number in range(5000)])
    held_out = {share: list(Part(given_pairs, share, True)) for share in (0.02, 0.1, 0.5)}
    for share, chosen in held_out.items():
        assert abs(len(chosen) / 5000 - share) < 0.03
    assert set(held_out[0.02]) < set(held_out[0.1]) < set(held_out[0.5])
    assert [pair.line for pair in held_out[0.02][:4]] == PINNED


PINNED = [56, 91, 111, 181]


def test_files_with_a_share_held_out(tmp_path: Path) -> None:
    sides = [(f"w{number % 200}", f"t{number}") for number in range(400)]
    path = write(tmp_path / "pairs.tsv", sides)
    origin = open_origin(data(pairs=[path], hold_out=0.2), 1)
    train, valid = list(origin.train), list(origin.valid)
    assert sorted(train + valid, key=lambda pair: pair.line) == pairs(sides)
    assert 20 < len(valid) < 140
    assert list(origin.train) == train  # again and again
    assert origin.redraw is None
    again = open_origin(data(pairs=[path], hold_out=0.2), 99)
    assert (list(again.valid), again.content) == (valid, origin.content)
    assert open_origin(data(pairs=[path], hold_out=0.1), 1).content != origin.content
    assert open_origin(data(pairs=[path], hold_out=0.2, separator=","), 1).content != origin.content
    write(tmp_path / "pairs.tsv", [*sides[:-1], ("w199", "t398")])
    assert open_origin(data(pairs=[path], hold_out=0.2), 1).content != origin.content


def test_files_with_development_files(tmp_path: Path) -> None:
    train, valid = write(tmp_path / "a.tsv", [("a", "x")]), write(tmp_path / "b.tsv", [("b", "y")])
    origin = open_origin(data(pairs=[train], valid=[valid], hold_out=0.5), 1)
    assert (list(origin.train), list(origin.valid)) == ([Pair("a", "x", 1)], [Pair("b", "y", 1)])
    assert list(open_origin(data(task="copy", task_pairs=3, valid=[valid]), 1).valid) == [Pair("b", "y", 1)]


def test_bad_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"a\tx\nb\n\xff\tz\nc\ty\n")
    origin = open_origin(data(pairs=[str(path)], on_bad_line="skip"), 1)
    assert [pair.source for pair in origin.train] == ["a", "c"]
    assert origin.bad_lines() == 2
    with pytest.raises(DataError, match=r"pairs\.tsv:2"):
        list(open_origin(data(pairs=[str(path)]), 1).train)


@pytest.mark.parametrize("wrong", [{}, {"pairs": ["x"], "task": "copy"}, {"task": "cpoy"}])
def test_what_names_no_origin(wrong: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abcx":
        write(tmp_path / name, [("a", "b")])
    with pytest.raises(UsageError) as caught:
        open_origin(data(**wrong), 1)
    if "pairs" not in wrong:
        assert "pronounce" in str(caught.value)


def test_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    good = write(tmp_path / "good.tsv", [("a", "b")])
    for chosen in ({"pairs": [str(tmp_path / "none.tsv")]}, {"pairs": [good], "valid": [str(tmp_path / "none.tsv")]}):
        with pytest.raises(DataError, match=r"none\.tsv: no such file"):
            open_origin(data(**chosen), 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file is in this folder"):
        open_origin(data(pairs=[str(tmp_path / "empty")]), 1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="read twice"):
        open_origin(data(pairs=[str(tmp_path / "pipe")]), 1)


@pytest.mark.parametrize("task", ["copy", "sort", "reverse", "dates"])
def test_tasks_are_drawn_anew_for_each_epoch(task: str) -> None:
    origin = open_origin(data(task=task, task_pairs=200), 3)
    assert origin.redraw is not None
    first, second = origin.redraw(0), origin.redraw(1)
    assert len(first) == len(second) == 200
    assert first != second
    assert (origin.redraw(0), list(origin.train)) == (first, first)
    valid = list(origin.valid)
    long = {pair.source for pair in valid if len(pair.target) > 5}
    assert len(long) > 100
    assert not long & {pair.source for epoch in range(3) for pair in origin.redraw(epoch)}
    other = open_origin(data(task=task, task_pairs=200), 4)
    assert list(other.train) != first
    assert other.content != origin.content


def test_the_dictionary() -> None:
    origin = open_origin(data(task="pronounce"), 1)
    train, valid = list(origin.train), list(origin.valid)
    assert len(train) > 10 * len(valid) > 10_000
    assert not {pair.source for pair in train} & {pair.source for pair in valid}
    assert not set("012") & set("".join(pair.target for pair in train[:1000]))
    assert origin.redraw is None
    assert "pronounce" in task_names()


@given(SOURCES, st.integers(0, 12))
def test_picking(sides: list[tuple[str, str]], most: int) -> None:
    given_pairs = pairs(sides)
    chosen = pick(given_pairs, most)
    full = [pair for pair in given_pairs if pair.source.strip() and pair.target.strip()]
    assert pick(iter(given_pairs), most) == chosen
    assert len(chosen) == min(most, len(full))
    assert [pair.line for pair in chosen] == sorted({pair.line for pair in chosen})
    assert set(chosen) <= set(full)
    assert set(chosen) <= set(pick(given_pairs, most + 1))


def test_nothing_to_train_on() -> None:
    require_some(1, "")
    with pytest.raises(DataError, match="all are blank"):
        require_some(0, "all are blank")


# Standard input.


def test_standard_input_can_be_read_again_and_by_a_resumed_run(stdin: Callable[[bytes], None], cache: Path) -> None:
    stdin(b"a\tx\nb\ty\n")
    chosen = given_settings("-")["data"]
    stdin(b"")  # all of it was read
    wanted = [Pair("a", "x", 1), Pair("b", "y", 2)]
    contents = set()
    for _ in range(2):  # a run opens it twice, a resumed one once more
        origin = open_origin(data(**chosen), 1)
        assert list(origin.train) == list(origin.train) == wanted
        contents.add(origin.content)
    assert len(contents) == 1
    stdin(b"a\tx\nb\ty\n")
    assert given_settings("-")["data"] == chosen  # equal input is kept once, so the encoded corpus is found again
    stdin(b"a\tx\nb\tz\n")
    assert given_settings("-")["data"] != chosen
    assert len(list(cache.iterdir())) == 2


def test_standard_input_that_was_cleared_away_is_named(stdin: Callable[[bytes], None]) -> None:
    stdin(b"a\tx\n")
    kept = keep_stdin()
    clear_cache()
    with pytest.raises(DataError, match="no such file"):
        open_origin(data(pairs=[str(kept)]), 1)


def test_standard_input_with_json_lines_or_one_side(stdin: Callable[[bytes], None], tmp_path: Path) -> None:
    stdin(b'{"source": "a", "target": "x"}\n')
    assert list(open_origin(data(**given_settings("-")["data"]), 1).train) == [Pair("a", "x", 1)]
    stdin(b"a\nb\n")
    (tmp_path / "targets").write_text("x\ny\n", encoding="utf-8")
    sides = given_settings("-", str(tmp_path / "targets"))["data"]
    assert list(open_origin(data(**sides), 1).train) == [Pair("a", "x", 1), Pair("b", "y", 2)]
    stdin(b"d\tv\n")
    chosen = given_settings(write(tmp_path / "a.tsv", [("a", "x")]), valid=("-",))["data"]
    assert list(open_origin(data(**chosen), 1).valid) == [Pair("d", "v", 1)]


def test_standard_input_that_cannot_be_kept(
    stdin: Callable[[bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(b"")
    with pytest.raises(DataError, match="standard input is empty"):
        given_settings("-")
    stdin(b"\x1f\x8bpacked")
    with pytest.raises(DataError, match="stdin"):
        given_settings("-")
    with pytest.raises(UsageError, match="once"):
        given_settings("-", valid=("-",))
    with pytest.raises(UsageError, match="only once"):
        open_origin(data(pairs=["-"]), 1)
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "file"))
    stdin(b"a\tx\n")
    with pytest.raises(UserError):
        given_settings("-")


# What is said on the command line.


def test_the_more_specific_wins(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('data.task = "copy"\nmodel.layers = 1\ntraining.steps = 5\ndata.longest = 7\n', encoding="utf-8")
    found = given_settings(task="sort", overrides=("model.layers=2", "model.layers=3"), config=config)
    assert found == {"data": {"task": "sort", "longest": 7}, "model": {"layers": 3}, "training": {"steps": 5}}


def test_paths_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = given_settings("a.tsv", overrides=('data.valid=["b.tsv"]',))["data"]
    assert found == {"pairs": [str(tmp_path / "a.tsv")], "valid": [str(tmp_path / "b.tsv")]}


def test_options_of_the_format() -> None:
    found = given_settings("/a", columns=" word , phones", separator="\\t", on_bad_line="skip")["data"]
    assert found == {"pairs": ["/a"], "columns": ["word", "phones"], "separator": "\t", "on_bad_line": "skip"}
    for wrong in ({"columns": "1"}, {"on_bad_line": "ignore"}):
        with pytest.raises(UsageError):
            given_settings("/a", **wrong)


def test_wrong_settings_are_refused_before_anything_is_read(stdin: Callable[[bytes], None], cache: Path) -> None:
    stdin(b"a\tx\n")
    with pytest.raises(RecipeError, match=r"model\.layers"):
        given_settings("-", overrides=("model.layers=0",))
    assert not cache.exists()
