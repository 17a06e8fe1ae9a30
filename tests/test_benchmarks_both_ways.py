"""benchmarks/both_ways.py: the answers of either way, and how likely one model finds each both ways."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard import Translator
from regard.text.tokenizer import Tokenizer
from regard.translator import Tokenizers
from regard.translator.requests import Request
from small import saved, untrained

WORDS = ["fox", "dogs", "quick", "over", "lazy"]
SYMBOLS = st.lists(st.sampled_from(["A", "B", "CH", "<"]))


@pytest.fixture(scope="module")
def both_ways() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
        import both_ways

        yield both_ways
    for name in ("both_ways", "rerank"):
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def model() -> Translator:
    """As `untrained`, and the symbol that marks an answer from its end is known."""
    plain = untrained(seed=6)
    target = Tokenizer.train(["A B C D E F <"], "symbols", vocabulary=1000)
    assert len(target) == len(plain.tokenizers.target)
    return Translator(plain.model, Tokenizers(plain.tokenizers.source, target), plain.recipe)


@given(SYMBOLS)
def test_the_end_of_the_end_is_the_beginning(both_ways: ModuleType, symbols: list[str]) -> None:
    back = both_ways.from_the_end(" ".join(symbols))
    assert back.split(" ") == ["<", *symbols[::-1]]
    assert both_ways.from_the_beginning(back) == " ".join(symbols)


def test_candidates_are_those_of_either_way_scored_both_ways(both_ways: ModuleType, model: Translator) -> None:
    found = both_ways.candidates(model, [*WORDS, "fox"], 4)
    assert list(found) == WORDS
    for word, answers in found.items():
        [ahead] = model.translate([Request(word, forbidden=("<",))], beam=4, n_best=4)
        [back] = model.translate([Request(word, prefix="<")], beam=4, n_best=4)
        turned = [" ".join(answer.text.split(" ")[:0:-1]) for answer in back.answers]
        assert [text for text, _, _ in answers] == list(dict.fromkeys([each.text for each in ahead.answers] + turned))
        for text, *likely in answers:
            ways = model.force([(word, text), (word, " ".join(["<", *text.split()[::-1]]))])
            assert likely == pytest.approx([each.log_probability for each in ways], abs=1e-4)


def test_from_the_command_line(
    both_ways: ModuleType, model: Translator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, written = tmp_path / "pairs.tsv", tmp_path / "written.tsv"
    known = both_ways.candidates(model, WORDS, 4)
    chosen = {word: max(answers, key=lambda each: each[1] + each[2])[0] for word, answers in known.items()}
    word, best = next((word, text) for word, text in chosen.items() if text)
    pairs.write_text("one\tA B\ntwo\tC\n", encoding="utf-8")
    both_ways.main([str(pairs), "--write", str(written)])
    assert written.read_text("utf-8") == "one\tA B\ntwo\tC\none\t< B A\ntwo\t< C\n"
    pairs.write_text(f"{word}\t{best}\n", encoding="utf-8")
    command = [str(pairs), str(saved(tmp_path / "model", model)), "--n-best", "4", "--share", "0.5"]
    both_ways.main(command)
    assert capsys.readouterr().out.startswith("share 0.5  per 0.00  wer 0.00")
    with pytest.raises(SystemExit):
        both_ways.main([str(pairs)])


def test_as_a_judge_it_is_two(both_ways: ModuleType, model: Translator, tmp_path: Path) -> None:
    import rerank

    answers = both_ways.candidates(model, ["fox"], 4)["fox"]
    judges = rerank.judges_of([], [], [[saved(tmp_path / "model", model)]])
    judged = zip(*(judge([("fox", text) for text, _, _ in answers]) for judge in judges), strict=True)
    for (_, *likely), found in zip(answers, judged, strict=True):
        assert list(found) == pytest.approx(likely, abs=1e-4)
