"""CMUdict as the papers split it, learnt with the stress that they leave out, for which vowel is strong says much about
how the others are spoken; scored without it, as `cmudict` is.

FOLDER is that of `cmudict`. Stress is taken from the dictionary inside the package; the test part has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from regard.data.pronunciations import STRESS, dictionary
from regard.metrics.scoring import score
from sets import cmudict
from sets.part import RATES, DataSet, Numbers, Part, Split, answers, read_pairs, write_lines, write_pairs


def prepare(data: Path, folder: Path) -> list[Part]:
    """One part."""
    plain = cmudict.prepare(data, folder)[0]
    return [Part("", (_taught(plain.train[0]),), (_taught(plain.dev[0]),), plain.test)]


def _taught(plain: Path) -> Path:
    return write_pairs(plain.with_stem(f"{plain.stem}-stressed"), stressed(read_pairs(plain)))


def stressed(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The pairs with a mark at each vowel: that of the first of the word's pronunciations in the dictionary that is the
    same but for its stress; or else of the first with as many vowels; or else the first vowel is strong alone.
    """
    known: dict[str, list[str]] = {}
    for pair in dictionary():
        known.setdefault(pair.source, []).append(pair.target)
    for word, phones in pairs:
        vowels = sum(phone[0] in "AEIOU" for phone in phones.split())
        found = sorted(known.get(word.lower(), []), key=lambda each: each.translate(STRESS) != phones)
        marks = (mark for mark in map(_marks, found) if len(mark) == vowels)
        yield word, _marked(phones, next(marks, "1" + "0" * vowels))


def _marks(phones: str) -> str:
    return "".join(symbol for symbol in phones if symbol in "012")


def _marked(phones: str, marks: str) -> str:
    left = iter(marks)
    return " ".join(phone + next(left) if phone[0] in "AEIOU" else phone for phone in phones.split())


def measure(models: Sequence[Path], part: Part, split: Split) -> Numbers:
    """WER and PER as `error_rates` has them, of answers and references without stress."""
    pairs = [(word, phones.translate(STRESS)) for word, phones in read_pairs(part.files(split)[0])]
    words = list(dict.fromkeys(word for word, _ in pairs))
    given = answers(models, write_lines(part.files(split)[0].with_suffix(".words"), words))
    answer = {word: phones.translate(STRESS) for word, phones in zip(words, given, strict=True)}
    sources, references = zip(*pairs, strict=True)
    values = score(sources, [answer[word] for word in sources], references, symbols=True).values
    return {name: values[name] for name in RATES}


SET = DataSet(prepare, measure, cmudict.PUBLISHED)
