"""Attention pooling is a weighted mean; kernel regression finds the true function; its width is learnt from others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

import regard.attention as words
from regard.attention import SCORES, Additive, NadarayaWatson, ScaledDot, attention_pooling, length_mask
from regard.attention import pooling as module
from regard.errors import UsageError


def truth(x: Tensor) -> Tensor:
    return 2 * x.sin() + x**0.8


def points(count: int, seed: int = 0, noise: float = 0.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 5 * torch.rand(count, generator=generator)
    return x, truth(x) + noise * torch.randn(count, generator=generator)


def double(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_the_words_of_the_package() -> None:
    wanted = [
        "Additive", "Bilinear", "Dot", "Gaussian", "NadarayaWatson", "SCORES", "ScaledDot", "Score",
        "attention_pooling", "causal_mask", "length_mask", "masked_softmax",
    ]  # fmt: skip
    # What else is there got there when files of the package were imported.
    assert [name for name in wanted if not hasattr(words, name)] == []


# Attention pooling.


def test_an_example_worked_by_hand() -> None:
    # Scores ln 3 and 0: weights 3/4 and 1/4, for values [8, 0] and [4, 4].
    query, key = torch.tensor([[math.log(3)]]), torch.tensor([[1.0], [0.0]])
    mixed, weights = attention_pooling(query, key, torch.tensor([[8.0, 0.0], [4.0, 4.0]]), SCORES["dot"](1))
    assert_close(weights, torch.tensor([[0.75, 0.25]]))
    assert_close(mixed, torch.tensor([[7.0, 1.0]]))


def test_n01_average_pooling_is_the_mean() -> None:
    query, key, value = double(2, 4, 3), double(2, 5, 7), double(2, 5, 6)
    mixed, weights = attention_pooling(query, key, value)
    assert_close(weights, torch.full((2, 4, 5), 0.2, dtype=torch.float64))
    assert_close(mixed, value.mean(1, keepdim=True).expand(2, 4, 6))


@pytest.mark.parametrize("name", SCORES)
def test_n01_weights_sum_to_1_and_mix_the_values(name: str) -> None:
    query, key, value = torch.randn(2, 4, 3), torch.randn(2, 5, 3), torch.randn(2, 5, 6)
    mixed, weights = attention_pooling(query, key, value, SCORES[name](3))
    assert (weights > 0).all()
    assert_close(weights.sum(-1), torch.ones(2, 4))
    assert_close(mixed, torch.einsum("bts,bsw->btw", weights, value))


@pytest.mark.parametrize("leading", [(), (3,), (3, 2)], ids=["alone", "batch", "heads"])
def test_it_is_the_attention_of_torch(leading: tuple[int, ...]) -> None:
    query, key, value = double(*leading, 4, 6), double(*leading, 5, 6), double(*leading, 5, 2)
    may_attend = torch.rand(*leading, 4, 5) < 0.7
    may_attend[..., 0] = True
    mixed, weights = attention_pooling(query, key, value, ScaledDot(6), may_attend)
    assert_close(mixed, functional.scaled_dot_product_attention(query, key, value, attn_mask=may_attend))
    assert weights.shape == (*leading, 4, 5)
    assert weights[~may_attend].count_nonzero() == 0


def test_n04_masks_of_every_shape_mean_the_same() -> None:
    query, key, value = double(2, 4, 3), double(2, 5, 3), double(2, 5, 6)
    lengths = length_mask(torch.tensor([3, 0]), 5)  # [2, 1, 1, 5]
    for score in (None, ScaledDot(3)):
        mixed, weights = attention_pooling(query, key, value, score, lengths)
        assert weights[0, :, 3:].count_nonzero() == weights[1].count_nonzero() == mixed[1].count_nonzero() == 0
        for same in (lengths[:, 0], lengths[:, 0].expand(2, 4, 5)):
            assert_close(attention_pooling(query, key, value, score, same), (mixed, weights))
        first = attention_pooling(query[0], key[0], value[0], score, lengths[0, 0, 0])  # [5]
        assert_close(first, (mixed[0], weights[0]))


def test_n05_sizes_that_differ() -> None:
    score = Additive(8, query_size=2, key_size=3)
    mixed, weights = attention_pooling(torch.randn(4, 2), torch.randn(5, 3), torch.randn(5, 7), score)
    assert (mixed.shape, weights.shape) == ((4, 7), (4, 5))
    assert_close(weights.sum(-1), torch.ones(4))


def test_numbers_are_positions_of_one_feature() -> None:
    query, key, value = double(4), double(5), double(5)
    mixed, weights = attention_pooling(query, key, value, SCORES["dot"](1))
    as_columns, same = attention_pooling(query[:, None], key[:, None], value[:, None], SCORES["dot"](1))
    assert mixed.shape == (4,)
    assert_close((mixed, weights), (as_columns[:, 0], same))


ONES = torch.ones
BAD_CALLS: list[tuple[str, tuple[Tensor | Callable[..., Tensor] | None, ...]]] = [
    (
        r"each key a value, found \[1, 1, 2, 3\], \[1, 1, 4, 3\] and \[1, 1, 5, 3\]",
        (ONES(2, 3), ONES(4, 3), ONES(5, 3)),
    ),
    (r"same batch and heads.*found \[2, 1, 2, 3\], \[3, 1,", (ONES(2, 2, 3), ONES(3, 4, 3), ONES(3, 4, 3))),
    (r"1 to 4 axes, found 2, 2, 5", (ONES(2, 3), ONES(4, 3), ONES(1, 1, 1, 4, 3))),
    (r"1 to 4 axes, found 0, 2, 2", (ONES(()), ONES(4, 3), ONES(4, 3))),
    (r"one type in one place, found torch.float32 \(cpu\), torch.float64", (ONES(2), ONES(4).double(), ONES(4))),
    (r"floating-point numbers.*torch.int64", (ONES(2).long(), ONES(4).long(), ONES(4).long())),
    (r"should give \[1, 1, 2, 4\], found \[2, 3\]", (ONES(2, 3), ONES(4, 3), ONES(4, 3), lambda q, k: ONES(2, 3))),
    (r"weights \[B, H, T, S\] of \[1, 1, 2, 4\], found.*\[3\]", (ONES(2), ONES(4), ONES(4), None, ONES(3) > 0)),
    (r"type bool.*found torch.float32 \[4\]", (ONES(2), ONES(4), ONES(4), None, ONES(4))),
    (r"fit weights.*found.*\[1, 1, 1, 1, 4\]", (ONES(2), ONES(4), ONES(4), None, ONES(1, 1, 1, 1, 4) > 0)),
    (r"one size, found 3 and 2 features", (ONES(2, 3), ONES(4, 2), ONES(4, 2), ScaledDot(3))),
]


@pytest.mark.parametrize(("message", "arguments"), BAD_CALLS)
def test_what_does_not_fit_together_is_explained(message: str, arguments: tuple[Tensor, ...]) -> None:
    with pytest.raises(UsageError, match=rf"(?s){message}.*fix: "):
        attention_pooling(*arguments)


# Nadaraya-Watson regression.


def test_n02_the_prediction_is_that_of_the_papers() -> None:
    """Sum of K(x - x_i) y_i over the sum of K(x - x_i), K being the density of a normal distribution."""
    x, y = (values.double() for values in points(20))
    asked = torch.linspace(0, 5, 7, dtype=torch.float64)
    predicted, weights = NadarayaWatson(x, y, width=2.0).predict(asked)
    for t in range(7):
        kernel = torch.distributions.Normal(0.0, 1 / 2.0).log_prob(asked[t] - x).exp()
        assert_close(weights[t], kernel / kernel.sum())
        assert_close(predicted[t], (kernel * y).sum() / kernel.sum())


@pytest.mark.parametrize("features", [2, 9])
def test_n02_points_of_many_features_and_answers_of_many(features: int) -> None:
    x, y, asked = double(30, features) + 100, double(30, 3), double(6, features) + 100
    predicted, weights = NadarayaWatson(x, y, width=0.8).predict(asked)
    assert_close(weights, (-((torch.cdist(asked, x) * 0.8) ** 2) / 2).softmax(-1))
    assert_close(predicted, weights @ y)


def test_n02_distances_far_from_0_keep_their_digits() -> None:
    x, y, asked = torch.randn(30, 9), torch.randn(30), torch.randn(6, 9)
    near, _ = NadarayaWatson(x, y).predict(asked)
    far, _ = NadarayaWatson(x + 256, y).predict(asked + 256)  # 256: few digits of x are lost
    assert_close(far, near, atol=1e-3, rtol=0)


def test_n02_with_more_data_it_comes_to_the_true_function() -> None:
    asked = torch.linspace(0, 5, 200)
    for seed in range(3):
        errors = []
        for count in (50, 500, 5000):
            predicted, _ = NadarayaWatson(*points(count, seed), width=2 * count**0.2).predict(asked)
            errors.append((predicted - truth(asked)).square().mean().item())
        assert errors[1] < errors[0] / 2
        assert errors[2] < errors[1] / 3
        assert errors[2] < 0.01  # the noise has a variance of 0.25


@pytest.mark.parametrize("width", [0.5, 4.0, 100.0])
def test_n02_the_largest_weight_is_where_query_and_key_are_nearest(width: float) -> None:
    x, y = (values.double() for values in points(50))
    asked = torch.linspace(-1, 6, 80, dtype=torch.float64)
    _, weights = NadarayaWatson(x, y, width).predict(asked)
    assert torch.equal(weights.argmax(-1), (asked[:, None] - x).abs().argmin(-1))
    _, weights = NadarayaWatson(x, y, width).predict(x)
    assert torch.equal(weights.argmax(-1), torch.arange(50))  # where they are equal


def test_n03_a_larger_width_is_sharper_weights() -> None:
    x, y = points(50)
    entropies = [
        torch.special.entr(NadarayaWatson(x, y, width).predict(torch.linspace(0, 5, 40))[1]).sum(-1)
        for width in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
    ]
    assert_close(entropies[0], torch.full((40,), math.log(50)))
    for wide, sharp in itertools.pairwise(entropies):
        assert (sharp < wide).all()


def test_n01_width_0_is_the_average() -> None:
    x, y = points(50)
    predicted, weights = NadarayaWatson.average(x, y).predict(torch.tensor([-3.0, 2.0]))
    assert_close(weights, torch.full((2, 50), 0.02))
    assert_close(predicted, y.mean().expand(2))


def test_far_from_all_points_the_nearest_counts() -> None:
    x, y = torch.tensor([0.0, 1.0]), torch.tensor([3.0, 7.0])
    assert_close(NadarayaWatson(x, y, width=10.0).predict(torch.tensor([-1e6, 1e6]))[0], y)


# Leave one out.


def test_n03_a_training_point_does_not_attend_to_itself() -> None:
    x, y = points(30)
    regression = NadarayaWatson(x, y, width=3.0)
    predicted, weights = regression.leave_one_out()
    assert weights.diagonal().count_nonzero() == 0
    assert_close(weights.sum(-1), torch.ones(30))
    for i in range(30):  # each is what a regression without the point says
        others = [j for j in range(30) if j != i]
        alone, of_others = NadarayaWatson(x[others], y[others], width=3.0).predict(x[i : i + 1])
        assert_close(predicted[i : i + 1], alone)
        assert_close(weights[i, others], of_others[0])


def test_n03_the_trained_fit_beats_the_untrained_one() -> None:
    for seed in range(3):
        x, y = points(50, seed)
        fixed = NadarayaWatson(x, y)
        learned, losses = fixed.learn_width()
        assert learned.width > 2
        assert (learned.x is x, learned.y is y, fixed.width) == (True, True, 1.0)
        assert (learned.predict(x)[0] - y).square().mean() < 0.5 * (fixed.predict(x)[0] - y).square().mean()
        found = [(one.leave_one_out()[0] - y).square().mean().item() for one in (fixed, learned)]
        assert found == pytest.approx([losses[0], min(losses)], rel=1e-5)
        assert found[1] < 0.6 * found[0]
        asked = torch.linspace(0, 5, 200)
        errors = [(one.predict(asked)[0] - truth(asked)).square().mean() for one in (fixed, learned)]
        assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("unit_of_y", [1e-6, 1e6])
@pytest.mark.parametrize(("start", "unit_of_x"), [(0.001, 1), (1.0, 1), (1e6, 1), (1.0, 1e-6), (1.0, 1e6)])
def test_n03_the_best_width_is_found_from_any_start_and_in_any_unit(
    start: float, unit_of_x: float, unit_of_y: float
) -> None:
    x, y = (values.double() for values in points(40))
    grid = torch.logspace(-1, 2, 400).tolist()
    best = min(grid, key=lambda width: (NadarayaWatson(x, y, width).leave_one_out()[0] - y).square().mean().item())
    learned, losses = NadarayaWatson(x * unit_of_x, y * unit_of_y, start).learn_width()
    assert learned.width * unit_of_x == pytest.approx(best, rel=0.02)
    assert len(losses) == 201


def test_the_slope_is_that_of_the_loss() -> None:
    x, y = (values.double() for values in points(20))
    regression = NadarayaWatson(x, y)
    _, slope = regression._loss_and_slope(2.0)
    losses = [regression._loss_and_slope(2.0 * math.exp(small))[0] for small in (1e-5, -1e-5)]
    assert slope.item() == pytest.approx((losses[0] - losses[1]) / 2e-5 / y.var(unbiased=False).item(), rel=1e-5)


def test_learning_in_pieces_is_learning_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (values.double() for values in points(23))
    whole, losses = NadarayaWatson(x, y).learn_width(steps=20)
    for most in (1, 100):
        monkeypatch.setattr(module, "MOST_PAIRS", most)
        pieces, same = NadarayaWatson(x, y).learn_width(steps=20)
        assert pieces.width == pytest.approx(whole.width, rel=1e-9)
        assert same == pytest.approx(losses, rel=1e-9)


def test_learning_leaves_no_gradient_and_needs_none_of_the_caller() -> None:
    x, y = points(10)
    y.requires_grad_()
    with torch.no_grad():
        learned, _ = NadarayaWatson(x, y).learn_width(steps=3)
    assert y.grad is None
    assert isinstance(learned.width, float)
    assert learned.predict(x)[0].requires_grad  # outside, gradients flow to the values as ever


def test_y_that_never_varies() -> None:
    x, _ = points(10)
    learned, losses = NadarayaWatson(x, torch.full((10,), 2.0)).learn_width(steps=3)
    assert losses == pytest.approx([0.0] * 4, abs=1e-10)
    assert_close(learned.predict(x)[0], torch.full((10,), 2.0))


NAN = torch.tensor([1.0, math.nan])
BAD_REGRESSIONS: list[tuple[str, Callable[[], object]]] = [
    (r"points with one x and one y each, found 0 x and 0 y", lambda: NadarayaWatson(ONES(0), ONES(0))),
    (r"points with one x and one y each, found 3 x and 2 y", lambda: NadarayaWatson(ONES(3), ONES(2))),
    (r"x should be finite.*\[2\], some of them infinite or not a number", lambda: NadarayaWatson(NAN, ONES(2))),
    (r"y should be finite.*some of them infinite", lambda: NadarayaWatson(ONES(2), ONES(2) / 0)),
    (r"x should be .*\[N, F\], found torch.float32 \[2, 2, 2\]\n", lambda: NadarayaWatson(ONES(2, 2, 2), ONES(2))),
    (r"y should be .*found torch.int64 \[2\]\n", lambda: NadarayaWatson(ONES(2), ONES(2).long())),
    (r"one type in one place", lambda: NadarayaWatson(ONES(2), ONES(2).double()).predict(ONES(2))),
    (r"width should be a number from 0 on, found -1", lambda: NadarayaWatson(ONES(2), ONES(2), -1.0)),
    (r"width should be a number from 0 on, found nan", lambda: NadarayaWatson(ONES(2), ONES(2), math.nan)),
    (r"like the training points, \[M\], found \[4, 1\]", lambda: NadarayaWatson(ONES(2), ONES(2)).predict(ONES(4, 1))),
    (r"points, \[M, 3\], found \[4, 2\]", lambda: NadarayaWatson(ONES(2, 3), ONES(2)).predict(ONES(4, 2))),
    (r"x should be finite", lambda: NadarayaWatson(ONES(2), ONES(2)).predict(NAN)),
    (r"needs 2 points, found 1", lambda: NadarayaWatson(ONES(1), ONES(1)).leave_one_out()),
    (r"needs 2 points, found 1", lambda: NadarayaWatson(ONES(1), ONES(1)).learn_width()),
    (r"above 0, found 0.0, 200 and 0.1", lambda: NadarayaWatson.average(ONES(2), ONES(2)).learn_width()),
    (r"above 0, found 1.0, 0 and 0.1", lambda: NadarayaWatson(ONES(2), ONES(2)).learn_width(steps=0)),
    (r"above 0, found 1.0, 5 and -1", lambda: NadarayaWatson(ONES(2), ONES(2)).learn_width(5, -1.0)),
    (r"too far apart for a width of 1\n", lambda: NadarayaWatson(ONES(2), ONES(2)).predict(ONES(1) * 1e30)),
    (r"too far apart for a width of 2\n", lambda: NadarayaWatson(torch.tensor([0, 1e30]), ONES(2), 2).leave_one_out()),
]  # fmt: skip


@pytest.mark.parametrize(("message", "call"), BAD_REGRESSIONS)
def test_points_that_make_no_regression_are_refused(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=rf"(?s){message}.*fix: "):
        call()


def test_no_questions_no_answers() -> None:
    predicted, weights = NadarayaWatson(*points(5)).predict(torch.ones(0))
    assert (predicted.shape, weights.shape) == ((0,), (0, 5))
