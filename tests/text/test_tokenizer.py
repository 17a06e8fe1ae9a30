"""Text to ids and back, for every kind of tokenizer; plain `tokenizers` is the independent reader of what we save."""

import json
import subprocess
import sys
import unicodedata
from collections import Counter
from functools import cache
from itertools import count, repeat

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Plain

from regard.errors import DataError, ModelFolderError, RecipeError, StorageError
from regard.text.kinds import FORMS
from regard.text.tokenizer import BOS, EOS, KINDS, PAD, UNK, Tokenizer
from regard.text.vocabulary import BYTES, SPECIALS, alphabet, learn_unigram, steady

CORPUS = [
    "the cat sat on the mat, and the dog isn't on the mat.",
    "l'été est là: 12.5 degrés <pad> <0x41>  the  end",
    "ein schöner Tag\r\nim Zug ▁ 👨‍👩‍👧 e\u0301 \u2028 x",
    "the other cat, the other dog, the other mat",
]
SUBWORDS = ("bpe", "unigram")
WHOLE = tuple(kind for kind in KINDS if kind not in SUBWORDS)
NAMES = [*SPECIALS, *BYTES[65:67], "</s>", "<s>", "<pad>", "<unk>", "[PAD]", "▁", "<0x41>"]
ODD = ["\u2028", "\u0085", "\0", "\r\n", "\n", "\t", "\ufeff", "\u0600", " ", "  "]
ODD += ["👩🏽\u200d🚀", "e\u0301", "ſ", "İ", "ℌ", "日本語", "the", "ﷺ"]
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
texts = st.lists(st.one_of(st.sampled_from(NAMES + ODD), anything), max_size=8).map("".join)


@cache
def trained(kind: str, unicode: str = "NFC", lowercase: bool = False, accents: bool = True) -> Tokenizer:
    return Tokenizer.train(CORPUS, kind, vocabulary=330, unicode=unicode, lowercase=lowercase, accents=accents)


@cache
def plain(kind: str) -> Plain:
    return Plain.from_str(trained(kind).to_json())


def known_text(kind: str) -> st.SearchStrategy[str]:
    """Text made of pieces the tokenizer knows."""
    pieces = [piece for piece in trained(kind)._pieces if piece not in SPECIALS + BYTES]
    joiner = " " if kind == "symbols" else ""
    return st.lists(st.sampled_from(pieces), max_size=12).map(joiner.join)


@pytest.mark.parametrize("kind", SUBWORDS)
@given(text=texts)
@example(text=" ")
@example(text="  <pad> ")
@example(text="a <0x41>  <unk> ")
def test_subwords_give_back_every_text(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.normalise(text)
    assert UNK not in tokenizer.encode(text)
    assert tokenizer.is_lossless


@pytest.mark.parametrize("kind", WHOLE)
@given(data=st.data())
def test_whole_pieces_give_back_what_they_know(kind: str, data: st.DataObject) -> None:
    tokenizer, text = trained(kind), data.draw(known_text(kind))
    if not tokenizer.unknown(text):  # pieces put side by side may merge into others
        assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.normalise(text)
    assert not tokenizer.is_lossless


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_pieces_give_back_the_corpus(kind: str) -> None:
    tokenizer = trained(kind)
    for line in CORPUS:
        expected = line if kind != "symbols" else " ".join(filter(None, line.split(" ")))
        assert tokenizer.unknown(line) == []
        assert tokenizer.decode(tokenizer.encode(line)) == unicodedata.normalize("NFC", expected)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
@example(text="<pad> <bos> <eos> <unk> ")
@example(text="".join(BYTES[:9]))
def test_no_text_becomes_a_special_or_a_typed_byte(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    ids = tokenizer.encode(text)
    assert not {PAD, BOS, EOS} & set(ids)
    if kind in SUBWORDS:  # byte ids spell exactly the unknown characters
        spelled = bytes(token - 4 for token in ids if 4 <= token < 260)
        assert spelled == "".join(tokenizer.unknown(text)).encode()
    else:
        assert ids.count(UNK) == len(tokenizer.unknown(text))


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
def test_the_library_alone_gives_the_same_ids(kind: str, text: str) -> None:
    theirs, ours = plain(kind).encode(text).ids, trained(kind).encode(text)
    if kind in SUBWORDS:  # it says "unknown" once or more where we spell bytes
        theirs = [token for token in theirs if token != UNK]
        ours = [token for token in ours if not 4 <= token < 260]
    assert ours == theirs


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].cut])
@given(text=texts)
def test_the_fast_cut_is_the_pattern(kind: str, text: str) -> None:
    cut, pre_tokenizer = KINDS[kind].cut or str, KINDS[kind].pre_tokenizer()
    assert cut(text) == [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "symbols"])
def test_every_code_point_is_cut_out_once_and_no_piece_is_a_reserved_name(kind: str) -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000, 7)]))
    pieces = [piece for piece, _ in KINDS[kind].pre_tokenizer().pre_tokenize_str(every)]
    assert "".join(pieces) == every
    if kind != "graphemes":
        assert not [piece for piece in pieces if piece.endswith(" ") and piece.strip(" ")]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind: str, tmp_path) -> None:
    tokenizer = trained(kind, "NFKC", True)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert (loaded.kind, len(loaded), loaded.to_json()) == (kind, len(tokenizer), tokenizer.to_json())
    assert loaded.normalise("ℌE") == "he"
    assert loaded.encode_many([*CORPUS, "日本"]) == tokenizer.encode_many([*CORPUS, "日本"])
    assert Plain.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size() == len(tokenizer)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "symbols"])
def test_the_library_alone_decodes_what_is_known(kind: str) -> None:
    assert plain(kind).decode(plain(kind).encode("the cat").ids, skip_special_tokens=False) == "the cat"


@pytest.mark.parametrize("kind", KINDS)
def test_many_is_each_alone(kind: str) -> None:
    tokenizer = trained(kind)
    lines = [*CORPUS, "", "日本 <pad> ", " "]
    assert tokenizer.encode_many(lines) == [tokenizer.encode(line) for line in lines]
    assert tokenizer.encode_many([]) == []
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_decode_drops_specials(kind: str) -> None:
    tokenizer = trained(kind)
    assert tokenizer.decode([BOS, *tokenizer.encode("the cat"), EOS, PAD, PAD]) == "the cat"


# normalising


@pytest.mark.parametrize("unicode", FORMS)
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("accents", [False, True])
def test_normalising_every_character_twice_changes_nothing(unicode: str, lowercase: bool, accents: bool) -> None:
    normalise = trained("characters", unicode, lowercase, accents).normalise
    once = [normalise(chr(point)) for point in range(0x30000) if not 0xD800 <= point < 0xE000]
    assert [normalise(text) for text in set(once)] == list(set(once))


@pytest.mark.parametrize("unicode", FORMS)
@given(text=st.text(st.characters(exclude_categories=["Cn", "Cs"]), max_size=20))
def test_the_unicode_forms_are_those_of_python(unicode: str, text: str) -> None:
    expected = text if unicode == "none" else unicodedata.normalize(unicode, text)
    assert trained("words", unicode).normalise(text) == expected


# Scripts whose marks have been the same in all versions of Unicode: the library's is not Python's.
OLD = [range(0x20, 0x530), range(0x591, 0x5F5), range(0x905, 0x950), range(0x1E00, 0x1F00), range(0xAC00, 0xD7A4)]


@pytest.mark.parametrize("unicode", FORMS)
@given(text=st.text(st.one_of(st.integers(each[0], each[-1]).map(chr) for each in OLD), max_size=20))
def test_without_accents_no_mark_is_left_and_nothing_else_is_lost(unicode: str, text: str) -> None:
    form = "NFC" if unicode == "none" else unicode
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize(form, text))
    bare = "".join(character for character in decomposed if not unicodedata.category(character).startswith("M"))
    assert trained("words", unicode, accents=False).normalise(text) == unicodedata.normalize(form, bare)


def test_without_accents() -> None:
    tokenizer = trained("characters", lowercase=True, accents=False)
    assert [tokenizer.normalise(text) for text in ("Zoë", "CAFE\u0301", "naïve", "각하", "Øre")] == [
        "zoe",
        "cafe",
        "naive",
        "각하",
        "øre",
    ]
    assert Tokenizer.from_json(tokenizer.to_json()).encode("Thé") == tokenizer.encode("the")


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
@settings(max_examples=30)
def test_lowercase_travels(kind: str, text: str) -> None:
    tokenizer = trained(kind, "NFC", True)
    assert tokenizer.normalise(tokenizer.normalise(text)) == tokenizer.normalise(text)
    assert tokenizer.encode(tokenizer.normalise(text)) == tokenizer.encode(text)


# where each kind cuts


def pieces(kind: str, text: str) -> list[str]:
    tokenizer = Tokenizer.train([text], kind, vocabulary=400)
    return tokenizer.symbols(tokenizer.encode(text))


def test_characters_and_graphemes() -> None:
    assert pieces("characters", "a b\r\n") == ["a", "␣", "b", "\r", "\n"]
    assert pieces("graphemes", "a \r\n\n\n👩🏽‍🚀x\u0323\u0301") == [
        "a",
        "␣",
        "\r\n",
        "\n",
        "\n",
        "👩🏽‍🚀",
        "x\u0323\u0301",
    ]


def test_symbols() -> None:
    assert pieces("symbols", "  AH0 T   <eos> k\u02b0 ") == ["AH0", "T", "<eos>", "k\u02b0"]
    tokenizer = Tokenizer.train(["a b c"], "symbols", vocabulary=9)
    assert tokenizer.decode(tokenizer.encode(" c  a ")) == "c a"


def test_words() -> None:
    expected = ["␣Don't", "␣stop", ",", "␣l'été", ":", "␣12", ".", "5", "␣", "␣x"]
    assert pieces("words", "Don't stop, l'été: 12.5  x") == expected
    tokenizer = Tokenizer.train(["the cat is the cat"], "words", vocabulary=20)
    assert tokenizer.encode("cat the")[0] == tokenizer.encode("the cat")[1]


@pytest.mark.parametrize("kind", SUBWORDS)
def test_the_last_space_of_a_run_goes_to_the_word_after_it(kind: str) -> None:
    cut = KINDS[kind].cut or list
    assert cut(" a   the \n  ") == [" a", "  ", " the", " \n", "  "]


def test_symbols_to_show() -> None:
    tokenizer = trained("bpe")
    assert tokenizer.symbols([PAD, BOS, EOS, UNK, 4 + 0x41]) == ["<pad>", "<bos>", "<eos>", "<unk>", "<0x41>"]
    assert tokenizer.symbols(tokenizer.encode("é日"))[-3:] == ["<0xE6>", "<0x97>", "<0xA5>"]


def test_bytes_that_are_no_text_become_a_replacement_character() -> None:
    tokenizer = trained("unigram")
    the = tokenizer.encode("the")
    assert tokenizer.decode([*the, 4 + 0xE6, 4 + 0x97, *the]) == "the\ufffd the"
    assert tokenizer.decode([4 + 0xFF]) == "\ufffd"


@pytest.mark.parametrize(
    ("kind", "unknown"),
    [("words", ["zebra", "%"]), ("symbols", ["zebra%", "cat"]), ("bpe", ["%"]), ("unigram", ["%"])],
)
def test_unknown_pieces_in_order(kind: str, unknown: list[str]) -> None:
    tokenizer = Tokenizer.train(["the cat. a bazaar, the zero", "the cat."], kind, vocabulary=300)
    assert tokenizer.unknown("the zebra% cat") == unknown


# training


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_is_an_upper_limit(kind: str) -> None:
    smallest = 261 if kind in SUBWORDS else 5
    for limit in (smallest, smallest + 3, smallest + 20, 10_000):
        assert len(Tokenizer.train(CORPUS, kind, vocabulary=limit)) <= limit
    with pytest.raises(RecipeError, match=f"at least {smallest}"):
        Tokenizer.train(CORPUS, kind, vocabulary=smallest - 1)


@pytest.mark.parametrize("kind", KINDS)
@given(new=st.lists(texts.filter(str.strip), min_size=1, max_size=3))
def test_a_widened_vocabulary_knows_the_new_and_numbers_the_old_as_before(kind: str, new: list[str]) -> None:
    tokenizer = trained(kind)
    wide = tokenizer.widened(new, 10_000)
    assert wide._pieces[: len(tokenizer)] == tokenizer._pieces
    assert [wide.encode(line) for line in CORPUS] == [tokenizer.encode(line) for line in CORPUS]
    if kind in SUBWORDS:
        assert wide is tokenizer  # what it does not know is spelled in bytes
    else:
        assert not any(wide.unknown(line) for line in new)
        assert Tokenizer.from_json(wide.to_json())._pieces == wide._pieces
    limit = len(tokenizer) + 1
    assert len(tokenizer.widened(new, limit)) == min(limit, len(wide))


def test_a_widened_vocabulary_has_the_most_frequent_first() -> None:
    wide = Tokenizer.train(["a b"], "symbols", vocabulary=99).widened(["z y y", "x y a"], 99)
    assert wide.symbols(range(4, len(wide))) == ["a", "b", "y", "x", "z"]


def test_symbols_are_numbered_by_frequency_then_code_point() -> None:
    tokenizer = Tokenizer.train(["c c b a b z"], "symbols", vocabulary=99)
    assert tokenizer.symbols([4, 5, 6, 7]) == ["b", "c", "a", "z"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "lines", [["a"], ["a", "b", "c"], ["the cat", "a dog", "on a mat"], ["日本"], ["\0"], ["a" * 5000]]
)
def test_tiny_corpora(kind: str, lines: list[str]) -> None:
    for limit in (261, 262, 300, 4000):
        tokenizer = Tokenizer.train(lines, kind, vocabulary=limit)
        if tokenizer.is_lossless:
            assert [tokenizer.decode(tokenizer.encode(line)) for line in lines] == lines


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lines", [[], [""], [" ", "\t", "\u3000", "\n"]])
def test_no_text_is_an_error(kind: str, lines: list[str]) -> None:
    with pytest.raises(DataError, match="no text to learn"):
        Tokenizer.train(iter(lines), kind, vocabulary=500)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_text_gives_equal_json_in_one_process(kind: str) -> None:
    lines = [f"{a}{b}{c} {b}{a}" for a in "abcdé" for b in "xyz" for c in "mno"]
    assert len({Tokenizer.train(iter(lines), kind, vocabulary=320).to_json() for _ in range(8)}) == 1


def test_equal_text_gives_equal_json_in_any_process() -> None:
    code = (
        "import hashlib; from regard.text.tokenizer import *\n"
        "lines = [f'{a}{b}{c} {b}{a}' for a in 'abcdé' for b in 'xyz' for c in 'mno']\n"
        "text = ''.join(Tokenizer.train(lines, k, vocabulary=320).to_json() for k in KINDS)\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    settings = [("0", "true"), ("1", "false"), ("random", "true")]
    run = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": threads,
                       "PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True).stdout
        for seed, threads in settings
    ]  # fmt: skip
    assert len(set(run)) == 1
    assert len(run[0]) == 65


def test_rare_characters_are_spelled_in_bytes() -> None:
    common = Counter({" ab": 10_000, " c": 100, " d": 1})
    assert alphabet(common, 1000) == {" ", "a", "b", "c"}
    assert alphabet(common, 4) == {" ", "a"}
    assert alphabet(Counter({" \0a": 2}), 1000) == {" ", "a"}


def test_unigram_characters_come_first_and_bytes_score_nothing() -> None:
    model = json.loads(Plain(learn_unigram(Counter({" abc": 9, " bca": 5}), 280)).to_str())["model"]
    assert model["unk_id"] == UNK
    assert {score for _, score in model["vocab"][:260]} == {0.0}
    assert {piece for piece, _ in model["vocab"][260:264]} == {" ", "a", "b", "c"}


def test_unigram_scores_do_not_show_the_order_of_the_trainer() -> None:
    one = {"the": -2.0, "e": -3.00000001, "a": -9.0, "b": -8.9999, "c": -8.9998}
    other = {"c": -9.0, "b": -8.9998, "a": -8.9999, "e": -3.00000002, "the": -2.0}
    assert steady(one) == steady(other) == [("e", -3.0), ("a", -9.0), ("b", -9.0), ("c", -9.0), ("the", -2.0)]


def test_texts_are_streamed() -> None:
    numbers = count()
    tokenizer = Tokenizer.train((f"{next(numbers) % 7}" for _ in repeat(None, 20_000)), "symbols", vocabulary=99)
    assert (len(tokenizer), next(numbers)) == (11, 20_000)


# mistakes


@pytest.mark.parametrize(
    ("kind", "unicode", "message"),
    [("letters", "NFC", "choose one of characters"), ("bpe", "nfc", "choose one of NFC")],
)
def test_unknown_settings(kind: str, unicode: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Tokenizer.train(CORPUS, kind, vocabulary=300, unicode=unicode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_surrogate_is_an_error(kind: str) -> None:
    tokenizer = trained(kind)
    for use in (tokenizer.normalise, tokenizer.encode, tokenizer.unknown, lambda text: tokenizer.encode_many([text])):
        with pytest.raises(DataError, match="character 3 is half of a surrogate pair"):
            use("ab\ud800")
    with pytest.raises(DataError, match="surrogate"):
        Tokenizer.train(["ab\ud800"], kind, vocabulary=300)


def changed(*path: str | int, value: object, kind: str = "bpe") -> str:
    saved = json.loads(trained(kind).to_json())
    at = saved
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", "list indices"),
        ("{}", "pre_tokenizer"),
        ('{"pre_tokenizer": null, "model": null}', "subscriptable"),
        (lambda: trained("bpe").to_json()[:-9], "tokenizer of ours"),
        (lambda: changed("model", "type", value="WordPiece"), "neither cuts nor looks up"),
        (lambda: changed("model", "unk_token", value=None), "neither cuts nor looks up"),
        (lambda: changed("model", "vocab", "<pad> ", value=99_999), "ids have gaps.*first ids"),
        (lambda: changed("model", "merges", value=[["q", "q"]]), "tokenizer of ours"),
        (lambda: changed("normalizer", value=None), "changes text"),
        (lambda: changed("normalizer", "normalizers", value=[]), "changes text"),
        (lambda: changed("pre_tokenizer", "invert", value=True), "cuts text"),
        (lambda: changed("pre_tokenizer", "pattern", value={"Regex": "."}), "neither cuts nor looks up"),
        (lambda: changed("post_processor", value={"type": "BertProcessing", "sep": ["a", 1], "cls": ["a", 1]}), "pads"),
        (
            lambda: changed("added_tokens", value=[{"id": 999, "content": "x", "single_word": False, "lstrip": False,
                            "rstrip": False, "normalized": False, "special": True}]),
            "added tokens",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_named(text, message: str, tmp_path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(text if isinstance(text, str) else text(), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=message) as caught:
        Tokenizer.load(file)
    assert caught.value.where == str(file)


def test_files_that_cannot_be_read_or_written(tmp_path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "binary", "."):
        with pytest.raises(ModelFolderError, match="cannot be read"):
            Tokenizer.load(tmp_path / name)
    with pytest.raises(StorageError, match="cannot be written"):
        trained("bpe").save(tmp_path / "no" / "folder")
