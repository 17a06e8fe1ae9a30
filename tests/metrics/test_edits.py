"""Edits against a plain dynamic program, and the three rates against numbers worked out by hand."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import UsageError
from regard.metrics import METRICS
from regard.metrics.edits import edit_distance, exact, per, split_symbols, symbol_edits, wer

symbol_lists = st.lists(st.sampled_from(["AA1", "B", "é", "\u2028", "\u00a0"]), max_size=8)


def distance_by_table(a, b):
    """The textbook recurrence, one row at a time (Wagner and Fischer 1974)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y)))
    return row[-1]


@given(symbol_lists, symbol_lists)
def test_symbol_edits_equal_the_textbook_recurrence(a, b):
    assert symbol_edits(" ".join(a), " ".join(b)) == distance_by_table(a, b)


@given(st.text(max_size=8), st.text(max_size=8))
def test_character_edits_equal_the_textbook_recurrence(a, b):
    assert edit_distance(a, b) == distance_by_table(a, b)


@given(st.lists(st.tuples(symbol_lists, symbol_lists), min_size=1, max_size=6))
def test_rates_equal_their_definitions(pairs):
    hypotheses, references = [" ".join(a) for a, _ in pairs], [" ".join(b) for _, b in pairs]
    edits, length = sum(distance_by_table(a, b) for a, b in pairs), sum(len(b) for _, b in pairs)
    if length:
        assert per(hypotheses, references) == pytest.approx(100 * edits / length)
    assert wer(hypotheses, references) == pytest.approx(100 * sum(a != b for a, b in pairs) / len(pairs))
    assert exact(hypotheses, references) == pytest.approx(100 - wer(hypotheses, references))


def test_rates_worked_by_hand():
    hypotheses = ["HH AH L OW", "W ER D", ""]
    references = ["HH AH L OW", "W ER L D", "AH"]  # 0 + 1 + 1 edits of 4 + 4 + 1 symbols
    assert per(hypotheses, references) == pytest.approx(100 * 2 / 9)
    assert wer(hypotheses, references) == pytest.approx(100 * 2 / 3)
    assert exact(hypotheses, references) == pytest.approx(100 / 3)


def test_symbols_are_split_at_spaces_only():
    assert split_symbols(" a  b\u00a0c\u2028d\te ") == ["a", "b\u00a0c\u2028d\te"]
    assert split_symbols("") == []
    assert wer(["a  b"], ["a b "]) == 0.0
    assert exact(["a  b"], ["a b "]) == 0.0


def test_without_reference_symbols_the_rate_stays_finite():
    assert per([""], [""]) == 0.0
    assert per(["a b c"], [""]) == 100.0


def test_an_output_much_too_long_exceeds_100():
    assert per(["a b c"], ["a"]) == 200.0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [(["a"], ["a", "b"], "1 hypotheses for 2 references"), ([], [], "no line to compare")],
)
def test_unequal_or_empty_input_is_a_usage_error(name, hypotheses, references, message):
    with pytest.raises(UsageError, match=message):
        METRICS[name].function(hypotheses, references)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_in_the_table_says_the_truth_about_its_direction(name):
    info = METRICS[name]
    references = ["the cat sat on the mat .", "a dog ran home ."]
    right, wrong = info.function(references, references), info.function(["x y z", ""], references)
    assert info.name == name
    assert (right > wrong) == info.higher_is_better
    assert right == pytest.approx(100.0 if info.higher_is_better else 0.0)
    assert info.unit


def test_importing_the_metrics_imports_no_library():
    program = (
        "import sys, regard.metrics, regard.metrics.scoring\n"
        "print([name for name in ('torch', 'sacrebleu', 'rapidfuzz', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
