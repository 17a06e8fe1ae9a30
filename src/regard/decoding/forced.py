"""Forced scoring: what a step function thinks of given ids. The measure that every reported score must meet."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from regard.decoding.choose import log_probabilities
from regard.decoding.interface import State, Step, Vocabulary
from regard.errors import UsageError


def forced_score(
    step: Step,
    state: State,
    ids: Sequence[Sequence[int]],
    vocabulary: Vocabulary,
    *,
    finished: Sequence[bool] | None = None,
    device: torch.device | None = None,
) -> list[float]:
    """The log-probability of each row's ids (without bos and eos) and of the eos after them.

    `state` has a row for each row of ids and lies on `device`. `finished` False leaves a row's eos out, as for a
    truncated hypothesis; None: all end in eos. Forbidden ids are scored as any other. Raises UsageError for an id
    outside the vocabulary or a wrong number of flags.
    """
    ends = [True] * len(ids) if finished is None else finished
    _check(ids, ends, vocabulary)
    rows = [[*row, vocabulary.eos] if end else list(row) for row, end in zip(ids, ends, strict=True)]
    longest = max(map(len, rows), default=0)
    padded = [row + [vocabulary.eos] * (longest - len(row)) for row in rows]  # what follows is not counted
    targets = torch.tensor(padded, dtype=torch.int64, device=device).view(len(rows), longest)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    last = targets.new_full((len(rows),), vocabulary.bos)
    total = torch.zeros(len(rows), dtype=torch.float64, device=device)
    for position in range(longest):
        logits, state = step(last, state)
        last = targets[:, position]
        value = log_probabilities(logits).gather(1, last[:, None])[:, 0]
        total += torch.where(position < lengths, value, 0.0)
    return total.tolist()


def _check(ids: Sequence[Sequence[int]], finished: Sequence[bool], vocabulary: Vocabulary) -> None:
    if len(finished) != len(ids):
        raise UsageError(f"{len(ids)} rows to score, but {len(finished)} flags", fix="give one flag a row")
    wrong = [index for row in ids for index in row if not 0 <= index < vocabulary.size]
    if wrong:
        raise UsageError(
            f"id {wrong[0]} does not lie in a vocabulary of {vocabulary.size}", fix="encode with this model's tokenizer"
        )
