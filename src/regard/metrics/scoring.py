"""The metrics of a test set in which a source may stand on several lines, each with another right answer.

Two protocols, and their numbers differ by several points:
any reference   one answer for each distinct source, right if it equals any of the source's references; its edits are
                those to the nearest one, measured against that one's length. The papers on pronunciation do this.
per line        each line against its own reference, so that a source with two answers is right at most half the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from regard.errors import UsageError
from regard.metrics.corpus import bleu, chrf, signature, ter
from regard.metrics.edits import check_lines, edit_distance, edit_rate, exact, per, split_symbols, wer


@dataclass(frozen=True)
class WorstLine:
    """A distinct source, its hypothesis, all its references; edits (symbols, or characters) to the nearest of these."""

    source: str
    hypothesis: str
    references: tuple[str, ...]
    edits: int


@dataclass(frozen=True)
class Score:
    """Numbers in `values` (0 to 100 %; rates of edits may exceed 100), and what they mean in `notes`."""

    values: dict[str, float]
    lines: int
    sources: int
    notes: tuple[str, ...]
    answers: tuple[WorstLine, ...] = field(repr=False)

    def worst(self, n: int) -> list[WorstLine]:
        """At most `n` wrong answers, the one with the most edits first; equals in the order of the test set."""
        wrong = [answer for answer in self.answers if answer.edits > 0]
        return sorted(wrong, key=lambda answer: -answer.edits)[:n]


@dataclass(frozen=True)
class _Nearest:
    """The answer for one source against its nearest reference: fewest edits; of equals, the first in the test set."""

    answer: WorstLine
    symbols: int  # of the nearest reference


def score(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], symbols: bool) -> Score:
    """Scores a test set, line i being (sources[i], hypotheses[i], references[i]).

    With `symbols` (targets are symbols between spaces): `per`, `wer` by any reference, `per_per_line`, `wer_per_line`.
    Else (text): `bleu`, `chrf`, `ter` per line, `exact` by any reference, `exact_per_line`.
    Raises UsageError if the three differ in length or are empty.
    """
    check_lines(hypotheses, references)
    if len(sources) != len(references):
        raise UsageError(
            f"{len(sources)} sources for {len(references)} references", fix="give one source for each reference"
        )
    nearest = _nearest_references(sources, hypotheses, references, symbols)
    values = (
        _symbol_values(nearest, hypotheses, references) if symbols else _text_values(nearest, hypotheses, references)
    )
    notes = _notes(len(references), len(nearest), symbols) + _note_on_answers(sources, hypotheses)
    return Score(values, len(references), len(nearest), notes, tuple(item.answer for item in nearest))


def worst_lines(
    sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], symbols: bool, n: int
) -> list[tuple[WorstLine, float]]:
    """At most `n` wrong answers, worst first, each with the metric of its own line: PER in % where targets are symbols
    (it may exceed 100), else chrF. Against the nearest reference, as in `score`; of chrF the highest."""
    wrong = [item for item in _nearest_references(sources, hypotheses, references, symbols) if item.answer.edits]
    if symbols:
        rated = [(item.answer, edit_rate(item.answer.edits, item.symbols)) for item in wrong]
        return sorted(rated, key=lambda pair: (-pair[1], -pair[0].edits))[:n]
    rated = [
        (item.answer, max(chrf([item.answer.hypothesis], [text]) for text in item.answer.references)) for item in wrong
    ]
    return sorted(rated, key=lambda pair: (pair[1], -pair[0].edits))[:n]


def _nearest_references(
    sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], symbols: bool
) -> list[_Nearest]:
    answers: dict[str, str] = {}
    known: dict[str, dict[str, None]] = {}  # a dict keeps the order, and each reference once
    for source, hypothesis, reference in zip(sources, hypotheses, references, strict=True):
        answers.setdefault(source, hypothesis)
        known.setdefault(source, {})[reference] = None
    return [_nearest(source, answers[source], tuple(known[source]), symbols) for source in answers]


def _nearest(source: str, hypothesis: str, references: tuple[str, ...], symbols: bool) -> _Nearest:
    units = split_symbols if symbols else list[str]
    edits = [edit_distance(units(hypothesis), units(reference)) for reference in references]
    closest = min(range(len(references)), key=edits.__getitem__)
    answer = WorstLine(source, hypothesis, references, edits[closest])
    return _Nearest(answer, len(units(references[closest])))


def _symbol_values(
    nearest: Sequence[_Nearest], hypotheses: Sequence[str], references: Sequence[str]
) -> dict[str, float]:
    edits = [item.answer.edits for item in nearest]
    return {
        "per": edit_rate(sum(edits), sum(item.symbols for item in nearest)),
        "wer": 100.0 * sum(count > 0 for count in edits) / len(nearest),
        "per_per_line": per(hypotheses, references),
        "wer_per_line": wer(hypotheses, references),
    }


def _text_values(nearest: Sequence[_Nearest], hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    right = sum(item.answer.edits == 0 for item in nearest)
    return {
        "bleu": bleu(hypotheses, references),
        "chrf": chrf(hypotheses, references),
        "ter": ter(hypotheses, references),
        "exact": 100.0 * right / len(nearest),
        "exact_per_line": exact(hypotheses, references),
    }


def _notes(lines: int, sources: int, symbols: bool) -> tuple[str, ...]:
    names, whole = ("per, wer", "per_per_line, wer_per_line") if symbols else ("exact", "exact_per_line")
    notes = (
        f"{names}: any reference: one answer for each of {sources:,} distinct sources, against its nearest reference",
        f"{whole}: per line: each of the {lines:,} lines against its own reference",
    )
    if symbols:
        return (*notes, "wer: share of outputs that are not exactly right; per: edits / reference symbols")
    return (*notes, *(f"{name}: per line, sacrebleu {signature(name)}" for name in ("bleu", "chrf", "ter")))


def _note_on_answers(sources: Sequence[str], hypotheses: Sequence[str]) -> tuple[str, ...]:
    several = len(set(zip(sources, hypotheses, strict=True))) - len(set(sources))
    if not several:
        return ()
    return (
        f"any reference: some sources got different answers on different lines ({several:,} more); the first counts",
    )
