"""Every layout gives the product of `nn.Linear`, for matrices and rows on both sides of each size where it changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.engine.linear import LARGE, MANY, MEDIUM, Linear

SIDES = {"small": (64, 32), "medium": (256, 256), "large": (512, 512)}  # in, out
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def test_the_sides_are_on_both_sides_of_the_sizes() -> None:
    sizes = [wide * tall for wide, tall in SIDES.values()]
    assert sizes[0] < MEDIUM <= sizes[1] < LARGE <= sizes[2]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 2, MANY - 1, MANY, 3 * MANY])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES.keys())
@torch.inference_mode()
def test_a_product_a_relu_and_a_sum(sides: tuple[int, int], rows: int, dtype: torch.dtype, bias: bool) -> None:
    layer = nn.Linear(*sides, bias=bias, dtype=dtype)
    linear, y, x = Linear([layer]), torch.randn(rows, sides[0], dtype=dtype), torch.randn(rows, sides[1], dtype=dtype)
    expected = layer(y)
    torch.testing.assert_close(linear(y), expected, **CLOSE)
    torch.testing.assert_close(linear.relu(y), expected.clamp(min=0), **CLOSE)
    torch.testing.assert_close(linear.add_to(x.clone(), y), x + expected, **CLOSE)


@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_joined_layers_each_with_its_scale(bias: bool) -> None:
    layers, x = [nn.Linear(16, size, bias=bias) for size in (3, 5)], torch.randn(4, 16)
    expected = torch.cat([layers[0](x), 0.25 * layers[1](x)], dim=1)
    torch.testing.assert_close(Linear(layers, (1.0, 0.25))(x), expected, **CLOSE)
