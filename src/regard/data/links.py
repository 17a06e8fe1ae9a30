"""Alignments of training pairs, from words to the tokens that training sees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from regard.errors import DataError
from regard.text.pairs import Links, Pair
from regard.text.pharaoh import Gold
from regard.text.tokenizer import Tokenizer
from regard.text.words import aligns_words, words_of_text


def token_links(pair: Pair, source: Tokenizer, target: Tokenizer) -> list[int]:
    """Target token, source token, target token ...: each token of a word is linked to each of the word linked to it.

    What is linked is as `aligns_words` says. None for a pair without links. DataError, with the place in the file of
    alignments, for what is no link, or one of words that the pair does not have.
    """
    if pair.links is None:
        return []
    words = [_words(source, pair.source), _words(target, pair.target)]
    if not aligns_words(source, target):
        words = [[(place, place + 1) for place in range(spans[-1][1] if spans else 0)] for spans in words]
    links = Gold.parse(pair.links).possible
    for side, spans, used in zip(("source", "target"), words, zip(*links, strict=True), strict=False):
        _check(side, max(used), spans, pair.links)
    found = {
        (right, left)
        for from_word, to_word in links
        for left in range(*words[0][from_word])
        for right in range(*words[1][to_word])
    }
    return list(chain.from_iterable(sorted(found)))


def _words(tokenizer: Tokenizer, text: str) -> Sequence[tuple[int, int]]:
    *words, _ = words_of_text(tokenizer, text)
    return words


def _check(side: str, number: int, words: Sequence[tuple[int, int]], links: Links) -> None:
    if number >= len(words):
        message = f"a link to {side} {number}, counted from 0, but the {side} has {len(words)}"
        fix = "check that the file of alignments belongs to these pairs, line by line, and counts from 0"
        raise DataError(message, where=links.where, fix=fix)
