"""Positions: the formula, the rotation, any length and size, and the right code from any first position on."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from regard.attention.relative import RELATIVE
from regard.config import NAMES
from regard.errors import UsageError
from regard.layers.positions import POSITIONS, sinusoids


def test_the_table_and_the_setting_name_the_same_positions() -> None:
    assert sorted([*POSITIONS, *RELATIVE]) == sorted(NAMES["positions"])


def test_n09_the_formula() -> None:
    codes = sinusoids(0, 50, 8).tolist()
    for position in (0, 1, 7, 49):
        for j in range(4):
            angle = position / 10000 ** (2 * j / 8)
            assert codes[position][2 * j] == pytest.approx(math.sin(angle), abs=1e-5)
            assert codes[position][2 * j + 1] == pytest.approx(math.cos(angle), abs=1e-5)


@pytest.mark.parametrize("shift", [1, 5, 40])
def test_n09_each_pair_rotates_by_a_fixed_angle_a_step(shift: int) -> None:
    size, count = 16, 60
    pairs = sinusoids(0, count + shift, size).view(-1, size // 2, 2)  # (sin, cos)
    angle = shift / 10000 ** (torch.arange(0, size, 2) / size)
    sine, cosine = pairs[:count, :, 0], pairs[:count, :, 1]
    turned = torch.stack((sine * angle.cos() + cosine * angle.sin(), cosine * angle.cos() - sine * angle.sin()), -1)
    assert_close(pairs[shift:], turned, atol=5e-5, rtol=0)


def test_n09_dimensions_turn_slower_and_slower() -> None:
    changes = sinusoids(0, 2000, 16)[:, 1::2].diff(dim=0).abs().mean(0)  # as the bits of a binary counter
    assert (changes.diff() < 0).all()


@pytest.mark.parametrize("size", [1, 2, 7, 25])
def test_e8_any_size_of_model(size: int) -> None:
    codes = sinusoids(0, 5, size)
    assert codes.shape == (5, size)
    assert_close(codes[:, 0], torch.arange(5.0).sin())
    for positions in POSITIONS.values():
        assert positions(size, 10)(torch.zeros(2, 5, size)).shape == (2, 5, size)


@pytest.mark.parametrize("name", ["sinusoidal", "none"])
def test_e8_no_longest_sequence(name: str) -> None:
    positions = POSITIONS[name](8, 10)
    assert positions.longest is None
    out = positions(torch.zeros(1, 3000, 8))
    assert out.shape == (1, 3000, 8)
    if name == "sinusoidal":
        assert out[0, 2999, 0].item() == pytest.approx(math.sin(2999), abs=1e-3)
        assert out[0].unique(dim=0).shape[0] == 3000
        assert positions(torch.zeros(1, 1, 8), first=100_000)[0, 0, 0].item() == pytest.approx(math.sin(1e5), abs=1e-2)


def test_e8_learned_positions_end_with_a_message() -> None:
    positions = POSITIONS["learned"](8, 10)
    assert positions.longest == 10
    positions(torch.zeros(1, 10, 8))
    positions(torch.zeros(1, 1, 8), first=9)
    with pytest.raises(UsageError, match=r"position 11 was asked for, this model learned 10 positions") as caught:
        positions(torch.zeros(1, 11, 8))
    assert "sinusoidal" in caught.value.fix
    with pytest.raises(UsageError, match="position 11"):
        positions(torch.zeros(1, 1, 8), first=10)


@pytest.mark.parametrize("name", POSITIONS)
def test_e1_one_at_a_time_gets_the_codes_of_all_at_once(name: str) -> None:
    positions, x = POSITIONS[name](8, 12), torch.randn(2, 12, 8)
    steps = [positions(x[:, t : t + 1], first=t) for t in range(12)]
    assert_close(torch.cat(steps, dim=1), positions(x))
    if name != "none":
        codes = (positions(x) - x)[0]
        assert codes.unique(dim=0).shape[0] == 12  # no two positions alike


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_dtype_of_the_embeddings_stays(dtype: torch.dtype) -> None:
    for positions in POSITIONS.values():
        assert positions(6, 4).to(dtype)(torch.zeros(1, 4, 6, dtype=dtype)).dtype == dtype
