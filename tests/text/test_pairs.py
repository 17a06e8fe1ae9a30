"""Reading pairs: every form gives back what was written, every fault names its place."""

import gzip
import io
import json
import sys
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.errors import DataError, UsageError
from regard.text.lines import BadLine, read_lines
from regard.text.pairs import Pair, PairFormat, PairReader, UnequalLengths, is_blank

SKIP = PairFormat(on_bad_line="skip")
# a line of text: anything but \n, NUL and halves of surrogate pairs; a final \r would belong to the line end
LINES = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"])).map(lambda text: text.rstrip("\r"))
CELLS = LINES.filter(lambda text: "\t" not in text)
PACKINGS = st.sampled_from(["", ".gz", ".zst"])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pack(content: bytes, ending: str) -> bytes:
    """Two members where there is a packing: concatenated files are valid files."""
    half = len(content) // 2
    if ending == ".gz":
        return gzip.compress(content[:half]) + gzip.compress(content[half:])
    if ending == ".zst":
        packer = zstandard.ZstdCompressor(write_checksum=True)  # as the zstd command does
        return packer.compress(content[:half]) + packer.compress(content[half:])
    return content


def written(folder: Path, name: str, content: bytes | str, ending: str = "") -> Path:
    path = folder / (name + ending)
    path.write_bytes(pack(content.encode() if isinstance(content, str) else content, ending))
    return path


def texts(reader: PairReader) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in reader]


DEFAULT = PairFormat()


def fault(*paths: Path | str, format: PairFormat = DEFAULT) -> DataError:
    with pytest.raises(DataError) as caught:
        list(PairReader(paths, format))
    return caught.value


# every form gives back what was written


@quick
@given(pairs=st.lists(st.tuples(LINES, LINES), min_size=1), packing=PACKINGS, end=st.sampled_from(["\n", "\r\n"]))
def test_parallel_files_give_back_every_line(tmp_path, pairs, packing, end):
    left = written(tmp_path, "a.txt", "".join(source + end for source, _ in pairs), packing)
    right = written(tmp_path, "b.txt", "".join(target + end for _, target in pairs), packing)
    first = pairs[0]
    pairs[0] = (first[0].removeprefix("\ufeff"), first[1].removeprefix("\ufeff"))  # one byte order mark is dropped
    reader = PairReader([left, right])
    assert texts(reader) == pairs
    assert texts(reader) == pairs
    assert [pair.line for pair in reader] == list(range(1, len(pairs) + 1))


@quick
@given(pairs=st.lists(st.tuples(CELLS, CELLS), min_size=1), packing=PACKINGS, extra=st.booleans())
def test_tables_give_back_every_cell(tmp_path, pairs, packing, extra):
    rows = [f"\ufeff{i}\t{s}\t{t}\n" if i == 0 else f"{i}\t{s}\t{t}\n" for i, (s, t) in enumerate(pairs)]
    path = written(tmp_path, "t.tsv", "".join(rows), packing)
    assert texts(PairReader([path], PairFormat(columns=("2", "3")))) == pairs
    assert texts(PairReader([path], PairFormat(columns=("3", "2")))) == [(t, s) for s, t in pairs]
    headed = written(tmp_path, "h.tsv", "wort\tid\tlaut\r\n" + "".join(f"{s}\t0\t{t}\r\n" for s, t in pairs), packing)
    assert texts(PairReader([headed], PairFormat(columns=("wort", "laut")))) == pairs


@quick
@given(pairs=st.lists(st.tuples(LINES, LINES), min_size=1), packing=PACKINGS, ascii=st.booleans())
def test_json_lines_give_back_every_string(tmp_path, pairs, packing, ascii):
    rows = [json.dumps({"source": s, "n": 1, "target": t}, ensure_ascii=ascii) for s, t in pairs]
    path = written(tmp_path, "j.jsonl", "\n".join(rows), packing)
    assert texts(PairReader([path])) == pairs
    assert texts(PairReader([path], PairFormat(columns=("target", "source")))) == [(t, s) for s, t in pairs]


@quick
@given(lines=st.lists(st.binary(max_size=6).filter(lambda line: b"\n" not in line), min_size=1, max_size=12))
def test_skipping_keeps_both_sides_in_step(tmp_path, lines):
    """Whatever bytes stand in the left file, each pair that is left has its own number on the right."""
    if lines[0].startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"(\xb5/\xfd")):
        lines[0] = b"x"
    left = written(tmp_path, "a", b"".join(line + b"\n" for line in lines))
    right = written(tmp_path, "b", "".join(f"{number}\n" for number in range(1, len(lines) + 1)))
    reader = PairReader([left, right], SKIP)
    pairs = list(reader)
    assert all(pair.target == str(pair.line) for pair in pairs)
    assert len(pairs) + reader.skipped == len(lines)
    for number, line in enumerate(lines, 1):
        try:
            good = b"\0" not in line and line.decode() is not None
        except UnicodeDecodeError:
            good = False
        assert good == any(pair.line == number for pair in pairs)


def test_lines_end_at_line_feeds_only(tmp_path):
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\rh"
    path = written(tmp_path, "a.txt", f"{odd}\r\n\n{odd}")
    assert list(read_lines(path)) == [odd, "", odd]
    assert list(read_lines(written(tmp_path, "b.txt", "x\r"))) == ["x\r"]


def test_blank_pairs_are_kept(tmp_path):
    path = written(tmp_path, "t.tsv", "\na\tb\n\t\n \t \n\nc\t\n")
    assert texts(PairReader([path])) == [("", ""), ("a", "b"), ("", ""), (" ", " "), ("", ""), ("c", "")]
    assert texts(PairReader([written(tmp_path, "only.tsv", "\n\n")])) == [("", ""), ("", "")]
    assert texts(PairReader([written(tmp_path, "j.jsonl", '\n{"source":"","target":" "}\n')])) == [("", ""), ("", " ")]
    assert [is_blank(text) for text in ("", " \u00a0\u2028\t", "\u200b", " a ")] == [True, True, False, False]


def test_where_and_other_separators(tmp_path):
    path = written(tmp_path, "t.txt", "a ||| b\nc ||| d\n")
    reader = PairReader([str(path)], PairFormat(separator=" ||| "))
    assert reader.where(list(reader)[1]) == f"{path}:2"
    assert list(PairReader([written(tmp_path, "s.tsv", "a\tb\n")], PairFormat(separator="\\t"))) == [Pair("a", "b", 1)]


def test_a_long_line_is_read(tmp_path):
    path = written(tmp_path, "t.tsv", "x" * 5_000_000 + "\ty\n", ".gz")
    assert len(next(iter(PairReader([path]))).source) == 5_000_000


def test_memory_stays_constant(tmp_path):
    path = written(tmp_path, "t.tsv", "some words\tother words\n" * 100_000, ".gz")
    list(PairReader([written(tmp_path, "warm.tsv", "a\tb\n", ".gz")]))
    tracemalloc.start()
    count = sum(1 for _ in PairReader([path]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 24_000_000  # one chunk of a gzip file that shrank a hundredfold; the text has no say in it


# standard input


def stdin(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_stdin_can_be_read_again(monkeypatch):
    stdin(monkeypatch, b"a\tb\nc\td\n")
    reader = PairReader(["-"])
    assert texts(reader) == texts(reader) == [("a", "b"), ("c", "d")]
    assert reader.where(list(reader)[1]) == "stdin:2"
    copy = reader._files[0].path
    del reader
    assert not copy.exists()


def test_stdin_as_json_lines_one_side_and_plain_lines(monkeypatch, tmp_path):
    stdin(monkeypatch, b'{"source": "a", "target": "b"}\n')
    assert texts(PairReader(["-"])) == [("a", "b")]
    stdin(monkeypatch, b'{"a"\t"b"}\n')
    assert texts(PairReader(["-"])) == [('{"a"', '"b"}')]
    stdin(monkeypatch, b"x\ny\n")
    assert texts(PairReader(["-", written(tmp_path, "b", "1\n2\n")])) == [("x", "1"), ("y", "2")]
    stdin(monkeypatch, b"x\r\n\ny")
    assert list(read_lines("-")) == ["x", "", "y"]
    stdin(monkeypatch, b"")
    assert list(read_lines("-")) == []
    stdin(monkeypatch, b"")
    assert fault("-").where == "stdin"


# faults


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_invalid_utf8_names_line_and_offsets(tmp_path, packing):
    path = written(tmp_path, "t.tsv", b"ab\tc\nd\xc3\xa9\xff\tf\n", packing)
    found = fault(path)
    assert found.where == f"{path}:2"
    assert "byte 0xff at offset 3 of the line, 8 of the file" in found.message
    assert "--on-bad-line skip" in found.fix
    reader = PairReader([path], SKIP)
    assert texts(reader) == [("ab", "c")]
    assert reader.skipped == 1


def test_the_offset_counts_the_byte_order_mark(tmp_path):
    assert "offset 1 of the line, 4 of the file" in fault(written(tmp_path, "t", b"\xef\xbb\xbfa\xff\tb\n")).message


def test_nul(tmp_path):
    path = written(tmp_path, "t.tsv", b"a\tb\nc\0\td\n")
    assert fault(path).where == f"{path}:2"
    assert "NUL" in fault(path).message
    assert texts(PairReader([path], SKIP)) == [("a", "b")]


@pytest.mark.parametrize("text", ["\ufeffa\tb\n", "a\tb\n"])
@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf16(tmp_path, text, order):
    found = fault(written(tmp_path, "t.tsv", text.encode(order)))
    assert "UTF-16" in found.message + found.fix


def test_packed_file_under_a_plain_name(tmp_path):
    assert "gzip" in fault(written(tmp_path, "t.tsv", gzip.compress(b"a\tb\n"))).message
    assert "zstd" in fault(written(tmp_path, "z.tsv", zstandard.compress(b"a\tb\n"))).message


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@pytest.mark.parametrize("cut", [1, 7, 40])
def test_truncated_packed_file(tmp_path, packing, cut):
    lines = "".join(f"{number * 7919 % 10007}\t{number}\n" for number in range(5000))
    path = written(tmp_path, "t.tsv", lines, packing)
    path.write_bytes(path.read_bytes()[:-cut])
    found = fault(path, format=SKIP)
    assert str(path) in found.where
    assert "before its end" in found.message


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_corrupt_packed_file(tmp_path, packing):
    lines = "".join(f"{number * 7919 % 10007}\t{number}\n" for number in range(5000))
    path = written(tmp_path, "t.tsv", lines, packing)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    assert str(path) in fault(path, format=SKIP).where
    path.write_bytes(b"a\tb\n")
    assert "cannot be unpacked" in fault(path).message


def test_zero_padding_after_gzip_is_no_fault(tmp_path):
    path = written(tmp_path, "t.tsv", "a\tb\n", ".gz")
    path.write_bytes(path.read_bytes() + bytes(100))
    assert texts(PairReader([path])) == [("a", "b")]


def test_zstd_without_its_package(tmp_path, monkeypatch):
    path = written(tmp_path, "t.tsv", "a\tb\n", ".zst")
    if sys.version_info >= (3, 14):
        pytest.skip("the standard library has it")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError, match=r"pip install 'regard\[zstd\]'"):
        list(PairReader([path]))


def test_empty_files(tmp_path):
    empty, full = written(tmp_path, "e.tsv", ""), written(tmp_path, "f.tsv", "a\tb\n")
    for paths in ([empty], [empty, full], [full, empty], [empty, empty], [written(tmp_path, "e.jsonl", "", ".gz")]):
        assert "empty" in fault(*paths).message
    assert fault(full, empty).where == str(empty)
    assert "header" in fault(written(tmp_path, "h", "a\tb\n"), format=PairFormat(columns=("a", "b"))).message


def test_missing_file_and_folder(tmp_path):
    assert "no such file" in fault(tmp_path / "nowhere.tsv").message
    assert "folder" in fault(tmp_path).message


def test_column_counts(tmp_path):
    path = written(tmp_path, "t.tsv", "a\tb\nc\nd\te\tf\ng\th\n")
    assert fault(path).where == f"{path}:2"
    assert "1 column; the first line has 2" in fault(path).message
    reader = PairReader([path], SKIP)
    assert texts(reader) == [("a", "b"), ("g", "h")]
    assert reader.skipped == 2
    assert "--columns 1,2" in fault(written(tmp_path, "3.tsv", "a\tb\tc\n")).fix
    assert "--separator" in fault(written(tmp_path, "1.tsv", "a,b\n")).fix


def test_columns_that_are_not_there(tmp_path):
    path = written(tmp_path, "t.tsv", "word\tphones\na\tb\n")
    found = fault(path, format=PairFormat(columns=("word", "phone")))
    assert "nearest: 'phones'" in found.message
    assert "'word', 'phones'" in found.message
    assert found.where == f"{path}:1"
    assert "out of range" in fault(path, format=PairFormat(columns=("1", "3"))).message
    assert "out of range" in fault(path, format=PairFormat(columns=("0", "1"))).message
    assert texts(PairReader([path], PairFormat(columns=("2", "word")))) == [("b", "a")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "found a list"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"sources": "a", "target": "b"}', "nearest: 'sources'"),
        ("{}", "no key"),
        ('{"source": "a", "target": 1}', "holds a number"),
        ('{"source": null, "target": "b"}', "holds null"),
        ('{"source": "\\ud800", "target": "b"}', "surrogate"),
        ('{"source": "a\\u0000", "target": "b"}', "NUL"),
        ('{"source": "a", "target": "b\\nc"}', "line break"),
    ],
)
def test_json_faults(tmp_path, line, message):
    good = '{"source": "x", "target": "\\ud83d\\ude00"}\n'
    path = written(tmp_path, "t.jsonl", good + line + "\n" + good)
    assert fault(path).where == f"{path}:2"
    assert message in fault(path).message
    reader = PairReader([path], SKIP)
    assert texts(reader) == [("x", "😀")] * 2
    assert reader.skipped == 1


def test_unequal_lengths_say_counts_and_place(tmp_path):
    rows = [(f"zahl {n} " + "w" * (n * n % 37), f"number {n} " + "v" * (n * n % 37)) for n in range(300)]
    left = written(tmp_path, "a", "".join(source + "\n" for source, _ in rows))
    right = written(tmp_path, "b", "".join(t + "\n" for n, (_, t) in enumerate(rows) if n != 120))
    found = fault(left, right)
    assert isinstance(found, UnequalLengths)
    assert found.counts == (300, 299)
    assert "has 300 lines" in found.message
    assert "has 299" in found.message
    place = int(found.message.rsplit("line ", 1)[1])
    assert abs(place - 121) <= 5
    assert "regard check" in found.fix
    assert fault(right, left).counts == (299, 300)


def test_pairs_come_before_an_inequality_is_known(tmp_path):
    left, right = written(tmp_path, "a", "1\n2\n3\n"), written(tmp_path, "b", "1\n2\n")
    pairs = iter(PairReader([left, right]))
    assert [next(pairs).line, next(pairs).line] == [1, 2]
    with pytest.raises(UnequalLengths):
        next(pairs)


def test_read_lines_skips_or_stops(tmp_path):
    path = written(tmp_path, "t", b"a\n\xff\nb\n")
    with pytest.raises(BadLine, match="t:2"):
        list(read_lines(path))
    assert list(read_lines(path, on_bad_line="skip")) == ["a", "b"]


def test_calls_that_cannot_be_meant(tmp_path):
    plain, rows = tmp_path / "a", tmp_path / "b.jsonl.gz"
    for paths in ([], [plain] * 3, ["-", "-"], [plain, rows]):
        with pytest.raises(UsageError):
            PairReader(paths)
    with pytest.raises(UsageError):
        PairReader([plain, plain], PairFormat(columns=("1", "2")))
    for wrong in ({"separator": ""}, {"separator": "\n"}, {"on_bad_line": "warn"}, {"columns": ("1",)}):
        with pytest.raises(UsageError):
            PairFormat(**wrong)


def test_format_from_a_command_line():
    assert PairFormat.parse() == PairFormat()
    assert PairFormat.parse("word, phones", "\\t", "skip") == PairFormat(("word", "phones"), "\t", "skip")
    for columns in ("1", "1,2,3", "1,", ""):
        with pytest.raises(UsageError):
            PairFormat.parse(columns)
