"""Dropout: the rate at each of the eight bytes of a draw, the expectation, and that evaluation switches it off."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regard.layers.dropout import Dropout, add_dropped, dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_the_rate_holds_at_each_byte_of_a_draw(rate: float) -> None:
    count = 20_000
    dropped = (dropout(torch.ones(count * 8), rate) == 0).view(count, 8).double()
    applied = round(rate * 256) / 256
    tolerance = 5 * math.sqrt(applied * (1 - applied) / count)
    assert dropped.mean(0).sub(applied).abs().max().item() < tolerance
    both = torch.corrcoef(dropped.T) - torch.eye(8)  # bytes of one draw know nothing of each other
    assert both.abs().max().item() < 5 / math.sqrt(count)


@pytest.mark.parametrize("rate", [0.002, 0.1, 0.25, 0.5, 0.999, 1.0])
def test_the_expectation_is_exact(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def every_byte_once(words: Tensor, *bounds: object) -> Tensor:
        words.view(torch.uint8).copy_(torch.arange(256).to(torch.uint8))
        return words

    monkeypatch.setattr(Tensor, "random_", every_byte_once)
    out = dropout(torch.ones(256, dtype=torch.float64), rate)
    assert (out == 0).sum().item() == min(round(rate * 256), 255)
    assert out.sum().item() == pytest.approx(256, rel=1e-12)


@pytest.mark.parametrize("rate", [0.999, 1.0])
def test_a_rate_near_1_leaves_finite_numbers(rate: float) -> None:
    assert dropout(torch.ones(4096), rate).isfinite().all()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (9,), (3, 5), (2, 3, 7)])
def test_any_number_of_values(shape: tuple[int, ...]) -> None:
    out = dropout(torch.ones(shape), 0.5)
    assert out.shape == shape
    assert set(out.flatten().tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    assert dropout(torch.ones(9, dtype=dtype), 0.5).dtype == dtype


def test_values_that_do_not_lie_in_order_are_dropped_alike() -> None:
    x = torch.randn(50, 80)
    kept = dropout(x.T, 0.5)
    assert kept.shape == (80, 50)
    assert torch.equal(kept[kept != 0], (x.T * 2)[kept != 0])


def test_the_gradient_is_that_of_the_values_kept() -> None:
    x = torch.randn(1000, requires_grad=True)
    out = dropout(x, 0.25)
    out.sum().backward()
    scale = torch.full_like(x, 256 / 192)
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(out == 0, torch.zeros_like(x), scale))


def test_draws_follow_the_seed_and_differ_from_call_to_call() -> None:
    x = torch.ones(200)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(0)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("rate", [0.0, 0.001])
def test_a_rate_below_half_of_1_in_256_is_none(rate: float) -> None:
    x = torch.randn(1000)
    assert dropout(x, rate) is x


def test_n21_evaluation_switches_it_off() -> None:
    layer, x = Dropout(0.5), torch.randn(100)
    assert not torch.equal(layer(x), x)
    assert torch.equal(layer.eval()(x), x)
    assert repr(layer) == "Dropout(rate=0.5)"


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_added_to_something_it_is_the_sum(rate: float) -> None:
    x, y = (torch.randn(7, 9, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.manual_seed(1)
    found = add_dropped(x, y, rate)
    torch.manual_seed(1)
    expected = x + dropout(y, rate)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    by_output = torch.randn_like(found)
    wanted = torch.autograd.grad(expected, (x, y), by_output)
    for one, other in zip(torch.autograd.grad(found, (x, y), by_output), wanted, strict=True):
        torch.testing.assert_close(one, other)
    layer = Dropout(rate)
    assert torch.equal(layer.eval().add(x, y), x + y)
    torch.manual_seed(1)
    assert torch.equal(layer.train().add(x, y), found)


def test_a_derivative_of_the_derivative() -> None:
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)

    def f(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return dropout(x, 0.3).square()

    assert torch.autograd.gradgradcheck(f, x)


def test_the_sum_of_two_types_is_that_of_torch() -> None:
    x, y = torch.randn(9), torch.randn(9).bfloat16()
    assert add_dropped(x, y, 0.5).dtype == torch.float32
