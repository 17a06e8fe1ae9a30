"""Three ways to attend give the same numbers, forbidden cells exactly 0, and the right way is taken."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from regard.attention import attend as module
from regard.attention.attend import SHORT, Attend, attend_fused, attend_plain, attend_short
from regard.attention.masks import length_mask
from regard.attention.scores import SCORES, Score

Way = Callable[[Score, Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]


def plain(score: Score, q: Tensor, k: Tensor, v: Tensor, may: Tensor | None, causal: bool = False) -> Tensor:
    return attend_plain(score, q, k, v, may, causal)[0]


def short(score: Score, q: Tensor, k: Tensor, v: Tensor, may: Tensor | None, causal: bool = False) -> Tensor:
    assert score.factor is not None
    return attend_short(score.factor, q, k, v, may, causal)


def fused(score: Score, q: Tensor, k: Tensor, v: Tensor, may: Tensor | None, causal: bool = False) -> Tensor:
    assert score.factor is not None
    return attend_fused(score.factor, q, k, v, may, causal)


WAYS: dict[str, Way] = {"plain": plain, "short": short, "fused": fused}
PRODUCTS = [name for name, score in SCORES.items() if score(4).factor is not None]
MASKS: dict[str, Callable[[int, int], Tensor | None]] = {
    "none": lambda queries, keys: None,
    "lengths": lambda queries, keys: length_mask(torch.tensor([keys, keys // 2, 0]), keys),
    "length-per-query": lambda queries, keys: length_mask(torch.randint(0, keys + 1, (3, queries)), keys),
    "a-mask-a-head": lambda queries, keys: torch.rand(3, 2, queries, keys) < 0.5,
    "one-for-all": lambda queries, keys: torch.arange(keys)[None, None, None] < 2,
}


def inputs(queries: int, keys: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Three sequences, two heads; keys of 4 and values of 3 features."""
    shapes = (3, 2, queries, 4), (3, 2, keys, 4), (3, 2, keys, 3)
    query, key, value = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)
    return query, key, value


def test_an_example_worked_by_hand() -> None:
    # q.k / sqrt(4) is ln 3 for the first key and 0 for the second: weights 3/4 and 1/4.
    query = torch.tensor([2 * math.log(3), 0.0, 0.0, 0.0])[None, None, None]
    key = torch.eye(4)[None, None, :2]
    value = torch.tensor([[8.0], [4.0]])[None, None]
    for way in WAYS.values():
        assert_close(way(SCORES["scaled_dot"](4), query, key, value, None, False).item(), 7.0)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 5), (3, 5), (5, 3), (4, 0)])
def test_plain_short_and_fused_are_equal(queries: int, keys: int, mask: str, causal: bool, name: str) -> None:
    tensors = inputs(queries, keys)
    may_attend = MASKS[mask](queries, keys)
    weight = torch.randn(3, 2, queries, 3, dtype=torch.float64)
    answers = []
    for way in WAYS.values():
        mixed = way(SCORES[name](4), *tensors, may_attend, causal)
        answers.append((mixed, *torch.autograd.grad((mixed * weight).sum(), tensors)))
    for other in answers[1:]:
        for one, two in zip(answers[0], other, strict=True):
            assert_close(two, one, atol=1e-12, rtol=1e-9)
            assert not two.isnan().any()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_e5_forbidden_cells_are_exactly_0_and_blind_rows_too(way: str, dtype: torch.dtype, scale: float) -> None:
    query, key, _ = (tensor.detach() for tensor in inputs(4, 6, dtype))
    value = torch.eye(6, dtype=dtype).expand(3, 2, 6, 6)  # what is mixed are then the weights themselves
    allowed = length_mask(torch.tensor([[6, 1, 0, 3], [2, 2, 2, 2], [0, 0, 0, 0]]), 6)
    weights = WAYS[way](SCORES["dot"](4), query * scale, key * scale, value, allowed, False)
    assert not weights.isnan().any()
    assert weights[~allowed.expand_as(weights)].count_nonzero() == 0
    sees = allowed.any(-1).expand(3, 2, 4).to(dtype)
    assert_close(weights.sum(-1), sees, atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_e5_blind_rows_with_very_low_scores_are_0(way: str, dtype: torch.dtype) -> None:
    query, key = torch.full((1, 1, 2, 4), 100.0, dtype=dtype), torch.full((1, 1, 3, 4), -100.0, dtype=dtype)
    mixed = WAYS[way](SCORES["dot"](4), query, key, torch.ones_like(key), length_mask(torch.tensor([[0, 2]]), 3), False)
    assert mixed[0, 0].tolist() == [[0.0] * 4, [1.0] * 4]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("queries", "keys"), [(4, 4), (2, 5), (5, 2)])
def test_each_cell_by_the_definition(queries: int, keys: int, mask: str, causal: bool, way: str) -> None:
    query, key, value = (tensor.detach() for tensor in inputs(queries, keys))
    may_attend = MASKS[mask](queries, keys)
    allowed = torch.ones(3, 2, queries, keys, dtype=torch.bool) if may_attend is None else may_attend
    mixed = WAYS[way](SCORES["scaled_dot"](4), query, key, value, may_attend, causal)
    for b, h, t in itertools.product(range(3), range(2), range(queries)):
        seen = [s for s in range(keys) if allowed.expand(3, 2, queries, keys)[b, h, t, s]]
        seen = [s for s in seen if not causal or s <= t + keys - queries]
        powers = [math.exp(float(query[b, h, t] @ key[b, h, s]) / 2) for s in seen]
        wanted = sum(
            (power / sum(powers) * value[b, h, s] for power, s in zip(powers, seen, strict=True)), torch.zeros(3)
        )
        assert_close(mixed[b, h, t], wanted, check_dtype=False)


def test_scaled_dot_is_torch_scaled_dot_product_attention() -> None:
    query, key, value = inputs(5, 5)
    ours = plain(SCORES["scaled_dot"](4), query, key, value, None, causal=True)
    assert_close(ours, functional.scaled_dot_product_attention(query, key, value, is_causal=True))


def taken(monkeypatch: pytest.MonkeyPatch, attend: Attend, *args: object, **kwargs: bool) -> list[str]:
    """Which of the three functions a call of `attend` reaches."""
    reached: list[str] = []
    for name in ("attend_plain", "attend_short", "attend_fused"):
        original = getattr(module, name)

        def spy(*args: object, name: str = name, original: Callable[..., object] = original) -> object:
            reached.append(name.removeprefix("attend_"))
            return original(*args)

        monkeypatch.setattr(module, name, spy)
    attend(*args, **kwargs)
    monkeypatch.undo()
    return reached


def test_which_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    short_keys, long_keys = inputs(2, SHORT), inputs(2, SHORT + 1)
    attend = Attend(SCORES["scaled_dot"](4), weight_dropout=0.5)
    assert taken(monkeypatch, attend.eval(), *short_keys) == ["short"]
    assert taken(monkeypatch, attend.eval(), *long_keys) == ["fused"]
    assert taken(monkeypatch, attend.train(), *long_keys) == ["short"]  # no dropout inside the fused kernel on a CPU
    attend.plain = True
    assert taken(monkeypatch, attend, *long_keys) == ["plain"]


def test_a_score_that_is_no_product_takes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distance(torch.nn.Module):
        factor = None

        def forward(self, query: Tensor, key: Tensor) -> Tensor:
            return -torch.cdist(query, key)

    assert isinstance(Distance(), Score)
    assert taken(monkeypatch, Attend(Distance()), *inputs(2, 3)) == ["plain"]


@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("mask", MASKS)
def test_long_keys_are_equal_too(mask: str, causal: bool) -> None:
    size = SHORT + 44
    tensors = inputs(size, size)
    may_attend = MASKS[mask](size, size)
    attend = Attend(SCORES["scaled_dot"](4))
    fast, nothing = attend(*tensors, may_attend, is_causal=causal)
    attend.plain = True
    slow, weights = attend(*tensors, may_attend, is_causal=causal)
    assert nothing is None
    assert weights.shape == (3, 2, size, size)
    assert_close(fast, slow, atol=1e-12, rtol=1e-9)
    for one, two in zip(*(torch.autograd.grad(mixed.sin().sum(), tensors) for mixed in (fast, slow)), strict=True):
        assert_close(one, two, atol=1e-12, rtol=1e-9)


def test_e10_training_on_long_sequences_keeps_no_weights() -> None:
    size, heads = SHORT + 44, 8
    query, key, value = (torch.randn(1, heads, size, 4, requires_grad=True) for _ in range(3))
    may_attend = length_mask(torch.tensor([size - 7]), size)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        Attend(SCORES["scaled_dot"](4))(query, key, value, may_attend, is_causal=True)
    assert 0 < max(kept) <= size * size  # one mask for all heads at most
    assert sum(kept) < heads * size * size


def test_dropout_of_weights_keeps_the_expectation_and_is_off_in_evaluation() -> None:
    query, key, value = (tensor.detach() for tensor in inputs(2, 6))
    attend = Attend(SCORES["scaled_dot"](4), weight_dropout=0.25)
    exact, _ = attend.eval()(query, key, value)
    attend.train()
    mean = torch.stack([attend(query, key, value)[0] for _ in range(2000)]).mean(0)
    assert_close(mean, exact, atol=0.1, rtol=0)
    attend.plain = True
    torch.manual_seed(1)
    slow, weights = attend(query, key, value)
    attend.plain = False
    torch.manual_seed(1)
    fast, _ = attend(query, key, value)
    assert_close(fast, slow)
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))  # what is shown is what was meant, before dropout
    assert not torch.allclose(slow, exact)
