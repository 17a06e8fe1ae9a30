"""BLEU, chrF and TER against sacrebleu called directly, and against examples worked by hand."""

import math

import pytest
import sacrebleu

from regard.errors import UsageError
from regard.metrics.corpus import bleu, chrf, signature, ter

HYPOTHESES = ["The dog bit the man .", "It wasn't surprising.", "Zwei Männer grüßen", "", "a . b ."]
REFERENCES = ["The dog had bit the man.", "No one was surprised.", "Zwei Männer grüßen sich.", "A blank.", ""]


def test_equal_to_sacrebleu_called_directly():
    assert bleu(HYPOTHESES, REFERENCES) == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert chrf(HYPOTHESES, REFERENCES) == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert ter(HYPOTHESES, REFERENCES) == sacrebleu.corpus_ter(HYPOTHESES, [REFERENCES]).score
    assert 0 < bleu(HYPOTHESES, REFERENCES) < 100


def test_bleu_worked_by_hand():
    # n-gram precisions 5/6, 3/5, 2/4, 1/3; lengths 6 and 7: brevity penalty exp(1 - 7/6)
    by_hand = 100 * math.exp(1 - 7 / 6) * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert bleu(["the cat sat on a mat"], ["the cat sat on the red mat"]) == pytest.approx(by_hand)


def test_ter_worked_by_hand():
    assert ter(["b c d a"], ["a b c d"]) == pytest.approx(100 * 1 / 4)  # one move
    assert ter(["a x c"], ["a b c d"]) == pytest.approx(100 * 2 / 4)  # one replacement, one insertion


def test_corpora_that_look_tokenised_give_no_warning(caplog):
    bleu(["a b c d ."] * 200, ["a b c d ."] * 200)
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "metric"), [("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF()), ("ter", sacrebleu.TER())]
)
def test_signature_is_sacrebleus_own(name, metric):
    metric.corpus_score(HYPOTHESES, [REFERENCES])
    assert signature(name) == str(metric.get_signature())
    assert f"version:{sacrebleu.__version__}" in signature(name)


def test_unknown_signature_names_the_known():
    with pytest.raises(UsageError, match="bleu, chrf, ter"):
        signature("meteor")
