"""The kinds of tokenizer: where each cuts text into pieces, and how it learns which pieces to keep."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from regard.text.vocabulary import learn_bpe, learn_unigram, learn_whole

SPACED = r" ?[^ ]+| +(?= [^ ])| +"  # the last space of a run goes to what follows it, never to what precedes it
WORD = (
    r" ?[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*"  # letters, with apostrophes inside: don't, l'été
    r"| ?\p{N}+"  # digits
    r"| ?[^ \p{L}\p{M}\p{N}]"  # one mark of punctuation, or anything else
    r"| +(?= [^ ])| +"  # more than one space
)


def spaced_pieces(text: str) -> list[str]:
    """Words with the space before them, and what is left of runs of spaces."""
    return re.findall(SPACED, text)


def between_spaces(text: str) -> list[str]:
    """The symbols of a text; runs of spaces count as one."""
    return [symbol for symbol in text.split(" ") if symbol]


@dataclass(frozen=True, slots=True)
class TokenizerKind:
    """One way to cut text.

    pattern:        regular expression (Oniguruma) whose matches are the pieces, or, for `spaces_between`, the gaps
    model:          the library's name of the model, which with the pattern tells the kind of a saved tokenizer
    learn:          counted pieces and the largest vocabulary -> model
    spaces_between: pieces stand between spaces, so decoding puts one space between them
    leading_space:  a piece owns the space before it; text gets one in front, so that a word at the start of a sentence
                    is the same piece as inside
    has_bytes:      unknown characters are spelled in UTF-8 bytes, so every text survives
    cut:            the same pieces as the pattern gives, in plain Python, where that is several times faster
    """

    pattern: str
    model: str
    learn: Callable[[Counter[str], int], models.Model]
    spaces_between: bool = False
    leading_space: bool = False
    has_bytes: bool = False
    cut: Callable[[str], list[str]] | None = None

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """What cuts the text."""
        return pre_tokenizers.Split(Regex(self.pattern), "removed" if self.spaces_between else "isolated")

    def normalizer(self, unicode: str, lowercase: bool = False, accents: bool = True) -> normalizers.Normalizer:
        """What is done to text before it is cut: Unicode form, case, marks, the space in front.

        The form is applied again after lowercasing, each of which can undo the other (NFKC makes H of ℌ, which has
        no lower case of its own): so doing all of it twice changes nothing.
        """
        form = FORMS[unicode]
        steps = [*form, normalizers.Lowercase(), *form] if lowercase else [*form]
        if not accents:
            # what is left of a letter is put together again (Hangul), also where no form was asked for
            steps += [normalizers.NFD(), normalizers.StripAccents(), *(form or [normalizers.NFC()])]
        return normalizers.Sequence([*steps, normalizers.Prepend(" ")] if self.leading_space else steps)

    def decoder(self) -> decoders.Decoder | None:
        """How the library itself joins pieces (with spaces when None); bytes are joined only by our `decode`."""
        if self.spaces_between:
            return None
        fuse = decoders.Fuse()
        return decoders.Sequence([fuse, decoders.Strip(" ", 1, 0)]) if self.leading_space else fuse


FORMS: dict[str, tuple[normalizers.Normalizer, ...]] = {
    "NFC": (normalizers.NFC(),),
    "NFKC": (normalizers.NFKC(),),
    "NFD": (normalizers.NFD(),),
    "none": (),
}

KINDS: dict[str, TokenizerKind] = {
    "characters": TokenizerKind(r"[\s\S]", "WordLevel", learn_whole, cut=list),  # code points
    "graphemes": TokenizerKind(r"\X", "WordLevel", learn_whole),  # what a reader calls a character
    "symbols": TokenizerKind(" ", "WordLevel", learn_whole, spaces_between=True, cut=between_spaces),
    "words": TokenizerKind(WORD, "WordLevel", learn_whole, leading_space=True),
    "bpe": TokenizerKind(SPACED, "BPE", learn_bpe, leading_space=True, has_bytes=True, cut=spaced_pieces),
    "unigram": TokenizerKind(SPACED, "Unigram", learn_unigram, leading_space=True, has_bytes=True, cut=spaced_pieces),
}
