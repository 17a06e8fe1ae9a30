"""What `regard check` finds: a small corpus made for every question, and slips injected into made-up parallel text."""

import json
import math
import random
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from regard.cli.check import check
from regard.text.drift import DriftFinder
from regard.text.pairs import PairFormat, PairReader
from regard.text.report import Finding, Report, report, visible

Texts = list[str]
TRIALS = 40


def reader(folder: Path, name: str, rows: list[tuple[str, str]] | str | bytes, skip: bool = False) -> PairReader:
    path = folder / name
    if isinstance(rows, list):
        rows = "".join(f"{source}\t{target}\n" for source, target in rows)
    path.write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    return PairReader([path], PairFormat(on_bad_line="skip" if skip else "error"))


def found(report: Report, title: str) -> Finding:
    (finding,) = [finding for finding in report.sections if finding.title == title]
    return finding


def numbered(count: int) -> list[tuple[str, str]]:
    """Good pairs, no two alike."""
    return [(f"source {n} {'a' * (n % 7)}", f"target {n} {'b' * (n % 7)}") for n in range(count)]


# the questions


def test_good_data_is_ok(tmp_path):
    result = report(reader(tmp_path, "a.tsv", numbered(2000)))
    assert result.worst == "ok"
    assert "2,000 pairs" in found(result, "counts").detail


def test_few_and_none(tmp_path):
    assert found(report(reader(tmp_path, "a.tsv", numbered(10))), "counts").level == "look"
    assert found(report(reader(tmp_path, "b.tsv", "\n\t\n")), "counts").level == "wrong"


def test_lengths(tmp_path):
    rows = [("a" * n, "b" * n) for n in range(1, 101)]
    finding = found(report(reader(tmp_path, "a.tsv", rows)), "lengths")
    assert "source 50 (half), 90 (90 %), 99 (99 %), 100 (longest)" in finding.detail
    assert finding.level == "ok"
    finding = found(report(reader(tmp_path, "b.tsv", [*rows, ("x" * 5000, "y" * 5000)])), "lengths")
    assert finding.level == "look"
    assert "b.tsv:101" in finding.examples[0]


def test_symbols(tmp_path):
    rows = [("tab\x07", "a\u00a0b"), ("\ue000", "\ufffd"), ("zero\u200bwidth", "e\u0301"), ("é", "line\u2028sep")]
    finding = found(report(reader(tmp_path, "a.tsv", rows)), "symbols")
    assert finding.level == "look"
    shown = "\n".join(finding.examples)
    for wanted in (
        "U+0007 (control character)",
        "U+00A0 (no-break space)",
        "U+E000 (private use)",
        "U+FFFD (replacement",
        "U+200B (invisible)",
        "U+2028 (line separator)",
        "target: 1 lines are not in the form NFC",
    ):
        assert wanted in shown
    assert "\x07" not in shown
    assert "first on line 1" in shown


def test_blanks(tmp_path):
    rows = [*numbered(9), ("", "x"), ("y", " "), ("z", ""), ("", "")]
    finding = found(report(reader(tmp_path, "a.tsv", rows)), "blanks")
    assert finding.level == "look"
    assert "blank source 1, blank target 2, both 1" in finding.detail
    assert [example.split(": ")[0][-2:] for example in finding.examples] == ["10", "11", "12"]
    assert found(report(reader(tmp_path, "b.tsv", [*numbered(9), ("", "")])), "blanks").level == "ok"


def test_duplicates_and_conflicting_targets(tmp_path):
    rows = [*numbered(5), ("a", "x"), ("a", "y"), ("a", "x"), ("b", "x"), ("", ""), ("", "")]
    result = report(reader(tmp_path, "a.tsv", rows))
    assert "1 of 9 pairs" in found(result, "duplicates").detail
    assert found(result, "duplicates").examples[0].endswith("a.tsv:8: a | x")
    assert "1 of 7 sources" in found(result, "conflicting targets").detail
    assert [line[-5:] for line in found(result, "conflicting targets").examples] == ["a | x", "a | y"]


def test_length_ratio_and_same(tmp_path):
    rows = [*numbered(50), ("short", "l" * 200), ("copy", "copy")]
    result = report(reader(tmp_path, "a.tsv", rows))
    assert found(result, "length ratio").level == "look"
    assert "a.tsv:51" in found(result, "length ratio").examples[0]
    assert found(result, "source = target").level == "look"
    assert "a.tsv:52" in found(result, "source = target").examples[0]


def test_overlap_and_unseen_characters(tmp_path):
    train = reader(tmp_path, "train.tsv", numbered(100))
    valid = reader(tmp_path, "valid.tsv", [(f"new{n}", "x") for n in range(20)])
    test = reader(tmp_path, "test.tsv", [*numbered(3), ("née", "ﬁ"), ("new1", "x")])
    result = report(train, valid, test)
    assert found(result, "valid: overlap with train").level == "ok"
    assert found(result, "test: overlap with train").level == "wrong"
    assert "3 of 5 pairs" in found(result, "test: overlap with train").detail
    assert found(result, "test: overlap with valid").level == "wrong"
    unseen = found(result, "test: characters not in train")
    assert unseen.level == "look"
    assert "é (U+00E9, 1 times)" in unseen.examples[0]
    same_sources = reader(tmp_path, "s.tsv", [(numbered(8)[7][0], "another"), *((f"w{n}", "x") for n in range(9))])
    assert found(report(train, test=same_sources), "test: overlap with train").level == "look"


# what cannot be read becomes a finding


def test_bad_lines_are_reported_together(tmp_path):
    content = b"a\tb\n\xff\tc\nd\ne\tf\n"
    result = report(reader(tmp_path, "a.tsv", content))
    finding = found(result, "bad lines")
    assert finding.level == "wrong"
    assert "2 lines" in finding.detail
    assert "a.tsv:2: invalid UTF-8" in finding.examples[0]
    assert "a.tsv:3: 1 column" in finding.examples[1]
    assert "2 pairs" in found(result, "counts").detail
    assert found(report(reader(tmp_path, "a.tsv", content, skip=True)), "bad lines").level == "look"


def test_unreadable_files_are_findings(tmp_path):
    for bad in (PairReader([tmp_path / "nowhere"]), reader(tmp_path, "e.tsv", ""), reader(tmp_path, "1.tsv", "a\nb\n")):
        result = report(bad)
        assert result.worst == "wrong"
        assert found(result, "reading").examples
    result = report(reader(tmp_path, "t.tsv", numbered(5)), test=PairReader([tmp_path / "nowhere"]))
    assert found(result, "test: reading").level == "wrong"
    assert found(result, "train: counts").level == "look"


def test_unequal_lengths_are_a_finding_with_the_place(tmp_path):
    left, right = parallel(random.Random(3), 400)
    del right[200]
    result = report(files(tmp_path, left, right))
    assert found(result, "equal lengths").level == "wrong"
    assert "400 lines" in found(result, "equal lengths").detail
    finding = found(result, "in step")
    assert finding.level == "wrong"
    assert "1 line earlier" in finding.detail
    left, right = parallel(random.Random(3), 400)
    result = report(files(tmp_path, left, right[:-1]))
    assert found(result, "equal lengths").level == "wrong"
    assert "at the end" in found(result, "in step").detail


# where two sides slip out of step


def vocabulary(letters: str) -> Texts:
    rng = random.Random(0)
    return ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(5000)]


LATIN, CYRILLIC = vocabulary("abcdefghijklmnopqrstuvwxyz"), vocabulary("абвгдежзиклмнопрстуфхц")


def parallel(rng: random.Random, count: int, noise: float = 0.2) -> tuple[Texts, Texts]:
    """Made-up words; the lengths of both sides go together with noise, some numbers and most final marks too."""
    left, right = [], []
    for _ in range(count):
        size = max(1, int(rng.lognormvariate(2.2, 0.55)))
        source = rng.choices(LATIN, k=size)
        target = rng.choices(CYRILLIC, k=max(1, round(size * math.exp(rng.gauss(0.05, noise)))))
        if rng.random() < 0.15:
            number = str(rng.randint(1, 2020))
            source.insert(rng.randrange(len(source) + 1), number)
            target.insert(rng.randrange(len(target) + 1), number)
        mark = "." if rng.random() < 0.85 else "?"
        left.append(" ".join(source) + mark)
        right.append(" ".join(target) + (mark if rng.random() < 0.95 else "!"))
    return left, right


def files(folder: Path, left: Texts, right: Texts) -> PairReader:
    for name, lines in (("left", left), ("right", right)):
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    return PairReader([folder / "left", folder / "right"])


def slip(left: Texts, right: Texts) -> int | None:
    """Where the finder sees the slip; None for none."""
    finder = DriftFinder()
    for source, target in zip(left, right, strict=False):
        finder.add(source, target)
    drift = finder.find()
    return None if drift is None else drift.start


def injected(rng: random.Random, left: Texts, right: Texts, again: bool) -> int:
    """One line is lost or comes in on one side; `again`: a later fault makes the counts equal. Gives the place.

    Later means ten lines at least: what a slip of a few lines does to the evidence, chance does as well.
    """
    side, other = (left, right) if rng.random() < 0.5 else (right, left)
    place = rng.randrange(len(left))
    later = rng.randrange(min(place + 10, len(left) - 1), len(left))
    if rng.random() < 0.5:
        del side[place]
        if again:
            del other[later]
    else:
        side.insert(place, rng.choice(side))
        if again:
            del side[later + 1]
    return place


def hits(again: bool, noise: float) -> float:
    """The share of faults whose start is found within 5 lines; if counts differ, nothing found means the end."""
    good = 0
    for seed in range(TRIALS):
        rng = random.Random(seed)
        left, right = parallel(rng, 1000, noise)
        place = injected(rng, left, right, again)
        start = slip(left, right)
        if start is None and not again:
            start = min(len(left), len(right))
        good += start is not None and abs(start - place) <= 5
    return good / TRIALS


@pytest.mark.parametrize("noise", [0.15, 0.3])
@pytest.mark.parametrize("again", [False, True])
def test_slips_are_found_within_five_lines(again, noise):
    assert hits(again, noise) >= 0.95


def test_no_slip_is_seen_in_good_data():
    """In any order, sorted by text or length, every line twice, with a block of unrelated lines, all unrelated."""
    for seed in range(9):
        rng = random.Random(seed)
        left, right = parallel(rng, 1000)
        assert slip(left, right) is None
        pairs = list(zip(left, right, strict=True))
        for order in (sorted(pairs), sorted(pairs, key=lambda pair: len(pair[0])), [p for p in pairs for _ in "12"]):
            assert slip(*map(list, zip(*order, strict=True))) is None
        middle = right[400:500]
        rng.shuffle(middle)
        assert slip(left, right[:400] + middle + right[500:]) is None
        rng.shuffle(right)
        assert slip(left, right) is None


@pytest.mark.parametrize("lost", [8, 40])
def test_a_slip_by_many_lines(lost):
    left, right = parallel(random.Random(1), 1500)
    del right[700 : 700 + lost]
    assert abs((slip(left, right) or 0) - 700) <= 5


def spelled(rng: random.Random, count: int, turn: int) -> tuple[Texts, Texts]:
    """Words and the same in other letters, of which a few are silent; read from the end if `turn` is -1."""
    left = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 12))) for _ in range(count)]
    other = str.maketrans("abcdefghijklmnop", "абвгдежзиклмнопр")
    return left, ["".join(x for x in word if rng.random() < 0.95)[::turn].translate(other) for word in left]


def test_pairs_of_another_kind_at_the_end_are_no_slip():
    rng = random.Random(0)
    left, right = spelled(rng, 8000, turn=1)
    left_end, right_end = spelled(rng, 700, turn=-1)
    assert slip(left + left_end, right + right_end) is None
    rng.shuffle(right_end)
    assert abs((slip(left + left_end, right + right_end) or 0) - 8000) <= 5


def test_a_slip_in_verse_whose_lines_have_lengths_in_turn():
    rng = random.Random(0)
    left, right = spelled(rng, 6000, turn=1)
    place = {length: [i for i, word in enumerate(left) if len(word) == length] for length in range(3, 13)}
    order = [i for row in zip(*place.values(), strict=False) for i in row]
    left, right = [left[i] for i in order], [right[i] for i in order]
    del right[4000:4010]  # lengths go together again, letters do not
    assert 4000 <= (slip(left, right) or 0) <= 4200


def test_too_few_lines_say_nothing():
    left, right = parallel(random.Random(1), 20)
    assert slip(left, right[1:]) is None
    assert slip([], []) is None


# the command

app = typer.Typer()
app.command()(check)


def run(*arguments: object, expect: int, text: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)
    assert result.exit_code == expect, result.output
    return result.stdout


def test_command(tmp_path):
    good = reader(tmp_path, "good.tsv", numbered(1200)).paths[0]
    assert run(good, expect=0).endswith("All is well.\n")
    bad = tmp_path / "bad.csv"
    bad.write_text("x,wort,laut\n1,a,b\n2,c\n3,d,e\n", encoding="utf-8")
    output = run(bad, "--columns", "wort,laut", "--separator", ",", expect=2)
    assert "wrong  bad lines" in output
    assert f"{bad}:3: 2 columns" in output
    run(bad, "--columns", "wort,laut", "--separator", ",", "--on-bad-line", "skip", expect=0)
    content = json.loads(run(good, "--test", good, "--json", expect=2))
    assert content["worst"] == "wrong"
    assert {"level", "title", "detail", "examples"} == set(content["sections"][0])


def test_command_reads_stdin_and_two_files(tmp_path):
    assert "2 pairs in stdin" in run("-", text="a\tb\nc\td\n", expect=0)
    files(tmp_path, *parallel(random.Random(1), 50))
    assert "50 pairs" in run(tmp_path / "left", tmp_path / "right", expect=0)


def test_examples_do_not_steer_a_terminal():
    assert visible("a\x1b[2Jb\u202e\u2028") == "a\\u001b[2Jb\\u202e\\u2028"
    assert len(visible("x" * 1000)) == 60
