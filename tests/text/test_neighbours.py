"""Neighbours are those that the plain search of all pairs finds, and stand after a text's own ids."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from regard.errors import ModelFolderError
from regard.text.neighbours import LEAST, MARKS, Neighbours, NeighbourTokenizer, read_pairs_text
from regard.text.tokenizer import UNK, Tokenizer
from regard.text.words import words_of_text

PAIRS = [("scalds", "S K AO L D Z"), ("scalds", "S K AA L D Z"), ("folded", "F OW L D IH D"), ("ox", "AA K S")]
rows = st.lists(st.sampled_from([4, 5, 0xD800]), min_size=1, max_size=13).map(tuple)


@pytest.fixture(scope="module")
def tokenizer() -> NeighbourTokenizer:
    source = Tokenizer.train((source for source, _ in PAIRS), "characters", vocabulary=100)
    target = Tokenizer.train((target for _, target in PAIRS), "symbols", vocabulary=100)
    return NeighbourTokenizer(source, target, PAIRS)


def alike(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(one, other, strict=False)))


@given(st.lists(rows, min_size=1, max_size=12, unique=True), rows, st.booleans())
def test_a_neighbour_shares_most_and_has_the_fewest_changes(
    known: list[tuple[int, ...]], row: tuple[int, ...], is_known: bool
) -> None:
    row = known[0] if is_known else row
    neighbours = Neighbours((source, [place]) for place, source in enumerate(known))
    for turn, found in ((1, neighbours.beginning(row)), (-1, neighbours.ending(row))):
        shared = {other: alike(row[::turn], other[::turn]) for other in known if other != row}
        most = max(shared.values(), default=0)
        assert (found is None) == (most < LEAST)
        if found:
            [place] = found.target
            other, others = known[place], [other for other in shared if shared[other] == most]
            assert found.shared == shared[other] == most
            assert other == (
                row[:most] + tuple(found.rest) if turn == 1 else tuple(found.rest) + row[len(row) - most :]
            )
            fewest = min((Levenshtein.distance(row, other), len(other)) for other in others)
            assert (Levenshtein.distance(row, other), len(other)) == fewest


def test_they_stand_after_the_text(tokenizer: NeighbourTokenizer) -> None:
    shown = {
        text: " ".join(tokenizer.symbols(tokenizer.encode(text))) for text in ("scalded", "scalds", "unfolded", "")
    }
    assert shown == {
        "scalded": "s c a l d e d <2 s = S K AO L D Z >3 f o = F OW L D IH D",
        "scalds": "s c a l d s",
        "unfolded": "<unk> <unk> f o l d e d >2 = F OW L D IH D",
        "": "",
    }
    far = tokenizer.encode("scal" + "o" * 12)
    assert tokenizer.symbols(far)[16:19] == ["<9", "d", "s"]


def test_what_is_asked_of_a_text_is_of_its_own_ids(tokenizer: NeighbourTokenizer) -> None:
    ids = tokenizer.encode("unfolded")
    assert tokenizer.own(ids) == 8 < len(ids)
    assert tokenizer.own(tokenizer.encode("ox")) == 2
    assert tokenizer.pieces("unfolded") == list("unfolded")
    assert tokenizer.unknown("unfolded") == ["u", "n"]
    assert tokenizer.decode(tokenizer.encode("scalded")) == "scalded"
    assert tokenizer.decode(ids, ["u", "n"]) == "unfolded"
    assert words_of_text(tokenizer, "scalded") == ((0, 7), (7, 8))


def test_ids_are_of_three_kinds(tokenizer: NeighbourTokenizer) -> None:
    assert len(tokenizer) == len(tokenizer.plain) + len(MARKS) + len(tokenizer.target)
    symbols = tokenizer.symbols(range(len(tokenizer)))
    parts = (
        tokenizer.plain.symbols(range(len(tokenizer.plain))),
        tokenizer.target.symbols(range(len(tokenizer.target))),
    )
    assert symbols == [*parts[0], *MARKS, *parts[1]]
    assert tokenizer.encode("ox")[0] != UNK
    assert tokenizer.encode_many(["scalded", "ox"]) == [tokenizer.encode("scalded"), tokenizer.encode("ox")]


def test_the_pairs_come_back(tokenizer: NeighbourTokenizer) -> None:
    odd = [*tokenizer.pairs, ("a\tb\u2028\u0085", 'c"\n\\')]
    again = NeighbourTokenizer(tokenizer.plain, tokenizer.target, odd)
    assert read_pairs_text(again.pairs_text(), "here") == odd
    assert read_pairs_text("", "here") == []
    assert tokenizer.digest() != again.digest()
    assert tokenizer.digest() != tokenizer.plain.digest()


@pytest.mark.parametrize("line", ["", "[", '["a"]', '["a", 1]', '["a", "b", "c"]', "3", '{"a": "b"}'])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(ModelFolderError) as caught:
        read_pairs_text(f'["a", "b"]\n{line}\n', "neighbours.jsonl")
    assert caught.value.where == "neighbours.jsonl:2"


def test_places_of_widened_tokenizers(tokenizer: NeighbourTokenizer) -> None:
    wide = NeighbourTokenizer(
        tokenizer.plain.widened(["xyz"], 100), tokenizer.target.widened(["ZH"], 100), [("xyz", "ZH"), *tokenizer.pairs]
    )
    places = wide.places(tokenizer)
    assert len(wide) == len(tokenizer) + 3  # y, z and ZH
    assert wide.symbols(places) == tokenizer.symbols(range(len(tokenizer)))
