"""Forced scoring: what a model thinks of given pairs, at the speed of training: all positions of a target at once.

A score does not depend on the pairs that are scored beside it: padding changes nothing, and rounding in float32 makes
less than 1e-5 a token of difference between batches (6e-6 at most on a trained model, 300 pairs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.data.batches import epoch_batches
from regard.data.corpus import EncodedPairs, Side
from regard.data.tokens import Batch
from regard.decoding.choose import log_probabilities
from regard.device import full_float32
from regard.errors import DataError, UsageError
from regard.models.interface import EncoderDecoder
from regard.text.pairs import Pair
from regard.text.tokenizer import BOS, EOS, UNK, Tokenizer

if TYPE_CHECKING:
    from regard.translator.translator import Translator

AHEAD = 32  # batches that are read ahead and sorted by length
MOST_LOGITS = 1 << 26  # of a batch: 256 MiB


@dataclass(frozen=True)
class ForcedScore:
    """A pair with the log-probability of each symbol of its target, then of the end after them.

    A symbol that the target's vocabulary lacks is scored as <unk>; `unknown` holds what the two texts spell there.
    """

    source: str
    target: str
    symbols: tuple[str, ...]
    log_probabilities: tuple[float, ...]
    unknown_source: tuple[str, ...] = ()
    unknown_target: tuple[str, ...] = ()

    @property
    def log_probability(self) -> float:
        """Of the whole target: the sum."""
        return math.fsum(self.log_probabilities)

    @property
    def perplexity(self) -> float:
        """Per token, the end counted."""
        return perplexity(self.log_probability, len(self.log_probabilities))


def perplexity(log_probability: float, tokens: int) -> float:
    """exp of minus the mean; infinite where that is no number of a computer."""
    try:
        return math.exp(-log_probability / tokens)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class _Row:
    """A pair as ids, the source with its end, the target with beginning and end."""

    pair: Pair
    source: list[int]
    target: list[int]


def force(
    translator: Translator,
    pairs: Iterable[Pair | tuple[str, str]],
    batch_size: int = 64,
    where: Callable[[Pair], str] | None = None,
) -> Iterator[ForcedScore]:
    """A score a pair, in order; reads `batch_size` * AHEAD pairs ahead. A blank text is scored as it is: its end alone.

    A batch holds at most `batch_size` pairs, and as many tokens as one of training. DataError, at `where(pair)`, for a
    pair that is too long: those before it are scored, nothing is cut.
    """
    if batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, found {batch_size}")
    return _force(translator, _numbered(pairs), batch_size, where or (lambda pair: f"line {pair.line}"))


def _force(
    translator: Translator, pairs: Iterator[Pair], batch_size: int, where: Callable[[Pair], str]
) -> Iterator[ForcedScore]:
    limits = _limits(translator)
    while chunk := list(islice(pairs, batch_size * AHEAD)):
        rows = _encoded(translator, chunk)
        fitting = list(takewhile(lambda row: not _fault(row, *limits), rows))
        yield from _scored(translator, fitting, batch_size)
        if len(fitting) < len(rows):
            bad = rows[len(fitting)]
            fix = "split the pair into sentences, or take it out; nothing was cut"
            raise DataError(_fault(bad, *limits), where=where(bad.pair), fix=fix)


def _models(translator: Translator) -> list[EncoderDecoder]:
    return [translator.model, *(translator.mates.models if translator.mates else ())]


def _numbered(pairs: Iterable[Pair | tuple[str, str]]) -> Iterator[Pair]:
    for number, pair in enumerate(pairs, start=1):
        yield pair if isinstance(pair, Pair) else Pair(*pair, number)


def _encoded(translator: Translator, pairs: Sequence[Pair]) -> list[_Row]:
    sources = translator.tokenizers.source.encode_many([pair.source for pair in pairs])
    targets = translator.tokenizers.target.encode_many([pair.target for pair in pairs])
    each = zip(pairs, sources, targets, strict=True)
    return [_Row(pair, [*source, EOS], [BOS, *target, EOS]) for pair, source, target in each]


def _limits(translator: Translator) -> tuple[int, int]:
    """The most tokens of a source and of a target; a model that writes any length is held to what it reads at most."""
    longest = [model.decoder.longest for model in _models(translator)]
    most = translator.recipe.decoding.longest_source
    return translator.longest_source, min([most, *(positions - 1 for positions in longest if positions)])


def _fault(row: _Row, most_source: int, most_target: int) -> str:
    """What is too long about a pair; nothing if it fits."""
    source, target = len(row.source) - 1, len(row.target) - 2
    if source > most_source:
        return f"the source has {source:,} tokens, this model reads at most {most_source:,}"
    return (
        f"the target has {target:,} tokens, this model scores at most {most_target:,}" if target > most_target else ""
    )


def _scored(translator: Translator, rows: Sequence[_Row], batch_size: int) -> Iterator[ForcedScore]:
    encoded = EncodedPairs(Side.of_rows([row.source for row in rows]), Side.of_rows([row.target for row in rows]))
    budget = min(translator.recipe.data.tokens_per_batch, MOST_LOGITS // len(translator.tokenizers.target))
    found: dict[int, list[float]] = {}
    for batch in epoch_batches(encoded, budget, seed=0, epoch=0):
        for start in range(0, len(batch), batch_size):
            places = batch[start : start + batch_size]
            found |= dict(zip(places.tolist(), _values(translator, encoded.batch(places)), strict=True))
    for place, row in enumerate(rows):
        yield _score(translator, row, found[place])


def _values(translator: Translator, batch: Batch) -> list[list[float]]:
    """The log-probability of each gold id, a list a row."""
    batch = batch.to(translator.device)
    gold, is_real = batch.gold, batch.gold.is_real
    with torch.inference_mode(), full_float32(translator.device):
        known = [log_probabilities(model(batch.source, batch.previous)[is_real]) for model in _models(translator)]
        values = _together(translator, known).gather(1, gold.ids[is_real][:, None])[:, 0]
    flat = iter(values.tolist())
    return [list(islice(flat, length)) for length in gold.lengths.tolist()]


def _together(translator: Translator, known: list[Tensor]) -> Tensor:
    """The models' log-probabilities [N, V] as one distribution, as the search of an ensemble has it."""
    mates = translator.mates
    if mates is None:
        return known[0]
    shares = known[0].new_tensor(mates.weights)[:, None, None] / sum(mates.weights)
    if mates.average == "probabilities":
        return (torch.stack(known) + shares.log()).logsumexp(0)
    return log_probabilities((torch.stack(known) * shares).sum(0))


def _score(translator: Translator, row: _Row, values: list[float]) -> ForcedScore:
    source, target = translator.tokenizers.source, translator.tokenizers.target
    return ForcedScore(
        row.pair.source,
        row.pair.target,
        tuple(target.symbols(row.target[1:-1])),
        tuple(values),
        _unknown(source, row.pair.source, row.source),
        _unknown(target, row.pair.target, row.target),
    )


def _unknown(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> tuple[str, ...]:
    return tuple(tokenizer.unknown(text)) if UNK in ids else ()
