"""What a translator answers: texts with their symbols and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """One hypothesis as text.

    `symbols` and the model's `log_probabilities` of each, then of the end if `finished`; `log_probability`, their sum,
    is the forced score of the same text. `score` = log_probability / length_penalty + coverage ranks it. `finished` is
    False if the limit of its length cut it, `met` is False if a required phrase is missing or a forbidden one there.
    What is `from_lexicon` the model did not write: it has no symbols, and its scores, which are none, stand as 0.
    """

    text: str
    symbols: tuple[str, ...]
    score: float
    log_probability: float
    finished: bool
    log_probabilities: tuple[float, ...] = ()
    length_penalty: float = 1.0
    coverage: float = 0.0
    met: bool = True
    ids: tuple[int, ...] = ()
    from_lexicon: bool = False


@dataclass(frozen=True)
class Translation:
    """What came of one line: answers, best first; `unknown` are the symbols of the source the model never saw.

    `settled` tells that the search came within rounding of a tie and was made again in float64. `trace` has
    a step of the search each, if it was asked for (see decoding/trace.py).
    """

    source: str
    answers: tuple[Answer, ...]
    unknown: tuple[str, ...]
    settled: bool = False
    trace: tuple[dict[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The best answer."""
        return self.answers[0].text


@dataclass(frozen=True)
class Encoded:
    """A text as its encoder sees it: the symbols, the end of the text among them, and a state for each [S, D]."""

    text: str
    symbols: tuple[str, ...]
    states: Tensor

    @property
    def pooled(self) -> Tensor:
        """One vector [D]: the mean of the states."""
        return self.states.mean(0)
