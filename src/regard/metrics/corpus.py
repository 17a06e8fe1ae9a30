"""BLEU, chrF and TER of a whole corpus, one reference a line, by sacrebleu with its standard settings.

Papineni et al. 2002 (BLEU), Popovic 2015 (chrF), Snover et al. 2006 (TER); Post 2018 for why the signature is printed.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from regard.errors import UsageError
from regard.metrics.edits import check_lines

CorpusMetric = Literal["bleu", "chrf", "ter"]


class _Score(Protocol):
    score: float


class _Sacrebleu(Protocol):
    def corpus_score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> _Score: ...

    def get_signature(self) -> object: ...


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """BLEU, 0 to 100: text with its case, tokenised by sacrebleu (`13a`)."""
    return _corpus_score("bleu", hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """chrF2, 0 to 100: n-grams of up to six characters, no words."""
    return _corpus_score("chrf", hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """TER in % of the reference's words: word edits, a moved phrase counts once; case is ignored. Can exceed 100."""
    return _corpus_score("ter", hypotheses, references)


def signature(name: str) -> str:
    """The settings and version behind `bleu`, `chrf` or `ter`, as sacrebleu writes them: to print beside the number.

    Raises UsageError for another name.
    """
    metric = _metric(name)
    metric.corpus_score(["a"], [["a"]])  # sacrebleu knows its signature only after it has seen the references
    return str(metric.get_signature())


def _corpus_score(name: CorpusMetric, hypotheses: Sequence[str], references: Sequence[str]) -> float:
    check_lines(hypotheses, references)
    return float(_metric(name).corpus_score(list(hypotheses), [list(references)]).score)


def _metric(name: str) -> _Sacrebleu:
    from sacrebleu.metrics.bleu import BLEU  # 90 ms: only when needed
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    # force: no warning on stderr, at each validation, that the corpus looks tokenised
    makers: dict[str, Callable[[], _Sacrebleu]] = {"bleu": lambda: BLEU(force=True), "chrf": CHRF, "ter": TER}
    if name not in makers:
        raise UsageError(f"sacrebleu has no metric {name!r} here", fix=f"choose one of {', '.join(makers)}")
    return makers[name]()
