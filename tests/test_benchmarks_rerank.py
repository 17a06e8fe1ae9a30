"""benchmarks/rerank.py: what it chooses is what the sums of its two ways say, alone or in one ensemble."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from regard import Translator
from small import saved, untrained

WORDS = ["fox", "dogs", "quick", "over", "lazy"]


@pytest.fixture
def rerank(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import rerank

    yield rerank
    sys.modules.pop("rerank")


@pytest.fixture
def ways(tmp_path: Path) -> tuple[Path, Path]:
    return saved(tmp_path / "forward", untrained(seed=1)), saved(tmp_path / "backward", untrained(seed=2))


def test_a_candidate_is_scored_from_its_beginning_and_from_its_end(rerank: ModuleType, ways: tuple[Path, Path]) -> None:
    forward, backward = (Translator.load(folder) for folder in ways)
    found = rerank.candidates(forward, [rerank.Judge(backward, rerank.reversed_symbols)], [*WORDS, "fox"], 4)
    assert list(found) == WORDS
    for word, answers in found.items():
        [alone] = forward.translate([word], beam=4, n_best=4)
        assert [text for text, _, _ in answers] == [answer.text for answer in alone.answers]
        for (text, ahead, back), answer in zip(answers, alone.answers, strict=True):
            [again] = backward.force([(word, " ".join(text.split(" ")[::-1]))])
            assert (ahead, back) == pytest.approx((answer.log_probability, again.log_probability), abs=1e-4)


def test_the_share_says_which_way_counts(rerank: ModuleType) -> None:
    answers = [("A B", -1.0, -6.0), ("A C", -2.0, -3.0), ("B C", -5.0, -2.0)]
    assert [rerank.chosen(answers, share) for share in (0, 0.2, 0.3, 0.7, 0.8, 1)] == [
        *["A B"] * 2,
        *["A C"] * 2,
        *["B C"] * 2,
    ]


def test_from_the_command_line(
    rerank: ModuleType, ways: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, reverse = tmp_path / "pairs.tsv", tmp_path / "reverse.tsv"
    forward, backward = map(Translator.load, ways)
    [answers] = rerank.candidates(forward, [rerank.Judge(backward, rerank.reversed_symbols)], ["fox"], 4).values()
    wanted: Any = {share: rerank.chosen(answers, share) for share in (0, 1)}
    pairs.write_text(f"fox\t{wanted[1]}\n", encoding="utf-8")
    rerank.main([str(pairs), "--reverse", str(reverse)])
    assert reverse.read_text("utf-8") == f"fox\t{' '.join(wanted[1].split(' ')[::-1])}\n"
    command = [str(pairs), str(ways[0]), "--backward", str(ways[1]), "--n-best", "4", "--share", "0", "1"]
    rerank.main(command)
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("share 0 ")
    assert ("wer 0.00" in first) == (wanted[0] == wanted[1])
    assert "wer 0.00" in last
    with pytest.raises(SystemExit):
        rerank.main([str(pairs)])


def test_all_judges_of_an_answer_count_alike(
    rerank: ModuleType, ways: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models, others = (Translator.load(folder) for folder in ways)
    judges = rerank.judges_of([[ways[1]], [ways[0]]], [[ways[1]]])
    answers = rerank.candidates(models, judges, ["fox"], 4)["fox"]
    for text, _, judged in answers:
        scored = [
            *others.force([("fox", text), ("fox", rerank.reversed_symbols(text))]),
            *models.force([("fox", text)]),
        ]
        assert judged == pytest.approx(sum(each.log_probability for each in scored) / 3, abs=1e-4)
    (tmp_path / "pairs.tsv").write_text(f"fox\t{rerank.chosen(answers, 1)}\n", encoding="utf-8")
    command = [str(tmp_path / "pairs.tsv"), str(ways[0]), "--others", str(ways[1]), "--others", str(ways[0])]
    rerank.main([*command, "--backward", str(ways[1]), "--n-best", "4", "--share", "1"])
    assert "wer 0.00" in capsys.readouterr().out


def test_a_student_is_taught_what_teachers_of_two_kinds_choose(
    rerank: ModuleType, ways: tuple[Path, Path], tmp_path: Path
) -> None:
    import distil

    (tmp_path / "pairs.tsv").write_text("fox\tZ\n", encoding="utf-8")
    (tmp_path / "words").write_text("dogs\nquick\nfox\n", encoding="utf-8")
    (tmp_path / "test.tsv").write_text("quick\tQ\n", encoding="utf-8")
    command = [*map(str, (tmp_path / "pairs.tsv", tmp_path / "out.tsv", ways[0])), "--others", str(ways[1])]
    more = ["--share", "0.6", "--words", str(tmp_path / "words"), "--without", str(tmp_path / "test.tsv")]
    distil.main([*command, *more])
    known = rerank.candidates(Translator.load(ways[0]), rerank.judges_of([[ways[1]]], []), ["fox", "dogs"], distil.BEAM)
    answers = {word: rerank.chosen(known[word], 0.6) for word in ("fox", "dogs")}
    wanted = [("fox", "Z"), *((word, answer) for word, answer in answers.items() if answer.strip())]
    assert distil.read_pairs(tmp_path / "out.tsv") == wanted
    sys.modules.pop("distil")
