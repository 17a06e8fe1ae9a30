"""benchmarks/muon.py: what it times is a batch like any other, and it says what it is to say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from regard.text.tokenizer import BOS, EOS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def muon(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import muon

    yield muon
    sys.modules.pop("muon")


def test_pairs_are_as_pairs_are(muon: ModuleType) -> None:
    batch = muon.drawn()
    assert 0.9 * muon.TOKENS < int(batch.source.lengths.sum() + batch.target.lengths.sum()) < 1.2 * muon.TOKENS
    for side in (batch.source, batch.target):
        for ids, length in zip(side.ids.tolist(), side.lengths.tolist(), strict=True):
            assert ids.index(EOS) == length - 1
            assert not any(ids[length:])
    assert all(ids[0] == BOS for ids in batch.target.ids.tolist())
    assert BOS not in batch.source.ids


@pytest.mark.slow
def test_it_tells_of_this_cpu_and_of_an_older_one() -> None:
    done = subprocess.run([sys.executable, BENCHMARKS / "muon.py", "1"], capture_output=True, text=True, check=True)
    this, _, older = done.stdout.partition("as with AVX2\n")
    for text in (this, older):
        assert "forward and backward" in text
        assert "times as long" in text
    assert "products in torch.float32" in older
