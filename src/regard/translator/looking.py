"""A look inside: the answer that a search really gave (or one that is given), and one exact pass that shows how."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.errors import DataError, UsageError
from regard.inside.alignment import align
from regard.inside.opinions import opinions
from regard.inside.record import Answered, Recording, record
from regard.inside.result import END, Candidate, Guess, Look, Search, Side, Step
from regard.inside.words import Spans, words_of_ids, words_of_text
from regard.text.pairs import is_blank
from regard.text.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from regard.translator.requests import Request
from regard.translator.results import Answer

if TYPE_CHECKING:
    from regard.translator.translator import Translator

TOP = 10  # alternatives a step


@dataclass(frozen=True)
class Wanted:
    """What is looked at: the answer of `rank` (1 is the best) that these settings give, or `target` if there is one."""

    request: Request
    options: Mapping[str, Any]
    beam: int | None = None
    rank: int = 1
    target: str | None = None
    model: str = ""
    opinions: bool = True


def look(translator: Translator, wanted: Wanted) -> Look:
    """Raises UsageError for an ensemble, a blank text or too high a rank, DataError for a text that is too long."""
    if translator.mates:
        raise UsageError("one model is looked into at a time", fix="name one model")
    if is_blank(wanted.request.text):
        raise UsageError("there is nothing to look at in a blank text", fix="give a text")
    if wanted.target is not None:
        return _shown(translator, wanted, *_forced(translator, wanted))
    answer, search = _searched(translator, wanted)
    seen = _shown(translator, wanted, answer, search)
    if search.name == "greedy":
        return seen
    other = replace(wanted, options={**wanted.options, "strategy": "beam", "n_best": 1, "groups": 1}, beam=1, rank=1)
    greedy, trace = _searched(translator, other)
    return replace(seen, greedy=trace, greedy_text=greedy.text)


def _searched(translator: Translator, wanted: Wanted) -> tuple[Answer, Search]:
    """The answer and its search, of which every step is kept."""
    n_best = None if wanted.rank == 1 else max(wanted.rank, int(wanted.options.get("n_best", 1)))
    decoding = translator.decoding(wanted.options, beam=wanted.beam, n_best=n_best)
    [found] = translator.translate(
        [wanted.request], beam=wanted.beam, n_best=n_best, options=wanted.options, trace=True
    )
    if wanted.rank > len(found.answers):
        raise UsageError(f"wanted answer {wanted.rank}, the search found {len(found.answers)}", fix="widen the beam")
    answer = found.answers[wanted.rank - 1]
    return answer, _search(answer, decoding.search, tuple(_named(found.trace, translator.tokenizers.target)))


def _named(trace: Sequence[dict[str, Any]], target: Tokenizer) -> Iterator[dict[str, Any]]:
    """Each candidate with its token beside its id; the total of one that a filter forbade is None."""
    for step in trace:
        candidates = [{**each, "token": _symbol(each["id"], target)} for each in step["candidates"]]
        yield {**step, "candidates": [{**each, "total": _finite(each["total"])} for each in candidates]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _search(answer: Answer, name: str, trace: tuple[dict[str, Any], ...] = ()) -> Search:
    return Search(
        name,
        answer.score,
        answer.log_probability,
        answer.length_penalty,
        answer.coverage,
        answer.finished,
        answer.met,
        trace,
    )


def _forced(translator: Translator, wanted: Wanted) -> tuple[Answer, Search]:
    """The given target as if it had been answered."""
    target = translator.tokenizers.target
    [ids] = target.encode_many([wanted.target or ""])
    [score] = translator.force([(wanted.request.text, wanted.target or "")])
    values, total = score.log_probabilities, score.log_probability
    answer = Answer(wanted.target or "", score.symbols, total, total, True, values, ids=tuple(ids))
    return answer, _search(answer, "forced")


def _shown(translator: Translator, wanted: Wanted, answer: Answer, search: Search) -> Look:
    text = wanted.request.text
    [source] = translator.tokenizers.source.encode_many([text])
    if len(source) > translator.longest_source:
        most = f"this model reads at most {translator.longest_source:,}"
        raise DataError(f"the text has {len(source):,} tokens, {most}", fix="look at a shorter one")
    answered = Answered(tuple(source), answer.ids, answer.finished)
    seen = record(translator.model, answered)
    source_side, target_side = _sides(translator, text, answered, answer)
    chosen = translator.chosen
    return Look(
        model=wanted.model,
        source=source_side,
        target=target_side,
        search=search,
        attentions=seen.attentions,
        steps=tuple(_steps(seen, translator.tokenizers.target, answer)),
        opinions=opinions(translator.model, answered, seen.attentions) if wanted.opinions else {},
        alignment=align(seen.attentions, source_side, target_side, chosen.choice) if chosen else None,
    )


def _sides(translator: Translator, text: str, answered: Answered, answer: Answer) -> tuple[Side, Side]:
    source, target = translator.tokenizers.source, translator.tokenizers.target
    tokens = (*_source_tokens(source, text, answered.source), END)
    written = (*answer.symbols, *([END] if answer.finished else []))
    return (
        Side(text, tokens, _and_others(_units(words_of_text(source, text)), len(tokens))),
        Side(answer.text, written, _units(words_of_ids(target, answer.ids, answer.finished)), answer.finished),
    )


def _units(words: Spans) -> Spans:
    """Of a text that is a single word (and its end) the tokens: merged, there would be nothing to see."""
    return words if len(words) > 2 else tuple((place, place + 1) for place in range(words[-1][1] if words else 0))


def _and_others(words: Spans, tokens: int) -> Spans:
    """Each token of the neighbours between a text and its end is a word for itself, as the end is."""
    first, _ = words[-1]
    return (*words[:-1], *((place, place + 1) for place in range(first, tokens)))


def _source_tokens(source: Tokenizer, text: str, ids: Sequence[int]) -> list[str]:
    """As the tokenizer shows them; of a byte, or of what the model never saw, what the text says there."""
    pieces = source.pieces(text)
    pieces += [""] * (len(ids) - len(pieces))  # neighbours have none
    return [_source_token(*each) for each in zip(ids, source.symbols(ids), pieces, strict=True)]


def _source_token(id: int, symbol: str, piece: str) -> str:
    if id == UNK:
        return f"<unk {piece.strip()}>"
    return piece.strip() or symbol if symbol.startswith("<0x") else symbol


def _steps(seen: Recording, target: Tokenizer, answer: Answer) -> Iterator[Step]:
    names = [*answer.symbols, *([END] if answer.finished else [])]
    for place, (id, token) in enumerate(zip(seen.answered.written, names, strict=True)):
        values = seen.log_probabilities[place]
        early = (_guess(layer[place], id, target) for layer in seen.early)
        yield Step(token, float(values[id]), tuple(_best(values, target, TOP)), tuple(early))


def _best(values: Tensor, target: Tokenizer, most: int) -> Iterator[Candidate]:
    """The likeliest tokens of those that can stand in an answer."""
    allowed = values.index_fill(0, torch.tensor([PAD, BOS]), -math.inf)
    top = torch.topk(allowed, min(most, len(values) - 2))
    symbols = [_symbol(id, target) for id in top.indices.tolist()]
    return (Candidate(symbol, value) for symbol, value in zip(symbols, top.values.tolist(), strict=True))


def _guess(values: Tensor, written: int, target: Tokenizer) -> Guess:
    [best] = _best(values, target, 1)
    return Guess(best.token, best.log_probability, float(values[written]))


def _symbol(id: int, target: Tokenizer) -> str:
    return END if id == EOS else target.symbols([id])[0]
