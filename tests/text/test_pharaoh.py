"""Alignments as text: gold links, and lines that stay with their pairs whatever is left out or in how many files."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.errors import DataError
from regard.text.pairs import Links, PairFormat
from regard.text.pharaoh import Gold, LinkedPairs
from regard.text.shards import open_pairs


def test_sure_and_possible_links() -> None:
    gold = Gold.parse(Links("0-0 2?1  1p1 3-2", "gold:1"))
    assert gold.sure == {(0, 0), (3, 2)}
    assert gold.possible == {(0, 0), (2, 1), (1, 1), (3, 2)}
    assert Gold.parse(Links("1-1 3?2", "gold:1"), first=1) == Gold(frozenset({(0, 0)}), frozenset({(0, 0), (2, 1)}))
    assert Gold.parse(Links("", "gold:1")) == Gold(frozenset(), frozenset())


@pytest.mark.parametrize("text", ["0", "0-", "0-x", "-1-2", "0=1", "0-1-2", "0-1,2-3", "٣-٤"])
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(DataError, match=r"gold:7.*is no link"):
        Gold.parse(Links(text, "gold:7"))


def test_links_from_1_have_no_0() -> None:
    with pytest.raises(DataError, match="counted from 1"):
        Gold.parse(Links("0-1", "gold:7"), first=1)


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def linked(paths: list[str], links: list[str], columns: str | None = None, bad: str = "error") -> list[tuple[str, str]]:
    pairs = LinkedPairs(open_pairs(paths, PairFormat.parse(columns, on_bad_line=bad)), links)
    return [(pair.source, pair.links.text if pair.links else "none") for pair in pairs]


def test_each_pair_has_its_line_with_headers_blanks_and_bad_lines(tmp_path: Path) -> None:
    one = write(tmp_path / "1.tsv", "x\ty", "a\tA", "", "b\tB", "bad", "c\tC")
    two = write(tmp_path / "2.tsv", "x\ty", "d\tD")
    three = write(tmp_path / "3.tsv", "x\ty", "bad", "e\tE")
    links = write(tmp_path / "links", "a-a", "blank", "b-b", "bad", "c-c", "d-d", "bad", "e-e")
    wanted = [("a", "a-a"), ("", "blank"), ("b", "b-b"), ("c", "c-c"), ("d", "d-d"), ("e", "e-e")]
    assert linked([one, two, three], [links], "x,y", "skip") == wanted
    assert linked([one], [write(tmp_path / "one", "a-a", "blank", "b-b", "bad", "c-c")], "x,y", "skip") == wanted[:4]
    parts = [write(tmp_path / "l1", "a-a", "blank", "b-b", "bad", "c-c"), write(tmp_path / "l2", "d-d", "bad", "e-e")]
    assert linked([one, two, three], parts, "x,y", "skip") == wanted
    plain = write(tmp_path / "plain.tsv", "a\tA", "b\tB")
    assert linked([plain], [write(tmp_path / "two", "a-a", "b-b")], "1,2") == [("a", "a-a"), ("b", "b-b")]


def test_two_files_and_json_lines(tmp_path: Path) -> None:
    links = write(tmp_path / "links", "a-a", "b-b")
    sides = [write(tmp_path / "x", "a", "b"), write(tmp_path / "y", "A", "B")]
    assert linked(sides, [links]) == [("a", "a-a"), ("b", "b-b")]
    objects = write(tmp_path / "p.jsonl", '{"x": "a", "y": "A"}', '{"x": "b", "y": "B"}')
    assert linked([objects], [links], "x,y") == [("a", "a-a"), ("b", "b-b")]


@pytest.mark.parametrize(("lines", "place"), [(["a"], "links:2"), (["a", "b", "c"], "links:3")])
def test_other_numbers_of_lines_are_refused_before_any_pair(tmp_path: Path, lines: list[str], place: str) -> None:
    pairs = write(tmp_path / "p.tsv", "a\tA", "b\tB")
    with pytest.raises(DataError, match=rf"{place}.*{len(lines)} lines of alignments for 2 lines of pairs"):
        linked([pairs], [write(tmp_path / "links", *lines)])


def test_the_place_is_in_the_right_one_of_several_files(tmp_path: Path) -> None:
    pairs = write(tmp_path / "p.tsv", *("a\tA" for _ in range(5)))
    links = [write(tmp_path / name, "0-0", "0-0") for name in ("links1", "links2", "links3")]
    with pytest.raises(DataError, match="links3:2: 6 lines"):
        linked([pairs], links)
