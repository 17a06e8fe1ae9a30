"""A model's answers for a test set, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regard.metrics.scoring import Score, WorstLine, score, worst_lines
from regard.text.pairs import Pair

if TYPE_CHECKING:
    from regard.translator import Translator

BY_SYMBOLS = ("wer", "per")  # what a checkpoint was chosen by tells how the task is scored


def evaluate(
    translator: Translator,
    pairs: Sequence[Pair],
    *,
    beam: int | None = None,
    options: Mapping[str, Any] | None = None,
    batch_size: int = 64,
) -> Score:
    """Answers of `answer_pairs`, scored by `score_answers`."""
    answers = answer_pairs(translator, pairs, beam=beam, options=options, batch_size=batch_size)
    return score_answers(translator, pairs, answers)


def answer_pairs(
    translator: Translator,
    pairs: Sequence[Pair],
    *,
    beam: int | None = None,
    options: Mapping[str, Any] | None = None,
    batch_size: int = 64,
) -> list[str]:
    """An answer for each pair's source; each distinct one is decoded once. `beam`, `options` as for `translate`."""
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    answers = translator.translate(sources, beam=beam, options=options, batch_size=batch_size)
    found = {answer.source: answer.text for answer in answers}
    return [found[pair.source] for pair in pairs]


def score_answers(translator: Translator, pairs: Sequence[Pair], answers: Sequence[str]) -> Score:
    """Answers against references in the model's Unicode form; spelled in symbols where the task is scored by them."""
    return score(*_as_scored(translator, pairs, answers), scored_by_symbols(translator))


def worst_answers(
    translator: Translator, pairs: Sequence[Pair], answers: Sequence[str], n: int
) -> list[tuple[WorstLine, float]]:
    """The `n` worst lines, spelled as they are scored, each with its PER or chrF (see `worst_lines`)."""
    return worst_lines(*_as_scored(translator, pairs, answers), scored_by_symbols(translator), n)


def _as_scored(
    translator: Translator, pairs: Sequence[Pair], answers: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """Sources, hypotheses, references."""
    target = translator.tokenizers.target
    spell = _spelling(target.kind) if scored_by_symbols(translator) else str
    references = [spell(target.normalise(pair.target)) for pair in pairs]
    return [pair.source for pair in pairs], [spell(answer) for answer in answers], references


def scored_by_symbols(translator: Translator) -> bool:
    """Whether PER and WER fit the task, or BLEU and chrF."""
    metric = translator.recipe.training.metric
    return metric in BY_SYMBOLS or (metric == "loss" and translator.tokenizers.target.kind == "symbols")


def _spelling(kind: str):  # type: ignore[no-untyped-def]
    return _words if kind == "symbols" else _characters


def _words(text: str) -> str:
    return " ".join(text.split())


def _characters(text: str) -> str:
    """Each character a symbol, a space shown as ␣."""
    return " ".join("␣" if character == " " else character for character in text)
