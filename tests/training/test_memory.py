"""What a step takes is measured, and a batch is fitted to what there is."""

from __future__ import annotations

import sys

import pytest
import torch

from regard.config import Model, Training
from regard.data.tokens import Batch, Tokens
from regard.models import build
from regard.training.loss import Loss
from regard.training.memory import Footprint, _peak, free_bytes, measure

CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def test_between_measured_lengths_by_a_power_law_beyond_them_by_a_steeper_one() -> None:
    footprint = Footprint((32, 128, 512), (100.0, 400.0, 3200.0))
    assert footprint.row(16) == 50.0
    assert footprint.row(128) == pytest.approx(400.0)
    assert footprint.row(64) == pytest.approx(200.0)
    assert footprint.row(256) == pytest.approx((400 * 3200) ** 0.5)
    assert footprint.row(1024) == pytest.approx(3200 * 2**2)  # 1.5 at the end, and half a power more
    assert Footprint((32,), (100.0,)).row(64) == 400.0
    tokens = Tokens(torch.ones(3, 16, dtype=torch.int64), torch.full((3,), 16))
    assert footprint.batch(Batch(tokens, tokens)) == 300.0
    assert footprint.most_tokens(1000.0, 128) == 320
    assert footprint.most_tokens(1.0, 128) == 128  # one pair at least


@linux
def test_a_measured_step_takes_about_what_it_was_measured_to() -> None:
    model = build(Model(layers=2, size=64, heads=4, inner=256, dropout=0.1), 40, 40)
    training = Training(steps=10, learning_rate=1e-3, warmup=2, checkpoint_every=5, metric="loss")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    footprint = measure(model, training, torch.float32, 64, 10**9, 1e12)
    assert footprint is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    tokens = Tokens(torch.full((200, 32), 4), torch.full((200,), 32))
    batch = Batch(tokens, tokens)
    loss = Loss(model.train())
    loss(batch.rows(slice(0, 1))).backward()
    with _peak(CPU) as found:
        loss(batch).backward()
    assert 0.5 < found[0] / footprint.batch(batch) < 2.0


@linux
def test_measuring_stops_before_it_would_take_too_much() -> None:
    model = build(Model(layers=1, size=16, heads=2, inner=32, dropout=0.0), 20, 20)
    training = Training(steps=10, learning_rate=1e-3, warmup=2, checkpoint_every=5, metric="loss")
    footprint = measure(model, training, torch.float32, 100_000, 200_000, room=2e7)
    assert footprint is not None
    assert footprint.lengths[-1] < 10_000


@linux
def test_free_memory_is_what_the_strictest_limit_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_bytes(CPU)
    assert free is not None
    assert 2**20 < free < 2**50
    monkeypatch.setattr("regard.training.memory._control_group", lambda: 12345)
    assert free_bytes(CPU) == 12345
