"""Requests and settings as what the search reads: a strategy, limits, filters."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.config import Decoding
from regard.decoding import Alternatives, Beam, Greedy, Ranking, Sampling
from regard.decoding.filters import NOTHING, BiasedPrefix, Forbidden, ForcedPrefix, MinimumLength, NoRepeat
from regard.decoding.interface import Conditions, Filter, Observer, Phrase, Strategy
from regard.errors import DataError
from regard.text.tokenizer import EOS, UNK, Tokenizer
from regard.translator.requests import Request


@dataclass(frozen=True)
class Asked:
    """One request as ids: the source without its end, the prefix, the phrases."""

    source: tuple[int, ...]
    prefix: tuple[int, ...] = ()
    required: tuple[Phrase, ...] = ()
    forbidden: tuple[Phrase, ...] = ()

    @property
    def key(self) -> int:
        """What this request draws its samples by: the same for the same source, wherever it stands."""
        return zlib.crc32(repr(self.source).encode())


def strategy(decoding: Decoding, asked: Sequence[Asked] = (), device: torch.device | None = None) -> Strategy:
    """The search that the settings ask for, for these requests, on a device. Raises UsageError."""
    ranking = Ranking(decoding.length_penalty, decoding.normalise, decoding.coverage_penalty)
    if decoding.strategy == "sampling":
        chosen = (decoding.temperature, decoding.top_k, decoding.top_p, decoding.min_p, decoding.seed)
        return Sampling(decoding.n_best, *chosen, ranking)
    if decoding.strategy == "alternatives":
        positions = torch.tensor([len(each.prefix) for each in asked], dtype=torch.int64, device=device)
        return Alternatives(decoding.n_best, positions, ranking)
    beam = Beam(decoding.beam, decoding.n_best, ranking, decoding.groups, decoding.diversity)
    return Greedy(ranking) if decoding.beam == 1 else beam


def limit(asked: Asked, decoding: Decoding, longest: int | None) -> int:
    """The most ids of the answer; never below the fewest, never more than a decoder with `longest` positions takes."""
    wanted = math.ceil(len(asked.source) * decoding.limit_factor) + decoding.limit_extra
    wanted = max(wanted, decoding.min_length)
    return wanted if longest is None else min(wanted, longest - 1)


def conditions(
    asked: Sequence[Asked],
    decoding: Decoding,
    target: Tokenizer,
    observer: Observer | None = None,
    device: torch.device | None = None,
) -> Conditions:
    """What the search shall keep to, for sources in this order; its tensors lie on `device`."""
    has_phrases = any(each.required or each.forbidden for each in asked)
    continuing = target.continuing() if has_phrases else frozenset()
    return Conditions(
        filters=tuple(_filters(asked, decoding, continuing, device)),
        continuing=continuing,
        required=[each.required for each in asked] if any(each.required for each in asked) else (),
        keys=[each.key for each in asked],
        source_lengths=torch.tensor([len(each.source) + 1 for each in asked], device=device),
        observer=observer,
    )


def _filters(
    asked: Sequence[Asked], decoding: Decoding, continuing: frozenset[int], device: torch.device | None
) -> list[Filter]:
    filters: list[Filter] = []
    if any(each.prefix for each in asked):
        prefix, strength = _padded([each.prefix for each in asked]).to(device), decoding.prefix_strength
        filters.append(ForcedPrefix(prefix) if strength == 1 else BiasedPrefix(prefix, strength))
    if decoding.min_length:
        filters.append(MinimumLength(torch.full((len(asked),), decoding.min_length, device=device), EOS))
    if decoding.no_repeat:
        filters.append(NoRepeat(decoding.no_repeat))
    if any(each.forbidden for each in asked):
        filters.append(Forbidden([each.forbidden for each in asked], continuing, device))
    return filters


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[NOTHING] * (longest - len(row))] for row in rows], dtype=torch.int64)


def asked(request: Request, source: Sequence[int], target: Tokenizer, where: str) -> Asked:
    """The request as ids. DataError for phrases that cannot be written, or that contradict each other."""
    prefix = _ids(request.prefix, "prefix", target, where) if request.prefix else ()
    required = tuple(_ids(phrase, "required phrase", target, where) for phrase in request.required)
    forbidden = tuple(_ids(phrase, "forbidden phrase", target, where) for phrase in request.forbidden)
    for text, wanted in zip((request.prefix, *request.required), (prefix, *required), strict=True):
        for phrase, unwanted in zip(request.forbidden, forbidden, strict=True):
            if _holds(wanted, unwanted):
                fix = "take one of the two out"
                raise DataError(
                    f"{text!r} is asked for, but it holds {phrase!r}, which is forbidden", where=where, fix=fix
                )
    return Asked(tuple(source), prefix, required, forbidden)


def check_prefix(asked: Asked, most: int, where: str) -> None:
    """DataError if the prefix alone is longer than the answer may be."""
    if len(asked.prefix) > most:
        raise DataError(
            f"the prefix has {len(asked.prefix):,} tokens, the answer may have {most:,}",
            where=where,
            fix="shorten the prefix, or raise decoding.limit_extra",
        )


def _ids(text: str, what: str, target: Tokenizer, where: str) -> Phrase:
    ids = tuple(target.encode(text))
    unknown = target.unknown(text) if UNK in ids else []
    if not ids or unknown:
        why = f"the model knows no {' '.join(unknown)}" if unknown else "it is empty"
        raise DataError(f"the {what} {text!r} cannot be written: {why}", where=where, fix="take it out or spell it")
    return ids


def _holds(ids: Phrase, part: Phrase) -> bool:
    return any(ids[start : start + len(part)] == part for start in range(len(ids) - len(part) + 1))
