"""From what a search found to an answer in text."""

from __future__ import annotations

from regard.decoding.interface import Hypothesis
from regard.text.tokenizer import UNK
from regard.translator.folders import Tokenizers
from regard.translator.requests import Request
from regard.translator.results import Answer


def in_words(hypothesis: Hypothesis, request: Request, tokenizers: Tokenizers) -> Answer:
    """The answer that a hypothesis is, unknown tokens spelled as what they looked at if they carry that."""
    target, replaced = tokenizers.target, _replaced(hypothesis, request, tokenizers)
    text, spellings = target.decode(hypothesis.ids, replaced), iter(replaced)
    symbols = [
        next(spellings) if id == UNK and replaced else symbol
        for id, symbol in zip(hypothesis.ids, target.symbols(hypothesis.ids), strict=True)
    ]
    return Answer(
        text=text,
        symbols=tuple(symbols),
        score=hypothesis.score,
        log_probability=hypothesis.log_probability,
        finished=hypothesis.finished,
        log_probabilities=tuple(hypothesis.log_probabilities),
        length_penalty=hypothesis.length_penalty,
        coverage=hypothesis.coverage,
        met=hypothesis.met and not any(_holds_words(text, phrase) for phrase in request.forbidden),
        ids=tuple(hypothesis.ids),
    )


def _replaced(hypothesis: Hypothesis, request: Request, tokenizers: Tokenizers) -> list[str]:
    """For each unknown id of the hypothesis, the piece of the source that it looked at most."""
    if hypothesis.attended is None or UNK not in hypothesis.ids:
        return []
    pieces = dict(enumerate(tokenizers.source.pieces(request.text)))  # neighbours and the end of the source have none
    looked = zip(hypothesis.ids, hypothesis.attended, strict=True)
    return [pieces.get(place, "").strip() for id, place in looked if id == UNK]


def _holds_words(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text, however it was cut into tokens."""
    return f" {phrase.strip()} " in f" {text} "
