"""The product of oneDNN equals torch's own, in value and in gradient, and runs only where it is meant to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.layers import linear as module
from regard.layers.linear import linear, plain, product_with
from regard.look.flops import flop_counter

pytestmark = pytest.mark.skipif(not torch._C._has_mkldnn, reason="torch was built without oneDNN")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 0)


def inputs(*rows: int, bias: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    x = torch.randn(*rows, 24, requires_grad=True)
    return x, torch.randn(40, 24, requires_grad=True), torch.randn(40, requires_grad=True) if bias else None


def is_ours(product: Tensor) -> bool:
    """Looked up under a view, if there is one."""
    node = product.grad_fn
    assert node is not None
    return "_LinearBackward" in {node.name(), *(before.name() for before, _ in node.next_functions if before)}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [(7,), (3, 5), (1, 1), (0, 4)], ids=str)
def test_it_is_torchs_own(rows: tuple[int, ...], bias: bool, relu: bool) -> None:
    x, weight, b = inputs(*rows, bias=bias)
    found, expected = linear(x, weight, b, relu), plain(x, weight, b, relu)
    assert is_ours(found)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    wrt, by_output = [each for each in (x, weight, b) if each is not None], torch.randn_like(found)
    wanted = torch.autograd.grad(expected, wrt, by_output)
    for one, other in zip(torch.autograd.grad(found, wrt, by_output), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("always")
def test_rows_and_gradients_that_do_not_lie_in_order() -> None:
    x, weight, b = inputs(5, 3)
    found, expected = (f(x.transpose(0, 1), weight, b).transpose(0, 1) for f in (linear, plain))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    by_output = torch.randn(40, 3, 5).permute(2, 1, 0)
    wanted = torch.autograd.grad(expected, (x, weight), by_output)
    for one, other in zip(torch.autograd.grad(found, (x, weight), by_output), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("always")
def test_a_derivative_of_the_derivative() -> None:
    x, weight, b = inputs(7)
    twice = []
    for f in (linear, plain):
        (slope,) = torch.autograd.grad(f(x, weight, b).square().sum(), x, create_graph=True)
        twice.append(torch.autograd.grad(slope.square().sum(), weight)[0])
    torch.testing.assert_close(*twice, rtol=1e-4, atol=1e-2)


def test_it_runs_for_large_products_alone() -> None:
    x, weight, b = inputs(7)
    assert not is_ours(linear(x, weight, b))
    tall = torch.randn(module.LARGE // weight.numel() + 1, 24)
    assert is_ours(linear(tall, weight, b))
    assert not is_ours(linear(tall[:-1], weight, b))


@pytest.mark.usefixtures("always")
def test_without_a_gradient_in_float64_and_under_autocast_torch_computes() -> None:
    x, weight, b = inputs(7)
    with torch.no_grad():
        assert torch.equal(linear(x, weight, b), functional.linear(x, weight, b))
    assert not is_ours(linear(x.double(), weight.double(), None))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, b).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_weight_for_many_products(dtype: torch.dtype) -> None:
    weight, x = torch.randn(9, 5, dtype=dtype), torch.randn(4, 9, dtype=dtype)
    torch.testing.assert_close(product_with(weight.T)(x), x @ weight)


@pytest.mark.usefixtures("always")
def test_its_operations_are_counted() -> None:
    layer, counted = nn.Linear(24, 40), []
    for f in (linear, plain):
        with flop_counter() as counter:
            f(torch.randn(2, 7, 24, requires_grad=True), layer.weight, layer.bias).sum().backward()
        counted.append(counter.get_total_flops())
    assert counted == [3 * 2 * 14 * 24 * 40] * 2
