"""The feed-forward network: each position alone, its formula, its count of parameters."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from regard.config import NAMES
from regard.layers.feed_forward import ACTIVATIONS, FeedForward

KINDS = [(activation, gated) for activation in ACTIVATIONS for gated in (False, True)]


def test_the_table_and_the_setting_name_the_same_activations() -> None:
    assert sorted(ACTIVATIONS) == sorted(NAMES["activation"])


def test_n11_the_sizes_of_the_paper() -> None:
    network = FeedForward(512, 2048)
    assert network.widen.weight.shape == (2048, 512)
    assert network.narrow.weight.shape == (512, 2048)
    assert sum(parameter.numel() for parameter in network.parameters()) == 2 * 512 * 2048 + 2048 + 512


@pytest.mark.parametrize(("activation", "gated"), KINDS)
def test_n11_the_output_at_a_position_depends_on_that_position_alone(activation: str, gated: bool) -> None:
    network = FeedForward(8, 12, activation=activation, gated=gated)
    x = torch.randn(2, 5, 8)
    out = network(x)
    other = x.clone()
    other[:, 3] += 1
    changed = (network(other) != out).any(-1)
    assert changed.tolist() == [[False, False, False, True, False]] * 2
    alone = torch.cat([network(x[:, t : t + 1]) for t in range(5)], dim=1)
    assert_close(alone, out, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("activation", "gated"), KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_formula(activation: str, gated: bool, bias: bool) -> None:
    curve = {"relu": functional.relu, "gelu": functional.gelu, "swish": lambda y: y * torch.sigmoid(y)}[activation]
    network = FeedForward(6, 10, activation=activation, gated=gated, bias=bias)
    assert (network.widen.bias is not None) == (network.narrow.bias is not None) == bias
    x = torch.randn(2, 3, 6)
    inner = curve(functional.linear(x, network.widen.weight, network.widen.bias))
    if network.gate is not None:
        inner = inner * functional.linear(x, network.gate.weight, network.gate.bias)
    assert (network.gate is not None) == gated
    assert_close(network(x), functional.linear(inner, network.narrow.weight, network.narrow.bias))
