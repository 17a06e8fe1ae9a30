"""Test sets with several right answers: both protocols, worked by hand and against a slow second reckoning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import UsageError
from regard.metrics import METRICS
from regard.metrics.corpus import signature
from regard.metrics.scoring import WorstLine, score

# "live" has two answers; line by line, each can be right once only. "dead" is wrong by one of three symbols.
SOURCES = ["live", "live", "dead", "a", "a", "a"]
REFERENCES = ["L AY V", "L IH V", "D EH D", "AH", "EY", "EY"]
HYPOTHESES = ["L IH V", "L IH V", "D IY D", "EY Y", "EY Y", "EY Y"]


def test_symbols_worked_by_hand():
    result = score(SOURCES, HYPOTHESES, REFERENCES, symbols=True)
    # any reference: live 0 edits of 3, dead 1 of 3, a 1 of 1 (nearest: EY)
    assert result.values["per"] == pytest.approx(100 * 2 / 7)
    assert result.values["wer"] == pytest.approx(100 * 2 / 3)
    # per line: edits 1 0 1 2 1 1 of 3 3 3 1 1 1 symbols; one line of six is right
    assert result.values["per_per_line"] == pytest.approx(100 * 6 / 12)
    assert result.values["wer_per_line"] == pytest.approx(100 * 5 / 6)
    assert list(result.values) == ["per", "wer", "per_per_line", "wer_per_line"]
    assert (result.lines, result.sources) == (6, 3)


def test_worst_answers_first_and_right_ones_never():
    sources, references = ["w", "x", "y", "z"], ["A B C", "A", "A B", "A B"]
    result = score(sources, ["A", "A", "C D", "B A"], references, symbols=True)
    assert result.worst(9) == [
        WorstLine("w", "A", ("A B C",), 2),
        WorstLine("y", "C D", ("A B",), 2),
        WorstLine("z", "B A", ("A B",), 2),
    ]
    assert result.worst(1) == [WorstLine("w", "A", ("A B C",), 2)]
    assert score(SOURCES, HYPOTHESES, REFERENCES, symbols=True).worst(5)[1].references == ("AH", "EY")


def test_equally_near_references_count_the_first():
    one = score(["s", "s"], ["A", "A"], ["A B", "B"], symbols=True)  # one edit to each; lengths 2 and 1
    other = score(["s", "s"], ["A", "A"], ["B", "A B"], symbols=True)
    assert (one.values["per"], other.values["per"]) == (50.0, 100.0)


def test_text_worked_by_hand():
    sources = ["hallo", "hallo", "ja"]
    hypotheses, references = ["hello .", "hello .", "no"], ["hi .", "hello .", "yes"]
    result = score(sources, hypotheses, references, symbols=False)
    assert result.values["exact"] == pytest.approx(50.0)
    assert result.values["exact_per_line"] == pytest.approx(100 / 3)
    assert list(result.values) == ["bleu", "chrf", "ter", "exact", "exact_per_line"]
    for name in ("bleu", "chrf", "ter"):
        assert result.values[name] == METRICS[name].function(hypotheses, references)
        assert any(signature(name) in note for note in result.notes)
    assert result.worst(5) == [WorstLine("ja", "no", ("yes",), 3)]


@pytest.mark.parametrize("symbols", [True, False])
def test_notes_name_both_protocols(symbols):
    notes = " | ".join(score(SOURCES, HYPOTHESES, REFERENCES, symbols=symbols).notes)
    assert "any reference: one answer for each of 3 distinct sources" in notes
    assert "per line: each of the 6 lines" in notes
    assert "different answers" not in notes


def test_different_answers_to_one_source_are_told():
    result = score(["s", "s"], ["A", "B"], ["B", "B"], symbols=True)
    assert result.values["wer"] == 100.0  # the first answer counts
    assert result.values["wer_per_line"] == 50.0
    assert "1 more" in result.notes[-1]


def test_empty_hypotheses_and_references_are_fine():
    assert score(["a", "b"], ["", ""], ["X Y", ""], symbols=True).values["per"] == 100.0
    assert score(["a", "b"], ["", "x"], ["X Y", ""], symbols=False).values["exact"] == 0.0


@pytest.mark.parametrize(
    ("sources", "hypotheses", "references"),
    [(["a"], ["x", "y"], ["x", "y"]), (["a", "b"], ["x"], ["x", "y"]), (["a", "b"], ["x", "y"], ["x"]), ([], [], [])],
)
def test_unequal_or_empty_input_is_a_usage_error(sources, hypotheses, references):
    with pytest.raises(UsageError):
        score(sources, hypotheses, references, symbols=True)


@given(st.lists(st.tuples(st.sampled_from("stu"), st.sampled_from(["A", "A B", "B C", ""])), min_size=1, max_size=8))
def test_wer_by_any_reference_counts_sources_without_an_equal(lines):
    answers = {"s": "A B", "t": "B C", "u": ""}
    sources, references = [s for s, _ in lines], [r for _, r in lines]
    result = score(sources, [answers[s] for s in sources], references, symbols=True)
    wrong = {s for s in sources if (s, answers[s]) not in lines}
    assert result.values["wer"] == pytest.approx(100 * len(wrong) / len(set(sources)))
    assert {line.source for line in result.worst(9)} == wrong


def test_one_reference_a_source_makes_both_protocols_equal():
    values = score(["a", "b", "c"], ["X", "X Y", ""], ["X", "Y", "Z Z"], symbols=True).values
    assert values["per"] == pytest.approx(values["per_per_line"])
    assert values["wer"] == pytest.approx(values["wer_per_line"])
