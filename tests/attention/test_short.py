"""Attention by hand equals attention by the book, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.attention.attend import attend_plain, attend_short
from regard.attention.masks import length_mask
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.relative import RELATIVE
from regard.attention.scores import ScaledDot
from regard.attention.short import attend_by_hand, split_heads

B, H, T, S, K, W = 3, 2, 4, 5, 6, 3


def inputs(queries: int = T) -> list[Tensor]:
    """Views as they come from a projection: not in order."""
    sizes = ((queries, K), (S, K), (S, W))
    return [torch.randn(B, n, H, k, dtype=torch.float64).requires_grad_().transpose(1, 2) for n, k in sizes]


@pytest.mark.parametrize("lengths", [None, (5, 3, 1), (5, 0, 2)], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_it_is_that_of_the_book(lengths: tuple[int, ...] | None, causal: bool) -> None:
    query, key, value = inputs(S if causal else T)
    may = None if lengths is None else length_mask(torch.tensor(lengths), S)
    found = attend_short(K**-0.5, query, key, value, may, causal)
    assert "_Attention" in graph(found)
    expected, _ = attend_plain(ScaledDot(K), query, key, value, may, causal)
    torch.testing.assert_close(found, expected)
    by_output = torch.randn_like(found)
    wanted = torch.autograd.grad(expected, (query, key, value), by_output)
    for one, other in zip(torch.autograd.grad(found, (query, key, value), by_output), wanted, strict=True):
        torch.testing.assert_close(one, other)


def graph(x: Tensor) -> str:
    """The names of the last two functions."""
    assert x.grad_fn is not None
    return " ".join([x.grad_fn.name(), *(node.name() for node, _ in x.grad_fn.next_functions if node)])


def test_its_gradient_is_the_slope() -> None:
    forbidden = torch.zeros(B, 1, T, S, dtype=torch.float64)
    forbidden[1, :, :, 3:] = -torch.inf
    assert torch.autograd.gradcheck(lambda q, k, v: attend_by_hand(0.7, q, k, v, forbidden), inputs())
    assert torch.autograd.gradcheck(lambda q, k, v: attend_by_hand(0.7, q, k, v, None), inputs())


def test_heads_are_split_and_put_together_again() -> None:
    joined = torch.randn(B, T, 3 * H * K, dtype=torch.float64, requires_grad=True)
    split = split_heads(joined, 3, H)
    for part, whole in zip(split, joined.chunk(3, dim=2), strict=True):
        assert part.is_contiguous()
        assert torch.equal(part, whole.view(B, T, H, K).transpose(1, 2))
    assert torch.autograd.gradcheck(lambda x: split_heads(x, 3, H), joined)
    (only_one,) = torch.autograd.grad(split[1].sum(), joined)
    assert torch.equal(only_one.view(B, T, 3, -1).sum((0, 1, 3)), torch.tensor([0.0, B * T * H * K, 0.0]).double())


@pytest.mark.parametrize("relative", [None, *RELATIVE])
@pytest.mark.parametrize("bias", [True, False])
def test_queries_keys_and_values_in_one_product(relative: str | None, bias: bool) -> None:
    distances = RELATIVE[relative](H, K, False) if relative else None
    layer = MultiHeadAttention(H * K, H, bias=bias, relative=distances).double()
    x = torch.randn(B, T, H * K, dtype=torch.float64, requires_grad=True)
    may = length_mask(torch.tensor([4, 2, 3]), T)
    wrt = [x, *layer.parameters()]
    joined = layer.all_at_once(x, may)
    apart = layer.eval()(x, layer.remember(x), may)
    torch.testing.assert_close(joined, apart)
    by_output = torch.randn_like(x)
    wanted = torch.autograd.grad(apart, wrt, by_output)
    for one, other in zip(torch.autograd.grad(joined, wrt, by_output), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_keys_and_values_in_one_product() -> None:
    layer, x = MultiHeadAttention(12, 2, key_size=5), torch.randn(3, 4, 5)
    joined, apart = layer.train().remember(x), layer.eval().remember(x)
    torch.testing.assert_close(joined.key, apart.key)
    torch.testing.assert_close(joined.value, apart.value)
