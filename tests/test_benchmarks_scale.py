"""What benchmarks/scale.py computes, with small numbers, and that docs/scale.md shows what it prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from regard.data.batches import epoch_batches
from regard.data.corpus import EncodedPairs, PairEncoder, Side
from regard.text.pairs import Pair
from regard.text.tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scale.md").read_text("utf-8")


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import scale

    yield scale
    for name in ("scale", "check"):
        sys.modules.pop(name, None)


def test_the_page_has_the_sizes_of_models(scale: ModuleType) -> None:
    """And these are those by hand: two layer norms an encoder block, three a decoder block, one after each stack."""
    table = scale.as_table([scale.model_row(name, model) for name, model in scale.MODELS.items()])
    assert table in PAGE
    size, inner = 1024, 4096
    attention, feed_forward, norm = 4 * (size * size + size), 2 * size * inner + inner + size, 2 * size
    by_hand = 6 * (attention + feed_forward + 2 * norm) + 6 * (2 * attention + feed_forward + 3 * norm)
    by_hand += 2 * norm + scale.VOCABULARY * size
    assert scale.parameters(scale.MODELS["big"]) == pytest.approx(by_hand, rel=0.001)


@pytest.mark.slow
def test_the_page_has_the_balance(scale: ModuleType) -> None:
    for rows in scale.balance(4_500_000):
        assert scale.as_table(rows) in PAGE


def test_processes_take_every_pair_once_and_wait_for_the_fullest(scale: ModuleType) -> None:
    """Widths are all 10 and batches of 7 rows: of three processes one has 3 rows, the others 2."""
    lengths = torch.full((70,), 5, dtype=torch.int32)
    ids = torch.zeros(350, dtype=torch.int32)
    pairs = EncodedPairs(Side.of(ids, lengths), Side.of(ids, lengths))
    row = scale.simulated(pairs, 3, 25)
    assert row["batches"] == 10
    assert row["pairs lost"] == row["pairs doubled"] == row["batches with an idle process"] == 0
    assert row["real tokens"] == 1.0
    assert row["busy"] == row["both"] == round(7 / 9, 3)
    assert row["busiest / mean"] == round(3 / (7 / 3), 3)
    assert scale.simulated(pairs, 8, 10)["batches with an idle process"] == 1
    assert scale.simulated(pairs, 8, 9)["batches with an idle process"] == 10
    assert scale.busy_share(epoch_batches(pairs, 9 * 8, 1, 0), 8) == 7 / 8


def test_the_least_that_keeps_processes_busy(scale: ModuleType) -> None:
    pairs = scale.only_lengths(3000)
    least = scale.tokens_needed(pairs, 4)
    assert least % 100 == 0
    shares = [scale.busy_share(epoch_batches(pairs, 4 * tokens, 1, 0), 4) for tokens in (least - 100, least)]
    assert shares[0] < scale.BUSY <= shares[1]


def test_a_made_up_corpus_is_what_the_cache_holds(
    scale: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files, by name and by what is in them, as those that are made of text."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    tokenizer = Tokenizer.train(["ab"], "characters", vocabulary=10)
    PairEncoder(tokenizer, tokenizer, 9).on_disk([Pair("ab", "b", 1)], "", lambda: 0)
    made = {path.name for path in (tmp_path / "cache").glob("*/*.*")} - {"left.json", "MANIFEST.json"}
    scale.write_corpus(tmp_path, 500)
    assert {path.name for path in tmp_path.glob("*.*")} == made
    pairs = EncodedPairs.mapped(tmp_path)
    for side, lengths in zip((pairs.source, pairs.target), scale.sentence_lengths(500), strict=True):
        wanted = Side.of(side.ids, lengths)
        assert torch.equal(side.lengths, wanted.lengths)
        assert torch.equal(side.offsets, wanted.offsets)
        assert len(side.ids) == int(lengths.sum())
    monkeypatch.setattr(scale, "STEADY", 5)
    assert scale.read_corpus(tmp_path)["pairs"] == 500


def test_parts_run(scale: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REGARD_CACHE", "")
    monkeypatch.setattr(scale, "TEXT_TOKENS", 300)
    assert scale.encode_row("words", 300)["pairs"] == 300
    monkeypatch.setattr(sys, "argv", ["scale.py", "balance", "--pairs", "1000", "--json"])
    monkeypatch.setattr(scale, "SIZES", (1, 5))
    scale.main()
    rows, needed = json.loads(capsys.readouterr().out)
    assert [row["processes"] for row in rows] == [1, 5, 5, 5]
    assert [row["processes"] for row in needed] == [5]


@pytest.mark.slow
def test_processes_of_this_machine_add_up(scale: ModuleType) -> None:
    row = scale.sum_row(2)
    assert row["processes"] == 2
    assert row["milliseconds a sum"] > 0
