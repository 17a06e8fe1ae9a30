"""The survey on corpora like real ones: what are symbols, what is text, what is a name."""

import random
from collections.abc import Iterator

import pytest

from regard.text import survey as module
from regard.text.pairs import Pair
from regard.text.survey import Survey, survey

PHONES = [
    "aa",
    "ae",
    "ah",
    "ao",
    "aw",
    "ay",
    "b",
    "ch",
    "d",
    "dh",
    "eh",
    "er",
    "ey",
    "f",
    "g",
    "hh",
    "ih",
    "iy",
    "jh",
    "k",
    "l",
    "m",
    "n",
    "ng",
    "ow",
    "oy",
    "p",
    "r",
    "s",
    "sh",
    "t",
    "th",
    "uh",
    "uw",
    "v",
    "w",
    "y",
    "z",
    "zh",
]
DIRECTIONS = ["I_TURN_LEFT", "I_TURN_RIGHT", "I_JUMP", "I_WALK", "I_RUN", "I_LOOK"]
COMMANDS = [
    "jump",
    "walk",
    "run",
    "look",
    "turn",
    "left",
    "right",
    "twice",
    "thrice",
    "and",
    "after",
    "opposite",
    "around",
]


def pairs(sides: list[tuple[str, str]]) -> list[Pair]:
    return [Pair(source, target, line) for line, (source, target) in enumerate(sides, 1)]


def some(choices: list[str], low: int, high: int) -> str:
    return " ".join(random.choices(choices, k=random.randint(low, high)))


def words(count: int) -> list[str]:
    """A vocabulary in which, as in a language, most words are rare."""
    made = ["".join(random.choices("etaoinshrdlu", k=random.randint(2, 9))) for _ in range(count)]
    return [word for rank, word in enumerate(made, 1) for _ in range(max(1, count // rank // 4))]


def pronunciations(count: int) -> Survey:
    return survey(pairs([("".join(random.choices("abcdefgh", k=7)), some(PHONES, 3, 9)) for _ in range(count)]))


def test_phones_are_symbols_and_spellings_are_not() -> None:
    found = pronunciations(300)
    assert (found.source.are_symbols, found.target.are_symbols) == (False, True)
    assert found.target.distinct_words == 39
    assert 5 < found.target.words < 7
    assert (found.source.words, found.source.characters, found.source.distinct_characters) == (1, 7, 8)


def test_commands_are_symbols() -> None:
    found = survey(pairs([(some(COMMANDS, 2, 9), some(DIRECTIONS, 1, 20)) for _ in range(200)]))
    assert (found.source.are_symbols, found.target.are_symbols) == (True, True)


def test_sentences_are_not_symbols() -> None:
    vocabularies = words(6000), words(9000)
    for count in (30, 3000):
        found = survey(pairs([(some(vocabularies[0], 4, 20), some(vocabularies[1], 4, 20)) for _ in range(count)]))
        assert (found.source.are_symbols, found.target.are_symbols) == (False, False)


def test_names_are_not_symbols() -> None:
    names = ["Müller Иван", "O'Neil", "Jean-Luc", "山田 太郎", "de la Cruz", "Li"]
    found = survey(pairs([(name, name.upper()) for name in names * 3]))
    assert (found.source.are_symbols, found.target.are_symbols) == (False, False)


def test_exact_counts_with_blanks_and_odd_spaces() -> None:
    found = survey(pairs([("ab  c ", "x"), ("", "y"), ("z", " \t"), ("b", " é é")]))
    assert found.pairs == 2
    assert [list(lengths) for lengths in found.character_lengths] == [[6, 1], [1, 4]]
    assert [list(lengths) for lengths in found.word_lengths] == [[2, 1], [1, 2]]  # not the gaps between spaces
    assert (found.source.words, found.source.characters) == (1.5, 3.5)
    assert (found.source.distinct_words, found.source.distinct_characters) == (3, 4)
    assert (found.target.distinct_words, found.target.distinct_characters) == (2, 3)
    assert found.shared_characters == 1 / 3  # the space, of "x", "é" and the space


def test_nothing_at_all() -> None:
    for nothing in ([], pairs([("", ""), (" ", "x")])):
        found = survey(nothing)
        assert (found.pairs, found.source.words, found.target.characters, found.shared_characters) == (0, 0, 0, 0)
        assert not found.source.are_symbols


def test_one_pair() -> None:
    found = survey([Pair("hello", "hh ah l ow", 1)])
    assert (found.pairs, found.target.words, found.target.are_symbols) == (1, 4, False)


def test_only_a_sample_is_looked_at_but_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 3)

    def endless(count: int) -> Iterator[Pair]:
        for line in range(count):
            yield Pair("ab" if line < 3 else "longer", "", line) if line == 1 else Pair("ab", "c", line)

    found = survey(endless(10))
    assert found.pairs == 9
    assert list(found.character_lengths[0]) == [2, 2, 2]
