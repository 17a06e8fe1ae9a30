"""Required phrases: lexically constrained beam search by dynamic beam allocation (Post and Vilar 2018).

The places of a sentence are shared out among banks: hypotheses that hold 0, 1, 2, ... tokens of the required phrases.
So hypotheses that pay for a phrase now are not crowded out by those that put it off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from regard.decoding.choose import Chosen, continuations
from regard.decoding.interface import Conditions, Hypothesis, Phrase
from regard.decoding.table import Table


class Progress(NamedTuple):
    """How far a hypothesis is: the phrases it lacks, and how many ids of one of them it ends in (0: none)."""

    lacking: tuple[Phrase, ...]
    begun: int


def progress(ids: Sequence[int], phrases: Sequence[Phrase], continuing: frozenset[int]) -> Progress:
    """Each phrase counts once, and no id for two phrases: found from left to right, longer phrases first.

    A phrase that one of `continuing` follows is the beginning of another word, and does not count.
    """
    lacking, begun, start = sorted(phrases, key=len, reverse=True), 0, 0
    for end in range(1, len(ids) + 1):
        if end < len(ids) and ids[end] in continuing:
            continue
        for phrase in lacking:
            if end - start >= len(phrase) and tuple(ids[end - len(phrase) : end]) == phrase:
                lacking.remove(phrase)
                start = end
                break
    tail = tuple(ids[start:])
    for phrase in lacking:
        for length in range(min(len(phrase) - 1, len(tail)), begun, -1):
            if tail[-length:] == phrase[:length]:
                begun = length
                break
    return Progress(tuple(lacking), begun)


class _Candidate(NamedTuple):
    total: float
    parent: int
    token: int
    bank: int


class Required:
    """Chooses the continuations of sentences with required phrases; the conditions have a list for each sentence."""

    def __init__(self, conditions: Conditions, size: int, eos: int) -> None:
        self.phrases, self.continuing = conditions.required, conditions.continuing
        self.size, self.eos = size, eos

    def __call__(self, values: Float[Tensor, "R V"], table: Table) -> Chosen:
        """`size` continuations a sentence, shared out among the banks. eos is for those that lack nothing."""
        plain = continuations(values, table.total, self.size)
        if not any(self.phrases[sentence] for sentence in table.sentence.tolist()):
            return plain
        shape = (*table.total.shape, values.shape[1])
        parents, tokens, totals, margins = [], [], [], []
        for line, sentence in enumerate(table.sentence.tolist()):
            candidates = self._candidates(values.view(shape)[line], table, line, self.phrases[sentence], plain)
            chosen, margin = allocate(candidates, self.size, sum(map(len, self.phrases[sentence])))
            margin = min(margin, float(plain.margin[line]), _lead(values.view(shape)[line]))
            chosen += [_Candidate(-math.inf, 0, 0, 0)] * (self.size - len(chosen))
            parents.append([each.parent for each in chosen])
            tokens.append([each.token for each in chosen])
            totals.append([each.total for each in chosen])
            margins.append(margin)
        device = table.total.device
        places, ids = torch.tensor(parents, device=device), torch.tensor(tokens, device=device)
        total, lead = (torch.tensor(each, dtype=torch.float64, device=device) for each in (totals, margins))
        return Chosen(places, ids, total, lead)

    @staticmethod
    def judge(hypotheses: list[Hypothesis], conditions: Conditions, sentence: int) -> list[Hypothesis]:
        """Marked where a phrase is missing."""
        wanted, continuing = conditions.required[sentence], conditions.continuing
        return [replace(each, met=not progress(each.ids, wanted, continuing).lacking) for each in hypotheses]

    def _candidates(
        self, values: Tensor, table: Table, line: int, phrases: Sequence[Phrase], plain: Chosen
    ) -> list[_Candidate]:
        """The sentence's best, and from each place: its best id and every id that begins or continues a phrase."""
        before, histories = table.total[line].tolist(), table.history[line].tolist()
        needed = sum(map(len, phrases))
        wanted = set(zip(plain.parent[line].tolist(), plain.token[line].tolist(), strict=True))
        for place, best in enumerate(values.argmax(1).tolist()):
            lacking, begun = progress(histories[place], phrases, self.continuing)
            tail = tuple(histories[place][len(histories[place]) - begun :])
            nexts = {phrase[begun] for phrase in lacking if phrase[:begun] == tail} if begun else set()
            wanted |= {(place, token) for token in {best} | nexts | {phrase[0] for phrase in lacking}}
        found = []
        for place, token in sorted(wanted):
            total = before[place] + float(values[place, token])
            lacking, begun = progress([*histories[place], token], phrases, self.continuing)
            if total > -math.inf and not (token == self.eos and lacking):
                found.append(_Candidate(total, place, token, needed - sum(map(len, lacking)) + begun))
        return sorted(found, key=lambda each: -each.total)


def allocate(candidates: list[_Candidate], size: int, needed: int) -> tuple[list[_Candidate], float]:
    """Each bank's best of `candidates` (the best first), an even share of the places each, and the closest decision.

    What a bank cannot fill goes to the fullest banks first; the bank of the hypotheses that hold most gets what is
    left of the even share.
    """
    banks = [[each for each in candidates if each.bank == bank] for bank in range(needed + 1)]
    shares = [size // (needed + 1)] * (needed + 1)
    for bank in range(needed, needed - size % (needed + 1), -1):
        shares[bank] += 1
    shares = [min(share, len(bank)) for share, bank in zip(shares, banks, strict=True)]
    while sum(shares) < min(size, len(candidates)):
        roomy = [bank for bank in range(needed + 1) if shares[bank] < len(banks[bank])]
        shares[max(roomy)] += 1
    chosen = [each for bank, share in zip(banks, shares, strict=True) for each in bank[:share]]
    edges = [
        bank[share - 1].total - bank[share].total
        for bank, share in zip(banks, shares, strict=True)
        if 0 < share < len(bank)
    ]
    return sorted(chosen, key=lambda each: -each.total), min(edges, default=math.inf)


def _lead(values: Float[Tensor, "W V"]) -> float:
    """The least by which the best id of a row beats the second."""
    top = values.topk(min(2, values.shape[1]), dim=1).values
    return float((top[:, 0] - top[:, -1]).nan_to_num(torch.inf).amin()) if top.shape[1] > 1 else math.inf
