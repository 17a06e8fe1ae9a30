"""Every score against its formula, examples by hand, masks, gradients, and claims N4-N6 with their numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from regard.attention import scores as module
from regard.attention.attend import Attend, attend_plain
from regard.attention.masks import length_mask
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.scores import SCORES, Additive, Bilinear, Dot, Gaussian, ScaledDot, Score, gaussian
from regard.config import NAMES
from regard.errors import UsageError

SIZES = [3, 8]  # the Gaussian kernel has one way for few features and one for more


def made(name: str, size: int) -> nn.Module:
    """A score in float64 whose parameters are not at their special first values."""
    score = SCORES[name](size)
    assert isinstance(score, nn.Module)
    with torch.no_grad():
        for parameter in score.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return score.double()


def inputs(size: int) -> tuple[Tensor, Tensor]:
    """Two sequences, three heads, five queries, six keys."""
    return torch.randn(2, 3, 5, size, dtype=torch.float64), torch.randn(2, 3, 6, size, dtype=torch.float64)


def formula(name: str, score: nn.Module, q: Tensor, k: Tensor) -> Tensor:
    """The score of one query [K] with one key [K], written down again, one number after the other."""
    size, values = len(q), dict(score.named_parameters())
    if name == "additive":
        return torch.stack([values["weight"][i] * torch.tanh(q[i] + k[i]) for i in range(size)]).sum()
    if name == "bilinear":
        return torch.stack([q[i] * values["weight"][i, j] * k[j] for i in range(size) for j in range(size)]).sum()
    if name == "gaussian":
        return -torch.stack([((q[i] - k[i]) * values["width"]) ** 2 for i in range(size)]).sum() / 2
    return torch.dot(q, k) / (math.sqrt(size) if name == "scaled_dot" else 1)


def test_the_table_and_the_setting_name_the_same_scores() -> None:
    assert sorted(SCORES) == sorted(NAMES["score"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_its_formula_and_has_the_factor_it_says(name: str, size: int) -> None:
    score, (query, key) = made(name, size), inputs(size)
    assert isinstance(score, Score)
    rows = [
        torch.stack([formula(name, score, q, k) for q in query[b, h] for k in key[b, h]])
        for b in range(2)
        for h in range(3)
    ]
    assert_close(score(query, key), torch.stack(rows).view(2, 3, 5, 6))
    if score.factor is not None:
        assert_close(score(query, key), score.factor * torch.einsum("bhtk,bhsk->bhts", query, key))


QUERY, KEY = [1.0, 2.0], [[3.0, -1.0], [1.0, 2.0]]
BY_HAND: list[tuple[nn.Module, dict[str, Tensor], list[float]]] = [
    (Dot(2), {}, [1.0, 5.0]),
    (ScaledDot(2), {}, [1 / math.sqrt(2), 5 / math.sqrt(2)]),
    # tanh(4), tanh(1) and tanh(2), tanh(4), weighted with 1 and -2
    (Additive(2), {"weight": torch.tensor([1.0, -2.0])}, [-0.5238590122, -1.0346310194]),
    # q W = [1 + 6, 2 + 8] = [7, 10]
    (Bilinear(2), {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, [11.0, 27.0]),
    # squared distances 4 + 9 and 0, times 0.5^2, halved
    (Gaussian(2), {"width": torch.tensor(0.5)}, [-1.625, 0.0]),
]


@pytest.mark.parametrize(
    ("score", "weights", "wanted"), BY_HAND, ids=["dot", "scaled", "additive", "bilinear", "gauss"]
)
def test_an_example_worked_by_hand(score: nn.Module, weights: dict[str, Tensor], wanted: list[float]) -> None:
    score.load_state_dict(weights)
    found = score.double()(torch.tensor([[[QUERY]]]).double(), torch.tensor([[KEY]]).double())
    assert_close(found, torch.tensor([[[wanted]]], dtype=torch.float64), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", SCORES)
def test_n01_n04_weights_sum_to_1_and_are_exactly_0_outside(name: str) -> None:
    score, (query, key) = made(name, 4), inputs(4)
    assert isinstance(score, Score)
    value = torch.randn(2, 3, 6, 2, dtype=torch.float64)
    _, weights = attend_plain(score, query, key, value, None)
    assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))
    per_query = torch.tensor([[0, 1, 2, 5, 6], [3, 0, 6, 1, 4]])
    for lengths in (torch.tensor([4, 0]), per_query):
        may_attend = length_mask(lengths, 6)
        mixed, weights = attend_plain(score, query, key, value, may_attend)
        allowed = may_attend.expand_as(weights)
        assert (weights[allowed] > 0).all()
        assert weights[~allowed].count_nonzero() == 0
        assert_close(weights.sum(-1), allowed.any(-1).double())
        assert mixed.isfinite().all()
        assert mixed[~allowed.any(-1)].count_nonzero() == 0


@pytest.mark.parametrize("name", SCORES)
def test_what_stands_in_a_forbidden_key_changes_nothing(name: str) -> None:
    attend, (query, key) = Attend(made(name, 8)), inputs(8)
    value, may_attend = torch.randn(2, 3, 6, 2, dtype=torch.float64), length_mask(torch.tensor([4, 2]), 6)
    padded = torch.where(may_attend.transpose(-2, -1), key, 1e6)
    assert_close(attend(query, padded, value, may_attend)[0], attend(query, key, value, may_attend)[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCORES)
def test_gradients_are_those_of_the_formula(name: str, size: int) -> None:
    score, (query, key) = made(name, size), inputs(size)
    query, key = query[:1, :1, :3].requires_grad_(), key[:1, :1, :2].requires_grad_()
    assert torch.autograd.gradcheck(score, (query, key))
    score(query, key).softmax(-1)[..., 0].sum().backward()
    for parameter, values in score.named_parameters():
        assert values.grad is not None, parameter
        assert values.grad.isfinite().all(), parameter
        assert values.grad.count_nonzero() > 0, parameter


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCORES)
def test_gradients_are_finite_where_query_and_key_are_the_same(name: str, size: int, dtype: torch.dtype) -> None:
    score = made(name, size).to(dtype)
    same = (torch.randn(1, 1, 4, size, dtype=dtype) * 10).requires_grad_()
    for query, key in ((same, same), (same, same.detach().clone().requires_grad_()), (same * 0, same * 0)):
        result = score(query, key)
        wanted = (same, *score.parameters())
        for gradient in torch.autograd.grad((result.softmax(-1) * torch.randn_like(result)).sum(), wanted):
            assert gradient.isfinite().all()


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (3, 0), (0, 0)])
def test_no_queries_or_no_keys(name: str, queries: int, keys: int) -> None:
    assert made(name, 8)(torch.ones(2, 2, queries, 8).double(), torch.ones(2, 2, keys, 8).double()).shape[2:] == (
        queries,
        keys,
    )


@pytest.mark.parametrize("name", SCORES)
def test_any_attention_takes_any_score_and_all_that_it_learns_gets_a_gradient(name: str) -> None:
    attention = MultiHeadAttention(8, 2, query_size=6, key_size=5, score=name)
    query, states = torch.randn(2, 3, 6), torch.randn(2, 4, 5)
    mixed = attention(query, attention.remember(states), length_mask(torch.tensor([4, 2]), 4))
    mixed.square().sum().backward()
    for parameter, values in attention.named_parameters():
        if not parameter.endswith("key.bias"):  # it adds the same to all scores of a query: no softmax sees it
            assert values.grad is not None, parameter
            assert values.grad.count_nonzero() > 0, parameter


# Additive (N5).


def test_n05_queries_and_keys_of_different_sizes() -> None:
    score, query, key = Additive(7, 2, 3).double(), *(torch.randn(1, 1, n, n, dtype=torch.float64) for n in (2, 3))
    w_q, w_k, w_v = (dict(score.named_parameters())[name] for name in ("query.weight", "key.weight", "weight"))
    found = score(query, key)
    assert [name for name, _ in score.named_parameters()] == ["weight", "query.weight", "key.weight"]
    for t in range(2):
        for s in range(3):
            assert_close(found[0, 0, t, s], w_v.dot((w_q @ query[0, 0, t] + w_k @ key[0, 0, s]).tanh()))


def test_n05_inside_an_attention_its_projections_are_those_of_the_heads() -> None:
    attention = MultiHeadAttention(8, 2, score="additive", bias=False)
    alone = Additive(4, 8, 8)
    x = torch.randn(1, 5, 8)
    for head in range(2):
        rows = slice(4 * head, 4 * head + 4)
        weights = {"query.weight": attention.query.weight[rows], "key.weight": attention.key.weight[rows]}
        alone.load_state_dict({**weights, "weight": dict(attention.attend.score.named_parameters())["weight"]})
        kept, asked = attention.remember(x), attention.query(x)[..., rows][:, None]
        assert_close(alone(x[:, None], x[:, None]), attention.attend.score(asked, kept.key[:, head : head + 1]))


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that anything makes."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = function(*args, **(kwargs or {}))
        self.size = max([self.size, *(x.numel() for x in [made] if isinstance(x, Tensor))])
        return made


@pytest.mark.parametrize("learns", [True, False])
def test_additive_in_pieces_is_additive_at_once_and_small(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    score = Additive(16).double()
    tensors = [torch.randn(2, 3, n, 16, dtype=torch.float64, requires_grad=True) for n in (7, 5)]
    answers = []
    for most in (10**9, 2 * 3 * 5 * 16, 2 * 3 * 5 * 16 * 3 - 1, 1):  # all, one query, two of them, one (never less)
        monkeypatch.setattr(module, "MOST_AT_ONCE", most)
        with torch.set_grad_enabled(learns), Largest() as largest:
            found = score(*tensors)
            gradients = torch.autograd.grad(found.sin().sum(), (*tensors, score.weight)) if learns else ()
        answers.append((found, *gradients))
        assert largest.size <= max(min(most, 7 * 480), 480) + 200
        for one, two in zip(answers[-1], answers[0], strict=True):
            assert_close(one, two)


def test_additive_in_pieces_keeps_none_of_them_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    def note(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    score, query, key = Additive(16), torch.randn(1, 2, 40, 16, requires_grad=True), torch.randn(1, 2, 30, 16)
    for most, wanted in [(10**9, True), (2 * 30 * 16 * 5, False)]:
        monkeypatch.setattr(module, "MOST_AT_ONCE", most)
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            score(query, key)
        assert (sum(kept) >= 2 * 40 * 30 * 16) is wanted


# Bilinear.


def test_bilinear_starts_as_the_scaled_dot_product() -> None:
    query, key = (x.float() for x in inputs(8))
    assert_close(SCORES["bilinear"](8)(query, key), ScaledDot(8)(query, key))


def test_bilinear_of_different_sizes_is_torch_bilinear() -> None:
    score, other = Bilinear(3, 5), nn.Bilinear(3, 5, 1, bias=False)
    query, key = torch.randn(1, 1, 4, 3), torch.randn(1, 1, 4, 5)
    other.load_state_dict({"weight": score.weight.detach()[None]})
    assert_close(score(query, key).diagonal(dim1=2, dim2=3)[0, 0], other(query, key)[0, 0, :, 0])


# Gaussian (N2, N3; as a regression: test_pooling.py).


@pytest.mark.parametrize("size", [2, 16])
def test_gaussian_weighs_keys_of_equal_length_as_the_scaled_dot_product_does(size: int) -> None:
    query, key = (x.float() for x in inputs(size))
    key = 3 * key / key.norm(dim=-1, keepdim=True)
    assert_close(Gaussian(size)(query, key).softmax(-1), ScaledDot(size)(query, key).softmax(-1))


@pytest.mark.parametrize("size", [1, 4, 5, 64])
def test_gaussian_is_the_squared_distance_and_highest_at_the_nearest_key(size: int) -> None:
    query, key = torch.randn(9, size, dtype=torch.float64), torch.randn(7, size, dtype=torch.float64)
    assert_close(gaussian(query, key, 0.7), -0.5 * (0.7 * torch.cdist(query, key)) ** 2)
    assert gaussian(query, query, 5.0).le(0).all()
    assert_close(gaussian(query, query, 5.0).diagonal(), torch.zeros(9, dtype=torch.float64), atol=1e-12, rtol=0)


def test_gaussian_of_few_features_loses_no_digits_far_from_0() -> None:
    years = torch.tensor([[2000.0], [2000.125], [2000.25]])
    assert_close(gaussian(years, years, 64.0)[0], -(torch.tensor([0.0, 8.0, 16.0]) ** 2) / 2)


def test_gaussian_of_many_features_has_no_tensor_of_all_differences() -> None:
    with Largest() as largest:
        gaussian(torch.randn(40, 64), torch.randn(50, 64), 1.0)
    assert largest.size == 50 * 64


# Sizes that do not fit.


@pytest.mark.parametrize("name", ["dot", "scaled_dot", "gaussian"])
def test_scores_that_compare_feature_by_feature_say_so(name: str) -> None:
    with pytest.raises(UsageError, match=r"one size, found 3 and 4 features\n  fix: .*Additive or Bilinear"):
        SCORES[name](3)(torch.ones(1, 1, 2, 3), torch.ones(1, 1, 2, 4))


@pytest.mark.parametrize("make", [lambda: Additive(8, 3, 5), lambda: Bilinear(3, 5)], ids=["additive", "bilinear"])
def test_scores_made_for_two_sizes_say_so(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(UsageError, match="made for queries of 3 and keys of 5 features, found 5 and 3\n  fix: make it"):
        make()(torch.ones(1, 1, 2, 5), torch.ones(1, 1, 2, 3))


# Scaling (N6).


def unit(rows: int, size: int) -> Tensor:
    return torch.randn(1, 1, rows, size)


@pytest.mark.parametrize("size", [16, 64, 256])
def test_n06_variance_is_d_before_scaling_and_1_after(size: int) -> None:
    query, key = unit(600, size), unit(600, size)
    assert SCORES["dot"](size)(query, key).var().item() == pytest.approx(size, rel=0.05)
    assert SCORES["scaled_dot"](size)(query, key).var().item() == pytest.approx(1, rel=0.05)


def saturation(name: str, size: int) -> tuple[float, float, float]:
    """(mean entropy as a share of the highest, mean largest weight, mean slope of that weight) over 32 keys."""
    scores = SCORES[name](size)(unit(400, size), unit(32, size)).detach().requires_grad_()
    weights = scores.softmax(-1)
    largest = weights.max(-1).values
    (slope,) = torch.autograd.grad(largest.sum(), scores)
    entropy = torch.special.entr(weights).sum(-1) / math.log(32)
    return entropy.mean().item(), largest.mean().item(), slope.abs().sum(-1).mean().item()


def test_n06_unscaled_the_softmax_saturates_and_its_gradient_goes_to_0() -> None:
    sizes = (16, 64, 256, 4096)
    plain, scaled = ([saturation(name, size) for size in sizes] for name in ("dot", "scaled_dot"))
    for before, after in itertools.pairwise(plain):  # with every larger head
        assert after[0] < 0.8 * before[0]
        assert after[1] > before[1]
        assert after[2] < 0.8 * before[2]
    entropy, largest, slope = plain[-1]
    assert (entropy < 0.03, largest > 0.95, slope < 0.06) == (True, True, True)
    for entropy, largest, slope in scaled:  # whatever the size
        assert entropy == pytest.approx(0.87, abs=0.03)
        assert largest == pytest.approx(0.16, abs=0.02)
        assert slope == pytest.approx(0.27, abs=0.03)


def test_n06_additive_and_bilinear_start_with_scores_that_do_not_grow() -> None:
    for size in (16, 64, 256):
        for score in (SCORES["additive"](size), Bilinear(size), Bilinear(size, 2 * size)):
            wide = 2 * size if isinstance(score, Bilinear) and score.weight.shape[1] > size else size
            assert 0.3 < score(unit(300, size), unit(300, wide)).std().item() < 1.2
