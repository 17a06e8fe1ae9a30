"""Norms over the features of a position, and where they stand around a sublayer."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from regard.config import Model
from regard.layers.norms import NORMS
from regard.layers.residual import Residual


def test_the_table_and_the_setting_name_the_same_norms() -> None:
    assert set(NORMS) == set(get_args(Model.model_fields["norm"].annotation))


@pytest.mark.parametrize("name", NORMS)
def test_e4_neither_padding_nor_the_future_enters_a_position(name: str) -> None:
    norm = NORMS[name](12)
    x = torch.randn(2, 6, 12)
    out = norm(x)
    other = x.clone()
    other[:, 4:] = 1e3
    other[1] *= 7
    assert torch.equal(norm(other)[0, :4], out[0, :4])
    assert torch.equal(norm(x[:1, :2]), out[:1, :2])  # any length, any batch


@pytest.mark.parametrize("scale", [5.0, 1e-3])  # the small one shows the eps
def test_layer_norm_by_its_formula(scale: float) -> None:
    x = torch.randn(3, 4, 10) * scale + 2 * scale
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    assert_close(NORMS["layer"](10)(x), (x - mean) / (variance + 1e-5).sqrt(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [5.0, 1e-3])
def test_rms_norm_by_its_formula(scale: float) -> None:
    x = torch.randn(3, 4, 10) * scale + 2 * scale
    assert_close(NORMS["rms"](10)(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())


@pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])
def test_n12_add_and_norm(norm_first: bool) -> None:
    norm, sublayer = nn.LayerNorm(8), nn.Linear(8, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 8)
    wanted = x + sublayer(norm(x)) if norm_first else norm(x + sublayer(x))
    assert_close(Residual(norm, 0.0, norm_first)(x, sublayer), wanted)


@pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])
def test_n12_dropout_is_on_the_sublayer_alone(norm_first: bool) -> None:
    around = Residual(nn.Identity(), 0.5, norm_first)
    x = torch.full((1, 50, 8), 10.0)
    assert set(around(x, torch.ones_like).flatten().tolist()) == {10.0, 12.0}
    assert set(around.eval()(x, torch.ones_like).flatten().tolist()) == {11.0}
