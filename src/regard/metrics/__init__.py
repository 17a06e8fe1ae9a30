"""Strings in, numbers out. Nothing here knows a model or a tensor.

edits.py    PER, WER and exact match, on rapidfuzz
corpus.py   BLEU, chrF and TER, by sacrebleu
scoring.py  a whole test set, also where a source has several right answers

A new metric is one function (hypotheses, references) -> number and one line in METRICS. Libraries are imported when a
metric is computed, so that importing this package costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from regard.metrics.corpus import bleu, chrf, ter
from regard.metrics.edits import exact, per, wer

Metric = Callable[[Sequence[str], Sequence[str]], float]


@dataclass(frozen=True)
class MetricInfo:
    """A metric and how to read its number: `function(hypotheses, references)` compares line by line."""

    name: str
    function: Metric
    higher_is_better: bool
    unit: str


METRICS: dict[str, MetricInfo] = {
    "per": MetricInfo("per", per, higher_is_better=False, unit="% of reference symbols"),
    "wer": MetricInfo("wer", wer, higher_is_better=False, unit="% of outputs not exactly right"),
    "exact": MetricInfo("exact", exact, higher_is_better=True, unit="% of outputs exactly right"),
    "bleu": MetricInfo("bleu", bleu, higher_is_better=True, unit="points of 100"),
    "chrf": MetricInfo("chrf", chrf, higher_is_better=True, unit="points of 100"),
    "ter": MetricInfo("ter", ter, higher_is_better=False, unit="% of reference words"),
}
