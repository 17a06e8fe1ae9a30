"""Every score against its formula, and claim N6 with its numbers."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from regard.attention.scores import SCORES, Score
from regard.config import Model


def test_the_table_and_the_setting_name_the_same_scores() -> None:
    assert set(SCORES) == set(get_args(Model.model_fields["score"].annotation))


@pytest.mark.parametrize("name", SCORES)
def test_a_score_has_the_interface_and_the_factor_it_says(name: str) -> None:
    score = SCORES[name](4)
    assert isinstance(score, Score)
    query, key = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 6, 4)
    assert score(query, key).shape == (2, 3, 5, 6)
    if score.factor is not None:
        assert_close(score(query, key), score.factor * torch.einsum("bhtk,bhsk->bhts", query, key))


@pytest.mark.parametrize("size", [64, 256])
def test_n06_variance_is_d_before_scaling_and_1_after(size: int) -> None:
    query, key = torch.randn(1, 1, 200, size), torch.randn(1, 1, 200, size)
    assert SCORES["dot"](size)(query, key).var().item() == pytest.approx(size, rel=0.1)
    assert SCORES["scaled_dot"](size)(query, key).var().item() == pytest.approx(1, rel=0.1)


def test_n06_unscaled_the_softmax_saturates_and_its_gradient_goes_to_0() -> None:
    query, key = torch.randn(1, 1, 200, 512), torch.randn(1, 1, 16, 512)
    slope = {}
    for name in ("dot", "scaled_dot"):
        scores = SCORES[name](512)(query, key).detach().requires_grad_()
        weights = scores.softmax(-1)
        best = weights.max(-1).values
        (gradient,) = torch.autograd.grad(best.sum(), scores)
        slope[name] = gradient.abs().sum(-1).median().item(), best.median().item()
    assert slope["dot"][1] > 0.99
    assert slope["scaled_dot"][1] < 0.5
    assert slope["dot"][0] < 0.02
    assert slope["scaled_dot"][0] > 0.3
