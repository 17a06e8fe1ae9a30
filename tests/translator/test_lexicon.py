"""Answers from a lexicon: each line gets its own, in order, and what is not there the model's, as without one."""

from __future__ import annotations

import gzip
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.pronunciations import STRESS, pronunciations
from regard.errors import DataError, UsageError
from regard.text.pairs import Pair
from regard.text.tokenizer import Tokenizer
from regard.translator import Answer, Lexicon, Request, Tokenizers, Translation, Translator
from regard.translator.lexicon import consulting
from small import untrained

LINES = ["fox", "Fox", "FOX", "dogs", "dög", "do\u0308g", "lazy", "fox ", "", " "]
OWN = ["fox", "dogs", "dög"]  # lines whose model's answers may stand in the lexicon too


@cache
def translator() -> Translator:
    """Its source tokenizer makes NFC and lower case of a text."""
    plain = untrained({"decoding": {"longest_source": 60}}, seed=2)
    source = Tokenizer.train(
        ["the quick brown fox jumps over lazy dogs"], "characters", vocabulary=1000, unicode="NFC", lowercase=True
    )
    return Translator(plain.model, Tokenizers(source, plain.tokenizers.target), plain.recipe)


@cache
def alone(line: str, n_best: int) -> Translation:
    return next(iter(translator().translate([line], beam=3, n_best=n_best)))


def lexicon(pairs: Iterable[tuple[str, str]]) -> Lexicon:
    return Lexicon.of([Pair(*pair, number) for number, pair in enumerate(pairs, 1)], translator().tokenizers.source)


def plain(text: str) -> str:
    """What the tokenizer's normalisation is, said without it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def expected(line: str, pairs: list[tuple[str, str]], n_best: int) -> list[str]:
    own = [answer.text for answer in alone(line, n_best).answers]
    alike = [pair for pair in pairs if plain(pair[0]) == plain(line)]
    known = [target for _, target in sorted(alike, key=lambda pair: pair[0] != line)]  # written exactly so: first
    return list(dict.fromkeys([*known, *own]))[:n_best] if known else own


TARGETS = [*((line, rank) for line in OWN for rank in range(3)), "as it IS ", "\u2028Ω", "||| 0-0"]
SOURCES = [line for line in LINES if line.strip()]


@given(
    st.lists(st.tuples(st.sampled_from(SOURCES), st.sampled_from(TARGETS)), min_size=1, max_size=8),
    st.lists(st.sampled_from(LINES), max_size=9),
    st.integers(1, 3),
    st.integers(1, 3),
)
@settings(max_examples=50)
def test_each_line_gets_its_answers(
    given: list[tuple[str, str | tuple[str, int]]], lines: list[str], n_best: int, batch_size: int
) -> None:
    """Targets are free text, or what the model would say itself: (line, rank)."""
    pairs = [
        (source, target if isinstance(target, str) else alone(target[0], 3).answers[target[1]].text)
        for source, target in given
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regard.translator.translator.AHEAD", 2)  # so that few lines are several chunks
        found = list(
            translator().translate(lines, beam=3, n_best=n_best, batch_size=batch_size, lexicon=lexicon(pairs))
        )
    assert [result.source for result in found] == lines
    assert [[answer.text for answer in result.answers] for result in found] == [
        expected(line, pairs, n_best) for line in lines
    ]
    for line, result in zip(lines, found, strict=True):
        known = {target for source, target in pairs if line.strip() and plain(source) == plain(line)}
        assert [answer.from_lexicon for answer in result.answers] == [each.text in known for each in result.answers]
        own = {answer.text: answer for answer in alone(line, n_best).answers}
        assert all(
            answer.score == pytest.approx(own[answer.text].score, abs=1e-5)
            for answer in result.answers
            if not answer.from_lexicon
        )


def test_what_the_model_says_too_is_said_once() -> None:
    first, second, third = (answer.text for answer in alone("fox", 3).answers)
    words = lexicon([("fox", second), ("fox", "F")])
    for n_best, wanted in ((1, [second]), (2, [second, "F"]), (3, [second, "F", first])):
        [result] = translator().translate(["FOX"], beam=3, n_best=n_best, lexicon=words)
        assert [answer.text for answer in result.answers] == wanted
    [result] = translator().translate(["fox"], beam=3, n_best=3, lexicon=lexicon([("fox", first)]))
    assert [answer.text for answer in result.answers] == [first, second, third]
    assert [answer.from_lexicon for answer in result.answers] == [True, False, False]


def test_what_is_written_exactly_so_comes_first() -> None:
    words = lexicon([("Polish", "P OW"), ("polish", "P AA"), ("Polish", "P O"), ("polish", "P OW")])
    assert words.targets("polish") == ["P AA", "P OW", "P O"]
    assert words.targets("Polish") == ["P OW", "P O", "P AA"]
    assert words.targets("POLISH") == ["P OW", "P AA", "P O"]


def test_two_answers_that_read_alike_are_one_known_and_one_more() -> None:
    """As with tokens that spell one text in two ways: as many lines come out as without a lexicon."""

    def search(lines: Iterable[str]) -> Iterator[Translation]:
        for line in lines:
            answers = [Answer(text, (), 0.0, 0.0, finished=True) for text in ("A B", "A B", "C")]
            yield Translation(line, tuple(answers), ())

    three = translator().recipe.decoding.model_copy(update={"n_best": 3})
    [result] = consulting(lexicon([("fox", "A B")]), ["fox"], three, trace=False, search=search)
    assert [(answer.text, answer.from_lexicon) for answer in result.answers] == [
        ("A B", True),
        ("A B", False),
        ("C", False),
    ]


def test_what_is_there_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    words = lexicon([("fox", "F"), ("dogs", "D"), ("dogs", "E")])
    searched: list[str] = []
    translate = Translator._translate

    def watched(self: Translator, lines: Iterable[str], manner: object) -> Iterator[Translation]:
        kept = list(lines)
        searched.extend(line for line in kept if line)
        return translate(self, kept, manner)  # type: ignore[arg-type]

    monkeypatch.setattr(Translator, "_translate", watched)
    long = "fox" * 21  # more than the model reads, which does not matter to a lexicon
    words._add(long, "L")
    [fox, long_one, dogs, lazy] = translator().translate(["Fox", long, "dogs", "lazy"], lexicon=words)
    assert searched == ["lazy"]
    assert fox == Translation("Fox", (Answer("F", (), 0.0, 0.0, True, from_lexicon=True),), ())
    assert (long_one.text, dogs.text, lazy) == ("L", "D", alone("lazy", 1))
    searched.clear()
    list(translator().translate(["fox", "dogs"], n_best=2, lexicon=words))
    assert searched == ["fox"]


def test_what_it_does_not_go_with() -> None:
    words = lexicon([("fox", "F")])
    for strategy in ("sampling", "alternatives"):
        with pytest.raises(UsageError, match=f"decoding.strategy is {strategy}"):
            translator().translate(["fox"], options={"strategy": strategy}, lexicon=words)
    with pytest.raises(UsageError, match="has no trace"):
        translator().translate(["fox"], trace=True, lexicon=words)
    for request in (Request("dogs", prefix="A"), Request("dogs", required=("A",)), Request("dogs", forbidden=("A",))):
        results = translator().translate(["fox", Request("lazy"), request, "fox"], lexicon=words)
        assert [next(results).text, next(results).text] == ["F", alone("lazy", 1).text]
        with pytest.raises(DataError, match="line 3: an answer from a lexicon cannot keep"):
            next(results)


def test_a_line_at_fault_is_named_after_the_answers_before_it() -> None:
    results = translator().translate(["fox", "o" * 61, "fox"], lexicon=lexicon([("fox", "F")]))
    assert next(results).text == "F"
    with pytest.raises(DataError, match="line 2: the text has 61 tokens"):
        next(results)


def test_files(tmp_path: Path) -> None:
    """In every form that the reader of pairs takes; equal content has an equal digest."""
    tokenizers = translator().tokenizers
    text = "Fox\tF \n\nfox\tG\nfox\tF \ndo\u0308g\t\u2028D\n"
    (tmp_path / "a.tsv").write_text(text, encoding="utf-8")
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/1.tsv").write_text(text[:8], encoding="utf-8")
    (tmp_path / "parts/2.tsv").write_text(text[8:], encoding="utf-8")
    (tmp_path / "b.tsv").write_text(text + "x\ty\n", encoding="utf-8")
    found = [Lexicon.load(str(tmp_path / name), tokenizers) for name in ("a.tsv", "a.tsv.gz", "parts", "b.tsv")]
    for each in found:
        assert each.targets("FOX") == ["F ", "G"]
        assert each.targets("dög") == ["\u2028D"]
        assert each.targets("fo") == each.targets("") == each.targets("fox ") == []
    assert len({each.digest for each in found[:3]}) == 1
    assert found[3].digest != found[0].digest
    swapped = [lexicon(pairs).digest for pairs in ([("a", "b"), ("a", "c")], [("a", "c"), ("a", "b")])]
    assert swapped[0] != swapped[1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"fox\tF\nlazy\n", r"l\.tsv:2: 1 column; the first line has 2"),
        (b"fox\tF\nlazy\tL\tM\n", r"l\.tsv:2: 3 columns"),
        (b"fox\n", r"l\.tsv:1: one column"),
        (b"\nfox\tF\n\t\nlazy\t \n", r"l\.tsv:4: the target is blank"),
        (b"fox\tF\n \tL\n", r"l\.tsv:2: the source is blank"),
        (b"fox\tF\nlazy\t\xff\n", r"l\.tsv:2: invalid UTF-8"),
        (b"\n\n", r"l\.tsv: there is no pair"),
        (b"", r"l\.tsv: the file is empty"),
    ],
)
def test_a_mistake_in_a_file_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "l.tsv").write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        Lexicon.load(str(tmp_path / "l.tsv"), translator().tokenizers)
    assert "--" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        Lexicon.load(str(tmp_path / "nowhere.tsv"), translator().tokenizers)
    with pytest.raises(UsageError, match="not from standard input"):
        Lexicon.load("-", translator().tokenizers)


def writing(symbols: str, kind: str = "symbols", lowercase: bool = False) -> Tokenizers:
    target = Tokenizer.train([symbols], kind, vocabulary=1000, lowercase=lowercase)
    return replace(translator().tokenizers, target=target)


def test_the_built_in_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phones: dict[str, list[str]] = {}
    for pair in pronunciations("valid"):
        phones.setdefault(pair.source, []).append(pair.target)
    asked: list[bool] = []

    def some(stress: bool) -> Iterator[Pair]:  # of all, reading takes seconds
        asked.append(stress)
        return pronunciations("valid", stress)

    monkeypatch.setattr("regard.translator.lexicon.dictionary", some)
    stressed = Lexicon.load("cmudict", writing("HH AH0 L OW1"))
    assert {word: stressed.targets(word.title()) for word in phones} == phones
    assert max(map(len, phones.values())) > 1
    flat = Lexicon.load("cmudict", writing("HH AH L OW"))
    assert {word: flat.targets(word)[0] for word in phones} == {
        word: right[0].translate(STRESS) for word, right in phones.items()
    }
    assert asked == [True, False]
    for neither in (writing("A B C"), writing("AH0 AH", "characters"), writing("AH0 AH", lowercase=True)):
        with pytest.raises(UsageError, match="hold neither AH0 nor AH"):
            Lexicon.load("cmudict", neither)
    monkeypatch.chdir(tmp_path)
    Path("cmudict").write_text("hello\tmine\n", encoding="utf-8")
    assert Lexicon.load("cmudict", writing("HH AH L OW")).targets("hello") == ["mine"]


def test_many_targets_of_one_source_take_time_in_proportion() -> None:
    words = lexicon(("fox", f"F {number}") for number in range(30_000))
    assert words.targets("fox")[:2] == ["F 0", "F 1"]
    assert len(words.targets("fox")) == 30_000
