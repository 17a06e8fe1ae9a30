"""Words: what stands between spaces whatever the tokenizer, and attention between them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from regard.errors import UsageError
from regard.inside.words import Spans, merge, word_spans, words_of_ids, words_of_inputs, words_of_text
from regard.text.kinds import KINDS, between_spaces
from regard.text.tokenizer import UNK, Tokenizer

CORPUS = ["the quick brown fox", "don't jump, fox!", "␣ stands  for a space", "42 foxes, 7 dogs", "el zorro rápido"]
TOKENIZERS = {kind: Tokenizer.train(CORPUS, kind, vocabulary=320) for kind in KINDS}
TEXTS = st.text("abcfox ,'␣4é☃\N{COMBINING ACUTE ACCENT}\N{ARABIC NUMBER SIGN}\N{ZERO WIDTH JOINER}", max_size=20)


@st.composite
def spans_of(draw: st.DrawFn, size: int) -> Spans:
    inner = draw(st.sets(st.integers(1, size - 1))) if size > 1 else set()
    return tuple(pairwise(sorted({0, *inner, size})))


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_words_stand_between_spaces_and_cover_all_tokens(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    *words, end = words_of_text(tokenizer, text)
    count = len(tokenizer.encode(text))
    assert end == (count, count + 1)
    assert [place for first, past in words for place in range(first, past)] == list(range(count))
    pieces = tokenizer.pieces(text)
    spelled = ["".join(pieces[first:past]).strip(" ") for first, past in words]
    wanted = between_spaces(tokenizer.normalise(text))
    assert spelled == (wanted or [""] * (count > 0))


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_ids_have_the_words_of_their_text(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode(text)
    if UNK not in ids:
        assert words_of_ids(tokenizer, ids) == words_of_text(tokenizer, text)
        assert words_of_ids(tokenizer, ids, ends=False) == words_of_text(tokenizer, text)[:-1]


def test_words_of_each_kind() -> None:
    spans = {kind: words_of_text(tokenizer, "the fox, ☃x") for kind, tokenizer in TOKENIZERS.items()}
    assert spans["characters"] == ((0, 3), (3, 8), (8, 11), (11, 12))
    assert spans["symbols"] == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert spans["words"] == ((0, 1), (1, 3), (3, 5), (5, 6))  # "fox" and ","; "☃" and "x"
    for kind in ("bpe", "unigram"):
        assert len(spans[kind]) == 4
        first, past = spans[kind][2]
        assert past - first >= 4  # the snowman is three bytes


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([], ()),
        ([" "], ((0, 1),)),
        ([" ", "a", " ", " ", "b", " "], ((0, 2), (2, 6))),
        (["a", " ", "b"], ((0, 1), (1, 3))),
        ([" a", "b", " ", " c"], ((0, 2), (2, 4))),
        (["\N{ARABIC NUMBER SIGN} ", "b"], ((0, 1), (1, 2))),
        ([" ☃", "", "", " c"], ((0, 3), (3, 4))),
    ],
)
def test_spaces_start_words(pieces: list[str], wanted: Spans) -> None:
    assert word_spans(pieces) == wanted


@pytest.mark.parametrize(("kind", "wanted"), [("characters", ((0, 3),)), ("words", ((0, 1), (1, 2), (2, 3)))])
def test_unknown_ids_without_their_text(kind: str, wanted: Spans) -> None:
    tokenizer = TOKENIZERS[kind]
    letter = tokenizer.encode("fox")[0]
    assert words_of_ids(tokenizer, [letter, UNK, letter], ends=False) == wanted


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), ()),
        (((0, 1),), ((0, 1),)),
        (((0, 2), (2, 3)), ((0, 1), (1, 3))),
        (((0, 2), (2, 4)), ((0, 1), (1, 3), (3, 4))),
    ],
)
def test_what_a_decoder_reads_is_one_later(words: Spans, wanted: Spans) -> None:
    assert words_of_inputs(words) == wanted


def test_merged_by_hand() -> None:
    weights = torch.tensor([[0.25, 0.25, 0.5], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert merge(weights, ((0, 2), (2, 3)), ((0, 2), (2, 3))).tolist() == [[0.75, 0.25], [1, 0]]
    norms = torch.tensor([[3.0, 1.0], [0.0, 0.0]])
    assert merge(norms, ((0, 1), (1, 2)), ((0, 1), (1, 2))).tolist() == [[0.75, 0.25], [0, 0]]


@settings(max_examples=30)
@given(data=st.data(), queries=st.integers(1, 8), keys=st.integers(1, 8))
def test_merged_rows_sum_to_1_and_single_tokens_change_nothing(data: st.DataObject, queries: int, keys: int) -> None:
    seed = data.draw(st.integers(0, 1000))
    weights = (torch.randn(2, 3, queries, keys, generator=torch.Generator().manual_seed(seed)) * 3).softmax(-1)
    singles = tuple((place, place + 1) for place in range(9))
    assert_close(merge(weights, singles[:queries], singles[:keys]), weights)
    of_queries, of_keys = data.draw(spans_of(queries)), data.draw(spans_of(keys))
    merged = merge(weights, of_queries, of_keys)
    assert_close(merged.sum(-1), torch.ones(merged.shape[:-1]))
    for row, (first, past) in enumerate(of_queries):
        for column, (left, right) in enumerate(of_keys):
            assert_close(merged[..., row, column], weights[..., first:past, left:right].sum(-1).mean(-1))


@pytest.mark.parametrize("words", [((0, 1),), ((0, 1), (1, 3)), ((0, 0), (0, 2)), ((1, 2),), ()])
def test_words_that_do_not_fit(words: Spans) -> None:
    weights = torch.eye(2)
    with pytest.raises(UsageError, match=r"weights of 2 tokens need words that cover them in order") as caught:
        merge(weights, words, ((0, 1), (1, 2)))
    assert "Side.words" in caught.value.fix
