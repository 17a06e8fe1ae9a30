"""Multi-head attention against torch's, its count of parameters, and the memory of earlier steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from regard.attention.masks import causal_mask, length_mask
from regard.attention.memory import KeyValues
from regard.attention.multi_head import MultiHeadAttention
from regard.errors import RecipeError


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def copy_from(theirs: nn.MultiheadAttention, ours: MultiHeadAttention) -> None:
    """Weights of torch's module into ours: packed where all sizes are equal, one by one where not."""
    packed = theirs.in_proj_weight is not None
    own = (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight)
    weights = theirs.in_proj_weight.chunk(3) if packed else own
    with torch.no_grad():
        for linear, weight, bias in zip(
            (ours.query, ours.key, ours.value), weights, theirs.in_proj_bias.chunk(3), strict=True
        ):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        ours.output.load_state_dict(theirs.out_proj.state_dict())


@pytest.mark.parametrize("heads", [8, 16])
def test_n07_parameters_do_not_depend_on_heads(heads: int) -> None:
    assert parameters(MultiHeadAttention(64, heads)) == 16_640
    assert parameters(MultiHeadAttention(64, heads, bias=False)) == 4 * 64**2


@pytest.mark.parametrize("sizes", [(16, 16), (12, 10)], ids=["one-size", "own-sizes"])
@pytest.mark.parametrize("mask", ["none", "lengths", "causal"])
@pytest.mark.parametrize("heads", [1, 4])
def test_n07_equal_to_torch_multihead_attention(heads: int, mask: str, sizes: tuple[int, int]) -> None:
    key_size, value_size = sizes
    theirs = nn.MultiheadAttention(16, heads, kdim=key_size, vdim=value_size, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention(16, heads, key_size=key_size, value_size=value_size)
    copy_from(theirs, ours)
    query, key, value = torch.randn(3, 5, 16), torch.randn(3, 5, key_size), torch.randn(3, 5, value_size)
    lengths = length_mask(torch.tensor([5, 2, 4]), 5)
    wanted, wanted_weights = theirs(
        query,
        key,
        value,
        key_padding_mask=~lengths[:, 0, 0] if mask == "lengths" else None,
        attn_mask=~causal_mask(5, 5)[0, 0] if mask == "causal" else None,
        average_attn_weights=False,
    )
    memory = ours.remember(key, value)
    may_attend = lengths if mask == "lengths" else None
    assert_close(ours(query, memory, may_attend, is_causal=mask == "causal"), wanted, atol=1e-5, rtol=1e-5)
    ours.attend.plain = True
    _, weights = ours.attend(
        ours._split(ours.query(query)), memory.key, memory.value, may_attend, is_causal=mask == "causal"
    )
    assert_close(weights, wanted_weights, atol=1e-5, rtol=1e-5)


def test_queries_may_have_a_size_of_their_own() -> None:
    attention = MultiHeadAttention(8, 2, query_size=6, key_size=5)
    assert attention(torch.randn(2, 3, 6), attention.remember(torch.randn(2, 4, 5))).shape == (2, 3, 8)


def test_n08_same_length_out_and_equivariant_to_permutation() -> None:
    attention = MultiHeadAttention(16, 4)
    x, order = torch.randn(2, 7, 16), torch.randperm(7)
    out = attention(x, attention.remember(x))
    assert out.shape == x.shape
    mixed = x[:, order]
    assert_close(attention(mixed, attention.remember(mixed)), out[:, order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("size", "heads"), [(10, 4), (8, 3), (4, 8), (8, 0), (8, -2)])
def test_e9_heads_must_divide_the_size(size: int, heads: int) -> None:
    with pytest.raises(RecipeError, match=rf"{heads} heads cannot share {size} features") as caught:
        MultiHeadAttention(size, heads)
    assert "divides" in caught.value.fix


def test_initialise_leaves_no_bias_and_xavier_bounds() -> None:
    attention = MultiHeadAttention(16, 4, key_size=8)
    for linear in (attention.query, attention.key, attention.value, attention.output):
        assert linear.bias.count_nonzero() == 0
        bound = (6 / sum(linear.weight.shape)) ** 0.5
        assert 0.8 * bound < linear.weight.abs().max().item() <= bound


def test_an_empty_source_gives_the_output_bias_alone() -> None:
    attention = MultiHeadAttention(8, 2)
    out = attention(torch.randn(2, 3, 8), attention.remember(torch.randn(2, 0, 8)))
    assert_close(out, attention.output.bias.expand(2, 3, 8))


def memory(batch: int, positions: int) -> KeyValues:
    return KeyValues(torch.randn(batch, 2, positions, 4), torch.randn(batch, 2, positions, 3))


def test_memory_appends_at_the_end_and_leaves_the_old_value_alone() -> None:
    old, new = memory(2, 3), memory(2, 1)
    key = old.key.clone()
    both = old.append(new.key, new.value)
    assert both.key.shape[2] == both.value.shape[2] == 4
    assert torch.equal(both.key[:, :, :3], key)
    assert torch.equal(both.value[:, :, 3:], new.value)
    assert torch.equal(old.key, key)


def test_memory_selects_rows_with_repeats_and_reorders() -> None:
    rows = torch.tensor([2, 0, 0])
    kept = memory(3, 2)
    assert torch.equal(kept.select(rows).key, kept.key[rows])
    assert torch.equal(kept.select(rows).value, kept.value[rows])
    assert kept.select(rows[:0]).key.shape == (0, 2, 2, 4)


def test_memory_limit_keeps_the_last_positions() -> None:
    kept = memory(1, 5)
    assert torch.equal(kept.limit(2).key, kept.key[:, :, 3:])
    assert torch.equal(kept.limit(2).value, kept.value[:, :, 3:])
    assert torch.equal(kept.limit(9).key, kept.key)
    assert kept.limit(0).key.shape[2] == 0


def test_appending_position_by_position_is_remembering_all_at_once() -> None:
    attention, x = MultiHeadAttention(8, 2), torch.randn(2, 4, 8)
    kept = attention.remember(x[:, :1])
    for t in range(1, 4):
        new = attention.remember(x[:, t : t + 1])
        kept = kept.append(new.key, new.value)
    assert_close(kept.key, attention.remember(x).key)
    assert_close(attention(x[:, 3:], kept), attention(x, attention.remember(x), is_causal=True)[:, 3:])
