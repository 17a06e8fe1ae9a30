"""A corpus in many files is read as if it were one."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from regard.errors import DataError, UsageError
from regard.text.pairs import Pair, PairFormat, PairReader
from regard.text.shards import open_pairs

FORM = PairFormat()


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Three files of three kinds, and a hidden one."""
    paths = [tmp_path / name for name in ("a.tsv", "b.jsonl", "c.tsv.gz")]
    paths[0].write_text("a\tx\nb\ty\n", encoding="utf-8")
    paths[1].write_text('{"source": "c", "target": "z"}\n', encoding="utf-8")
    paths[2].write_bytes(gzip.compress(b"\t\nd\tw\n"))
    (tmp_path / ".hidden").write_text("nothing", encoding="utf-8")
    return paths


def test_a_folder_is_its_files_in_order(shards: list[Path], tmp_path: Path) -> None:
    whole = [Pair("a", "x", 1), Pair("b", "y", 2), Pair("c", "z", 3), Pair("", "", 4), Pair("d", "w", 5)]
    for reader in (open_pairs([tmp_path], FORM), open_pairs(shards, FORM)):
        assert list(reader) == list(reader) == whole
        assert [reader.where(pair).rpartition("/")[2] for pair in whole] == [
            "a.tsv:1", "a.tsv:2", "b.jsonl:1", "c.tsv.gz:1", "c.tsv.gz:2",
        ]  # fmt: skip


def test_one_file_and_two_parallel_ones_are_as_ever(shards: list[Path], tmp_path: Path) -> None:
    assert type(open_pairs(shards[:1], FORM)) is PairReader
    left, right = tmp_path / "left", tmp_path / "right"
    left.write_text("a\n", encoding="utf-8")
    right.write_text("b\n", encoding="utf-8")
    assert list(open_pairs([left, right], FORM)) == [Pair("a", "b", 1)]


def test_a_fault_names_the_file_and_skipped_lines_are_counted_over_all(shards: list[Path]) -> None:
    shards[0].write_text("a\tx\nb\n", encoding="utf-8")
    shards[1].write_text("{\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.tsv:2"):
        list(open_pairs(shards, FORM))
    reader = open_pairs(shards, PairFormat(on_bad_line="skip"))
    assert [pair.line for pair in reader] == [1, 4, 5]
    assert reader.skipped == 2


def test_folders_without_files_and_standard_input_are_refused(shards: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file is in this folder"):
        open_pairs([tmp_path / "empty"], FORM)
    with pytest.raises(UsageError, match="standard input"):
        open_pairs([*shards, "-"], FORM)
