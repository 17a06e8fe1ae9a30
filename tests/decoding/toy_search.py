"""A model without weights, whose logits are drawn from a hash of (sentence, prefix), and searches in plain Python."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from regard.decoding.interface import Vocabulary

Logits = Callable[[int, tuple[int, ...]], list[float]]


@dataclass(frozen=True)
class Prefixes:
    """The state: which sentence each row is, and every id it was fed, bos first."""

    sentences: tuple[int, ...]
    prefixes: tuple[tuple[int, ...], ...]
    selected: list[list[int]] = field(default_factory=list)  # every select so far, for tests that watch

    looked: None = None

    def select(self, rows: Tensor) -> Prefixes:
        self.selected.append(rows.tolist())
        picked = rows.flatten().tolist()
        assert all(len({self.sentences[row] for row in line}) == 1 for line in rows.tolist())  # a line, a sentence
        return Prefixes(
            tuple(self.sentences[row] for row in picked), tuple(self.prefixes[row] for row in picked), self.selected
        )


@dataclass
class Toy:
    """`step` for the strategies; `rows` counts what each call was given."""

    logits: Logits
    dtype: torch.dtype = torch.float64
    rows: list[int] = field(default_factory=list)

    def start(self, sentences: Sequence[int]) -> Prefixes:
        return Prefixes(tuple(sentences), ((),) * len(sentences))

    def step(self, last: Tensor, state: Prefixes) -> tuple[Tensor, Prefixes]:
        assert len(last) == len(state.sentences)
        self.rows.append(len(last))
        prefixes = tuple((*prefix, token) for prefix, token in zip(state.prefixes, last.tolist(), strict=True))
        rows = [self.logits(*row) for row in zip(state.sentences, prefixes, strict=True)]
        return torch.tensor(rows, dtype=self.dtype), Prefixes(state.sentences, prefixes, state.selected)


def random_logits(size: int, seed: int, *, impossible: float = 0.0, levels: int = 0) -> Logits:
    """Gaussian logits; each is -inf with the probability `impossible`; `levels` rounds them so that many are equal."""

    def logits(sentence: int, prefix: tuple[int, ...]) -> list[float]:
        draw = random.Random(f"{seed} {sentence} {prefix}")
        values = [draw.gauss(0.0, 1.5) for _ in range(size)]
        if levels:
            values = [float(round(value * levels) / levels) for value in values]
        return [-math.inf if draw.random() < impossible else value for value in values]

    return logits


def small_vocabulary(size: int) -> Vocabulary:
    """pad 0, bos 1, eos 2; the rest are letters."""
    return Vocabulary(size, bos=1, eos=2, forbidden=(0, 1))


def log_softmax(logits: Sequence[float]) -> list[float]:
    largest = max(logits)
    if largest == -math.inf:
        return list(logits)
    normaliser = largest + math.log(sum(math.exp(value - largest) for value in logits))
    return [value - normaliser for value in logits]


def forced(logits: Logits, sentence: int, ids: Sequence[int], vocabulary: Vocabulary, finished: bool = True) -> float:
    total, prefix = 0.0, (vocabulary.bos,)
    for token in [*ids, vocabulary.eos] if finished else ids:
        total += log_softmax(logits(sentence, prefix))[token]
        prefix = (*prefix, token)
    return total


def anything(ids: Sequence[int]) -> bool:
    return True


def exhaustive(
    logits: Logits,
    sentence: int,
    limit: int,
    vocabulary: Vocabulary,
    alpha: float,
    *,
    allowed: Callable[[Sequence[int]], bool] = anything,
    kind: str = "gnmt",
) -> list[tuple[list[int], float]]:
    """Every possible finished hypothesis that is allowed with its score, the best first."""
    letters = [token for token in range(vocabulary.size) if token not in (*vocabulary.forbidden, vocabulary.eos)]
    found = []
    for length in range(limit + 1):
        for ids in product(letters, repeat=length):
            total = forced(logits, sentence, ids, vocabulary)
            if total > -math.inf and allowed(ids):
                penalty = (5 + length + 1) / 6 if kind == "gnmt" else length + 1
                found.append((list(ids), total / penalty**alpha))
    return sorted(found, key=lambda pair: -pair[1])


def plain_beam(
    logits: Logits, sentence: int, limit: int, vocabulary: Vocabulary, size: int, alpha: float
) -> list[tuple[list[int], float, bool]]:
    """Beam search by its definition: no batch, no early stop, no pruning. All that was found: ids, score, finished."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished, truncated = [], []
    while live:
        length = len(live[0][1])
        rows = [log_softmax(logits(sentence, (vocabulary.bos, *ids))) for _, ids in live]
        candidates = []
        for place, ((total, _), row) in enumerate(zip(live, rows, strict=True)):
            for token, value in enumerate(row):
                if token not in vocabulary.forbidden and value > -math.inf:
                    candidates.append((-(total + value), place, -value, token))
        if length == limit or not candidates:
            best = [min((c for c in candidates if c[1] == place), default=None) for place in range(len(live))]
            bar = min(-c[0] if c else -math.inf for c in best) if len(live) == size and limit else -math.inf
            for (total, ids), row, own in zip(live, rows, best, strict=True):
                with_eos = total + row[vocabulary.eos]
                wins = with_eos > bar or (own is not None and own[3] == vocabulary.eos)
                if wins and with_eos > -math.inf:
                    finished.append((list(ids), with_eos / ((6 + length) / 6) ** alpha, True))
                else:
                    truncated.append((list(ids), total / ((5 + length) / 6) ** alpha, False))
            break
        chosen = sorted(candidates)[:size]
        for negative, place, _, token in chosen:
            if token == vocabulary.eos:
                finished.append((list(live[place][1]), -negative / ((6 + length) / 6) ** alpha, True))
        live = [(-c[0], (*live[c[1]][1], c[3])) for c in chosen if c[3] != vocabulary.eos]
    return sorted(finished, key=lambda h: -h[1]) + sorted(truncated, key=lambda h: -h[1])
