"""Minimum Bayes risk: of several samples the one that agrees best with the others (Eikema and Aziz 2020)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from regard.metrics import METRICS

if TYPE_CHECKING:
    from regard.translator import Translation


def least_risk(translation: Translation, metric: str, n_best: int) -> Translation:
    """The `n_best` distinct answers whose mean `metric` with all answers as references is best, the best first.

    `translation` holds samples (decoding.strategy=sampling, decoding.n_best of them); of equals the one drawn first.
    """
    texts = [answer.text for answer in translation.answers]
    utility = expected_utility(texts, metric)
    distinct = {answer.text: answer for answer in reversed(translation.answers)}  # the first drawn stays
    best = sorted(dict.fromkeys(texts), key=lambda text: -utility[text])[:n_best]
    return replace(translation, answers=tuple(distinct[text] for text in best))


def expected_utility(samples: Sequence[str], metric: str) -> dict[str, float]:
    """For each distinct text the mean over all samples of its `metric` against them, turned so that more is better."""
    info, counts = METRICS[metric], Counter(samples)
    sign = 1.0 if info.higher_is_better else -1.0
    return {
        text: sign * sum(count * info.function([text], [other]) for other, count in counts.items()) / len(samples)
        for text in counts
    }
