"""What benchmarks/train.py counts and draws, without any peer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import train

    yield train
    for name in [name for name in sys.modules if name.split(".")[0] in {"peers", "train", "attention_memory"}]:
        del sys.modules[name]


def test_operations_are_those_of_the_products_by_hand(train: ModuleType) -> None:
    """Three times the forward pass; two a multiply-add. 4 + 4 layers of 128 features, 512 inside, 8000 words."""
    tokens, size, inner, vocabulary, length = 256 * 16, 128, 512, 8000, 16
    attention = 4 * size**2 + 2 * length * size
    encoder, decoder = attention + 2 * size * inner, 2 * attention + 2 * size * inner
    by_hand = 3 * 2 * tokens * (4 * encoder + 4 * decoder + size * vocabulary)
    assert train.operations(train.CASES["tiny"]) == by_hand


def test_ragged_text_is_ragged(train: ModuleType) -> None:
    pairs = train.ragged_pairs()
    for side in (pairs.source, pairs.target):
        logarithms = side.lengths.double().log()
        assert logarithms.exp().median().item() == pytest.approx(20, abs=1)
        assert logarithms.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["regard", "torch.nn.Transformer"])
def test_a_contender_takes_steps(train: ModuleType, name: str) -> None:
    case = train.Case(train.CASES["small"].shape, 4, 3, 5)
    step = train.maker(name)(case)
    assert case.batch().target.ids.shape == (4, 6)
    step(case.batch())
    step(case.batch(2))
