"""Words as spans of tokens.

A word is what stands between spaces (U+0020), whatever the tokenizer: so the words of a text are the same for two
models with different tokens, and those that a file of alignments counts. A token that holds the space alone goes to the
word after it, as the space in front of a piece of a word does; the end of a text is a word of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from regard.text.tokenizer import KINDS, UNK, Tokenizer

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""(first token, one past the last) of each word; they cover all tokens in order."""

SMALL = {"characters", "graphemes"}  # kinds of tokens of which a word has many


def aligns_words(source: Tokenizer, target: Tokenizer) -> bool:
    """Whether an alignment is between words unless it is said: between tokens where those of a side are letters."""
    return not {source.kind, target.kind} & SMALL


def words_of_text(tokenizer: Tokenizer, text: str) -> Spans:
    """Of the text's own tokens among `tokenizer.encode(text)` and the end after them. DataError on a lone surrogate."""
    return _with_end(_words(tokenizer, tokenizer.pieces(text)))


def words_of_ids(tokenizer: Tokenizer, ids: Sequence[int], ends: bool = True) -> Spans:
    """Of ids as a model writes them, and of the end after them if it `ends`.

    What an unknown id stands for is not known: it is a word where pieces are whole words, a letter where they are not.
    """
    known = {id: _piece(tokenizer, id) for id in set(ids)}
    spans = _words(tokenizer, [known[id] for id in ids])
    return _with_end(spans) if ends else spans


def _words(tokenizer: Tokenizer, pieces: Sequence[str]) -> Spans:
    if KINDS[tokenizer.kind].spaces_between:
        return tuple((place, place + 1) for place in range(len(pieces)))
    return word_spans(pieces)


def word_spans(pieces: Iterable[str]) -> Spans:
    """Of pieces that together are the text: a space starts a word, but for the first and for spaces at the end."""
    starts, count = [0], 0
    blank = after_space = True  # is there nothing but spaces in this word; did the last piece end in one
    for piece in pieces:
        if not blank and (after_space or piece.startswith(" ")):
            starts.append(count)
            blank = True
        blank = blank and not piece.strip(" ")
        after_space = piece.endswith(" ") if piece else after_space  # a byte that goes on with a character has no text
        count += 1
    if blank and len(starts) > 1:
        starts.pop()
    return tuple(zip(starts, [*starts[1:], count], strict=True)) if count else ()


def _with_end(spans: Spans) -> Spans:
    last = spans[-1][1] if spans else 0
    return (*spans, (last, last + 1))


def _piece(tokenizer: Tokenizer, id: int) -> str:
    """What the id adds to a text, its space too, which `decode` takes from the first token alone."""
    if id == UNK:
        return " ?" if KINDS[tokenizer.kind].leading_space else "?"
    alone, twice = tokenizer.decode([id]), tokenizer.decode([id, id])
    return twice[len(alone) :] if len(twice) > 2 * len(alone) else alone
