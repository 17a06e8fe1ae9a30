"""The encoded corpus: on disk as in memory, made once, never trusted when it is not as it was written."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.data import corpus as module
from regard.data.corpus import (
    FILES,
    EncodedPairs,
    FileCorpus,
    GeneratedCorpus,
    Left,
    PairEncoder,
    cache_folder,
    cached,
    clear_cache,
    content_hash,
)
from regard.data.tokens import Tokens
from regard.errors import DataError, StorageError
from regard.text.pairs import Pair
from regard.text.tokenizer import BOS, EOS, Tokenizer

LETTERS = Tokenizer.train(["abcdefgh"], "characters", vocabulary=100)
PHONES = Tokenizer.train(["x y z"], "symbols", vocabulary=100)
ENCODER = PairEncoder(LETTERS, PHONES, 5)
SIDES = st.lists(st.tuples(st.text("abc q", max_size=7), st.text("xyz ", max_size=9)), max_size=12)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pairs(*sides: tuple[str, str]) -> list[Pair]:
    return [Pair(source, target, line) for line, (source, target) in enumerate(sides, 1)]


SOME = pairs(("abc", "x y"), ("", "x"), ("a", "z"), ("abcdef", "x"), ("b", "x x x x x x"), (" ", " "), ("ba", "y"))


def rows(encoded: EncodedPairs) -> list[tuple[list[int], list[int]]]:
    found = []
    for row in range(len(encoded)):
        batch = encoded.batch(torch.tensor([row]))
        found.append((batch.source.ids[0].tolist(), batch.target.ids[0].tolist()))
    return found


class Counting:
    """Pairs that tell how often they are read."""

    def __init__(self, content: Sequence[Pair]) -> None:
        self.content, self.times = content, 0

    def __iter__(self):
        self.times += 1
        return iter(self.content)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIDES)
def test_on_disk_is_as_in_memory(sides: list[tuple[str, str]]) -> None:
    given_pairs = pairs(*sides)
    in_memory, by_hand = Left(), []
    encoded = ENCODER.in_memory(given_pairs, in_memory)
    content = hashlib.sha256(json.dumps(sides).encode()).hexdigest()
    mapped, left = ENCODER.on_disk(given_pairs, content, lambda: 0)
    for pair in given_pairs:
        source, target = LETTERS.encode(pair.source), PHONES.encode(pair.target)
        if pair.source.strip() and pair.target.strip() and max(len(source), len(target)) <= 5:
            by_hand.append(([*source, EOS], [BOS, *target, EOS]))
    assert rows(mapped) == rows(encoded) == by_hand
    assert len(mapped) == left.pairs == len(by_hand)
    assert left == in_memory
    assert left.pairs + left.blank + left.too_long == len(sides)


def test_a_batch_is_padded_exactly() -> None:
    encoded, _ = ENCODER.on_disk(SOME, "some", lambda: 0)
    order = torch.tensor([2, 0, 1, 0])
    batch = encoded.batch(order)
    by_hand = [rows(encoded)[row] for row in order.tolist()]
    for found, wanted in (
        (batch.source, Tokens.of([source for source, _ in by_hand])),
        (batch.target, Tokens.of([target for _, target in by_hand])),
    ):
        assert torch.equal(found.ids, wanted.ids)
        assert torch.equal(found.lengths, wanted.lengths)
        assert found.ids.dtype == torch.int64


def test_what_is_left_out_is_counted() -> None:
    _, left = ENCODER.on_disk(SOME, "some", lambda: 7)
    assert left == Left(pairs=3, blank=2, too_long=2, bad_lines=7)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(ENCODER.in_memory(SOME))
    monkeypatch.setattr(module, "CHUNK", 2)
    assert rows(ENCODER.in_memory(SOME)) == whole


@pytest.mark.parametrize("buffer", [0, 3, 4, 5, 1 << 16])
def test_rows_are_written_in_any_portions(monkeypatch: pytest.MonkeyPatch, buffer: int) -> None:
    monkeypatch.setattr(module, "BUFFER", buffer)
    found, whole = ENCODER.on_disk(SOME, "some", lambda: 0)[0], ENCODER.in_memory(SOME)
    for side, wanted in ((found.source, whole.source), (found.target, whole.target)):
        for part in ("ids", "lengths", "offsets"):
            assert torch.equal(getattr(side, part), getattr(wanted, part))
            assert getattr(side, part).dtype == getattr(wanted, part).dtype


def test_the_second_time_nothing_is_read(cache: Path) -> None:
    counting = Counting(SOME)
    first, left = ENCODER.on_disk(counting, "some", lambda: 3)
    again, left_again = ENCODER.on_disk(counting, "some", lambda: pytest.fail("counted again"))
    assert counting.times == 1
    assert rows(first) == rows(again)
    assert left == left_again
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("encoder", "content"),
    [
        (ENCODER, "other"),
        (PairEncoder(LETTERS, PHONES, 6), "some"),
        (PairEncoder(Tokenizer.train(["abcdefghi"], "characters", vocabulary=100), PHONES, 5), "some"),
        (PairEncoder(LETTERS, Tokenizer.train(["x y z w"], "symbols", vocabulary=100), 5), "some"),
        (PairEncoder(Tokenizer.train(["abcdefgh"], "characters", vocabulary=100, lowercase=True), PHONES, 5), "some"),
    ],
    ids=["content", "limit", "source", "target", "case"],
)
def test_another_corpus_has_another_folder(cache: Path, encoder: PairEncoder, content: str) -> None:
    counting = Counting(SOME)
    ENCODER.on_disk(counting, "some", lambda: 0)
    encoder.on_disk(counting, content, lambda: 0)
    assert counting.times == len(list(cache.iterdir())) == 2


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [cut, flip, Path.unlink], ids=["cut", "flip", "gone"])
@pytest.mark.parametrize("name", [*FILES, "MANIFEST.json"])
def test_a_spoiled_folder_is_made_again(cache: Path, name: str, spoil: Callable[[Path], None]) -> None:
    counting = Counting(SOME)
    whole = rows(ENCODER.on_disk(counting, "some", lambda: 0)[0])
    (folder,) = cache.iterdir()
    spoil(folder / name)
    encoded, left = ENCODER.on_disk(counting, "some", lambda: 0)
    assert counting.times == 2
    assert rows(encoded) == whole
    assert left.pairs == 3
    assert list(cache.iterdir()) == [folder]


def test_a_failure_while_encoding_leaves_nothing(cache: Path) -> None:
    def failing():
        yield SOME[0]
        raise DataError("bad line", where="file:2")

    with pytest.raises(DataError, match="file:2"):
        ENCODER.on_disk(failing(), "some", lambda: 0)
    assert list(cache.iterdir()) == []
    assert len(ENCODER.on_disk(SOME, "some", lambda: 0)[0]) == 3


def test_a_run_keeps_its_rows_while_another_makes_the_folder_again(cache: Path) -> None:
    encoded, _ = ENCODER.on_disk(SOME, "some", lambda: 0)
    whole = rows(encoded)
    (folder,) = cache.iterdir()
    (folder / "left.json").unlink()
    ENCODER.on_disk(SOME, "some", lambda: 0)
    assert rows(encoded) == whole


def test_generated_pairs_are_made_for_each_epoch() -> None:
    generated = GeneratedCorpus(lambda epoch: pairs(("a" * (epoch + 1), "x")), ENCODER)
    assert [int(generated.epoch(number).source.lengths[0]) for number in (0, 1, 0)] == [2, 3, 2]
    encoded = ENCODER.in_memory(SOME)
    assert FileCorpus(encoded).epoch(0) is FileCorpus(encoded).epoch(5) is encoded


def test_content_hash_changes_with_a_byte_a_setting_and_an_ending(tmp_path: Path) -> None:
    files = {}
    for name in ("a.tsv", "b.tsv", "a.jsonl", "a.tsv.gz"):
        files[name] = tmp_path / name
        files[name].write_bytes(b"x\ty\n")
    one, other = files["a.tsv"], files["b.tsv"]
    first = content_hash([one], "s")
    assert first == content_hash([one], "s") == content_hash([other], "s")
    seen = {
        first,
        content_hash([one]),
        content_hash([one], "s", ""),
        content_hash([one], "t"),
        content_hash([one, one]),
    }
    seen |= {content_hash([one], "a", "b"), content_hash([one], "a\0b"), content_hash([one], 'a", "b')}
    seen |= {content_hash([files["a.jsonl"]], "s"), content_hash([files["a.tsv.gz"]], "s")}
    other.write_bytes(b"x\tz\n")
    seen |= {content_hash([other], "s"), content_hash([one, other], "s"), content_hash([other, one], "s")}
    assert len(seen) == 13


def test_content_hash_of_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(DataError, match=path.name):
            content_hash([path])


def test_where_the_cache_is(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("REGARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "regard"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "regard"
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(StorageError, match="REGARD_CACHE"):
        cache_folder()


def test_clearing_the_cache(cache: Path) -> None:
    ENCODER.on_disk(SOME, "some", lambda: 0)
    clear_cache()
    assert not cache.exists()
    clear_cache()
    assert len(ENCODER.on_disk(SOME, "some", lambda: 0)[0]) == 3


def test_a_file_in_the_place_of_a_folder(cache: Path) -> None:
    cache.mkdir()
    (cache / "name").write_text("not a folder", encoding="utf-8")
    folder = cached("name", ["x"], lambda temporary: (temporary / "x").write_text("1", encoding="utf-8") and None)
    assert (folder / "x").read_text(encoding="utf-8") == "1"
