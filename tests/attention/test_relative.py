"""Positions inside attention: distances alone count, at any place, in each of the ways to attend."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from regard.attention.attend import Attend, attend_fused, attend_plain, attend_short
from regard.attention.masks import length_mask
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.relative import RELATIVE, RelativeBias, RelativeKeys, Rotary
from regard.attention.scores import SCORES
from regard.errors import RecipeError


def attention(name: str, causal: bool = True) -> MultiHeadAttention:
    relative = RELATIVE[name](2, 4, causal)
    return MultiHeadAttention(8, 2, relative=relative).double()


def scores(name: str, first: int, causal: bool = False) -> torch.Tensor:
    """Scores [6, 6] of six equal queries and six equal keys, the first of both at position `first`."""
    torch.manual_seed(0)
    relative = RELATIVE[name](1, 8, causal).double()
    query, key = (torch.randn(1, 1, 1, 8, dtype=torch.float64).expand(1, 1, 6, 8) for _ in range(2))
    turned = relative.turn(query, first)
    compared = turned @ relative.turn(key, first).transpose(-2, -1)
    bias = relative.bias(turned, first, first + 6)
    return (compared if bias is None else compared + bias[..., first:])[0, 0]


@pytest.mark.parametrize("name", RELATIVE)
@torch.no_grad()
def test_n09_scores_know_distances_alone(name: str) -> None:
    here, there = scores(name, 0), scores(name, 31)
    assert_close(here, there, atol=1e-5, rtol=1e-5)  # angles are computed in float32
    for distance in range(-5, 6):
        same = here.diagonal(distance)
        assert_close(same, same[:1].expand_as(same), atol=1e-5, rtol=1e-5)
    assert here[0].unique().numel() == 6  # and they do know them


@torch.no_grad()
def test_n09_rotary_turns_each_pair_by_a_fixed_angle_a_step() -> None:
    x = torch.randn(1, 1, 1, 6).expand(1, 1, 9, 6)
    turned = Rotary(1, 6, False).turn(x, 3).reshape(9, 3, 2)
    for t in range(9):
        for j in range(3):
            angle = (3 + t) / 10000 ** (2 * j / 6)
            even, odd = x[0, 0, 0, 2 * j].item(), x[0, 0, 0, 2 * j + 1].item()
            wanted = [even * math.cos(angle) - odd * math.sin(angle), even * math.sin(angle) + odd * math.cos(angle)]
            assert turned[t, j].tolist() == pytest.approx(wanted, abs=1e-5)
    assert_close(turned.norm(dim=-1), x.reshape(9, 3, 2).norm(dim=-1))  # a rotation keeps lengths


def test_rotary_needs_pairs() -> None:
    with pytest.raises(RecipeError, match="a head has 5"):
        Rotary(1, 5, False)


@torch.no_grad()
def test_shaw_by_its_formula() -> None:
    relative = RelativeKeys(2, 4, False).double()
    query = torch.randn(3, 2, 40, 4, dtype=torch.float64)
    bias = relative.bias(query, 0, 40)
    assert bias is not None
    for i, j in [(0, 0), (3, 1), (1, 3), (0, 39), (39, 0), (20, 37)]:
        vector = relative.table[max(-16, min(16, j - i)) + 16]
        assert_close(bias[:, :, i, j], (query[:, :, i] * vector).sum(-1) / 2)


def test_t5_buckets_by_the_definition() -> None:
    def bucket(relative: RelativeBias, distance: int) -> int:
        return int(relative.bucket(torch.tensor([[distance]])))

    back, both = RelativeBias(1, 4, True), RelativeBias(1, 4, False)
    assert [bucket(back, -d) for d in (0, 1, 15, 16, 127, 128, 10_000)] == [0, 1, 15, 16, 31, 31, 31]
    assert [bucket(back, d) for d in (1, 5)] == [0, 0]  # a decoder never looks there
    assert [bucket(both, -d) for d in (0, 1, 7, 8, 128)] == [0, 1, 7, 8, 15]
    assert [bucket(both, d) for d in (1, 7, 8, 128)] == [17, 23, 24, 31]
    for relative in (back, both):
        far = [bucket(relative, -d) for d in range(300)]
        assert far == sorted(far)
        assert len(set(far)) == (32 if relative.causal else 16)


@pytest.mark.parametrize("name", RELATIVE)
@torch.no_grad()
def test_n15_step_by_step_is_all_at_once(name: str) -> None:
    model, x = attention(name), torch.randn(2, 7, 8, dtype=torch.float64)
    at_once = model(x, model.remember(x), is_causal=True)
    kept = model.remember(x[:, :1])
    steps = [model(x[:, :1], kept)]
    for t in range(1, 7):
        new = model.remember(x[:, t : t + 1], first=t)
        kept = kept.append(new.key, new.value)
        steps.append(model(x[:, t : t + 1], kept, first=t))
    assert_close(torch.cat(steps, 1), at_once)


@pytest.mark.parametrize("score", [name for name, score in SCORES.items() if score(4).factor is not None])
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_bias_in_plain_short_and_fused(score: str, causal: bool, masked: bool, rows: int) -> None:
    query, key, value = (torch.randn(3, 2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    bias = torch.randn(rows, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    may_attend = length_mask(torch.tensor([5, 2, 0]), 5) if masked else None
    made = SCORES[score](4)
    assert made.factor is not None
    mixed, weights = attend_plain(made, query, key, value, may_attend, causal, 0.0, bias)
    wanted = torch.autograd.grad(mixed.square().sum(), (query, key, value, bias))
    if masked:
        assert weights[1, ..., 2:].count_nonzero() == 0
        assert weights[2].count_nonzero() == 0
    for way in (attend_short, attend_fused):
        out = way(made.factor, query, key, value, may_attend, causal, 0.0, bias)
        assert_close(out, mixed)
        found = torch.autograd.grad(out.square().sum(), (query, key, value, bias))
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other)


def test_a_bias_reaches_the_fused_way_through_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = Attend(SCORES["scaled_dot"](4))
    query, key = torch.randn(1, 1, 2, 4), torch.randn(1, 1, 300, 4)
    bias = torch.randn(1, 1, 2, 300)
    mixed, weights = attend(query, key, key, None, False, bias)
    assert weights is None
    attend.plain = True
    assert_close(attend(query, key, key, None, False, bias)[0], mixed)
