"""What a change of heads does: to one answer, in log-probabilities, and to a test set, in its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from regard.errors import UsageError
from regard.inside.interventions import Change, changed, describe
from regard.inside.patterns import Taken, taken
from regard.inside.record import Answered, record
from regard.metrics.evaluate import evaluate
from regard.text.pairs import Pair
from regard.translator import Answer, Translator


@dataclass(frozen=True)
class Judged:
    """An answer, and the log-probability of each of its tokens by the model as it is and as it is changed.

    The last one is that of the end, if the answer ended.
    """

    answer: Answer
    usual: tuple[float, ...]
    changed: tuple[float, ...]

    @property
    def differences(self) -> tuple[float, ...]:
        """Changed - usual for each token: below 0 where the change makes it less probable."""
        return tuple(new - old for old, new in zip(self.usual, self.changed, strict=True))

    @property
    def difference(self) -> float:
        """Of the whole answer."""
        return sum(self.changed) - sum(self.usual)


@dataclass(frozen=True)
class Effect:
    """The model's answer before and after the `changes`, both judged by the model as it is and as it is changed."""

    changes: tuple[str, ...]
    before: Judged
    after: Judged


def effect(
    translator: Translator,
    text: str,
    changes: Mapping[str, Change],
    *,
    beam: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Effect:
    """What `changes` (see inside/interventions.py) do to the answer to a text; `beam`, `options` as for `translate`."""
    [source] = translator.tokenizers.source.encode_many([text])

    def answer() -> Answer:
        return next(translator.translate([text], beam=beam, options=options)).answers[0]

    def judge(answers: Sequence[Answer]) -> list[tuple[float, ...]]:
        return [_values(translator, source, each) for each in answers]

    before = answer()
    with changed(translator, changes):
        after = answer()
        by_changed = judge((before, after))
    by_usual = judge((before, after))
    judged = [Judged(*each) for each in zip((before, after), by_usual, by_changed, strict=True)]
    return Effect(describe(changes), *judged)


def taken_from(
    translator: Translator,
    text: str,
    names: Sequence[str],
    *,
    beam: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Taken]:
    """What these heads do on the way to the answer to a text, as changes for another text of as many tokens.

    A head of the decoder or of cross attention does so for as many steps as that answer has, then what it would.
    UsageError for an ensemble.
    """
    if translator.mates is not None:
        raise UsageError("an ensemble has several models, and a head is one model's", fix="name one model")
    [source] = translator.tokenizers.source.encode_many([text])
    answer = next(translator.translate([text], beam=beam, options=options)).answers[0]
    return taken(translator.model, names, Answered(tuple(source), answer.ids, answer.finished))


def effect_on_test_set(
    translator: Translator,
    pairs: Sequence[Pair],
    changes: Mapping[str, Change],
    *,
    beam: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of `regard score` on a test set, before and with `changes`."""
    before = evaluate(translator, pairs, beam=beam, options=options)
    with changed(translator, changes):
        after = evaluate(translator, pairs, beam=beam, options=options)
    return dict(before.values), dict(after.values)


def _values(translator: Translator, source: Sequence[int], answer: Answer) -> tuple[float, ...]:
    """By one exact pass over the ids that were answered."""
    answered = Answered(tuple(source), answer.ids, answer.finished)
    found = record(translator.model, answered).log_probabilities
    written = torch.tensor(answered.written, dtype=torch.int64)
    return tuple(found.gather(1, written[:, None])[:, 0].tolist())
