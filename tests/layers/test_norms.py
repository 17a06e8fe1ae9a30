"""Norms against torch's and their formulas, over real positions only, and where they stand around a sublayer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from regard.config import NAMES
from regard.errors import RecipeError
from regard.layers.norms import NORMS, LayerNorm, NoNorm, Norm, make_norm
from regard.layers.residual import Residual

LENGTHS = torch.tensor([5, 2, 1])
IS_REAL = torch.arange(5) < LENGTHS[:, None]
PER_POSITION = ["layer", "rms", "group", "none"]


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 5, 12, dtype=torch.float64) * 3 + 1


def shaken(name: str) -> Norm:
    """With weights that are not at their special first values."""
    norm = make_norm(name, 12, 3).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def test_the_table_and_the_setting_name_the_same_norms() -> None:
    assert sorted(NORMS) == sorted(NAMES["norm"])


@pytest.mark.parametrize("name", PER_POSITION)
def test_e4_neither_padding_nor_the_future_enters_a_position(name: str) -> None:
    norm = make_norm(name, 12, causal=True)
    x = torch.randn(2, 6, 12)
    out = norm(x)
    other = x.clone()
    other[:, 4:] = 1e3
    other[1] *= 7
    assert torch.equal(norm(other)[0, :4], out[0, :4])
    assert torch.equal(norm(x[:1, :2]), out[:1, :2])  # any length, any batch


@pytest.mark.parametrize("name", NORMS)
def test_n22_a_norm_that_sees_the_future_is_refused_in_a_decoder(name: str) -> None:
    norm, x = make_norm(name, 12).train(), torch.randn(2, 6, 12)
    other = x.clone()
    other[:, 4:] = torch.randn(2, 2, 12)
    is_causal = torch.equal(norm(other)[:, :4], norm(x)[:, :4])  # measured
    assert is_causal == (name in PER_POSITION) == (not norm.why_not_causal)
    if not is_causal:
        with pytest.raises(RecipeError, match=f"cannot use the {name} norm.*later") as caught:
            make_norm(name, 12, causal=True)
        assert "decoder_norm=layer" in caught.value.fix


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NORMS)
def test_n22_padding_enters_no_statistic(name: str, training: bool, x: Tensor) -> None:
    norm, again = shaken(name).train(training), shaken(name).train(training)
    again.load_state_dict(norm.state_dict())
    padded = torch.where(IS_REAL[..., None], x, 1e6 * torch.randn_like(x))
    wider = torch.cat((padded, torch.randn(3, 2, 12, dtype=torch.float64)), 1)
    out = norm(x, IS_REAL)[IS_REAL]
    assert_close(again(wider, torch.cat((IS_REAL, torch.zeros(3, 2, dtype=torch.bool)), 1))[:, :5][IS_REAL], out)
    for one, other in zip(norm.buffers(), again.buffers(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", NORMS)
def test_n22_all_real_is_what_none_means(name: str, x: Tensor) -> None:
    norm = shaken(name)
    assert_close(norm(x), norm(x, torch.ones(3, 5, dtype=torch.bool)))


@pytest.mark.parametrize("name", [name for name in NORMS if name != "batch" and name != "switchable"])
def test_alone_is_in_any_batch(name: str, x: Tensor) -> None:
    norm = shaken(name)
    for row, length in enumerate(LENGTHS.tolist()):
        assert_close(norm(x[row : row + 1, :length])[0], norm(x, IS_REAL)[row, :length])


def test_n22_batch_norm_is_torch_batch_norm_of_the_real_positions(x: Tensor) -> None:
    ours, theirs = shaken("batch"), nn.BatchNorm1d(12).double()
    theirs.load_state_dict({**ours.state_dict(), "num_batches_tracked": torch.tensor(0)})
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        assert_close(ours(x, IS_REAL)[IS_REAL], theirs(x[IS_REAL]))
        assert_close(ours.state_dict()["running_var"], theirs.running_var)
        assert_close(ours.state_dict()["running_mean"], theirs.running_mean)
    assert_close(ours(x[:1]), ours(x)[:1])  # in evaluation a sentence does not depend on the others


def test_batch_norm_of_one_position_alone_is_normalised_by_the_running_statistics() -> None:
    norm, one = make_norm("batch", 4).train(), torch.randn(1, 1, 4)
    assert_close(norm(one), one / (1 + 1e-5) ** 0.5)
    assert_close(norm(torch.randn(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)).isfinite().all(), torch.tensor(True))
    assert torch.equal(norm.state_dict()["running_mean"], torch.zeros(4))


def test_n22_group_norm_is_torch_group_norm_of_each_position(x: Tensor) -> None:
    ours, theirs = shaken("group"), nn.GroupNorm(3, 12).double()
    theirs.load_state_dict(ours.state_dict())
    assert_close(ours(x), theirs(x.view(15, 12)).view(3, 5, 12))
    one_group, layer = make_norm("group", 12, 1).double(), make_norm("layer", 12).double()
    assert_close(one_group(x), layer(x))


def test_groups_that_do_not_divide_are_an_error() -> None:
    with pytest.raises(RecipeError, match="5 groups cannot share 12 features"):
        make_norm("group", 12, 5)


def test_n22_instance_norm_is_torch_instance_norm_of_the_real_positions(x: Tensor) -> None:
    norm = make_norm("instance", 12).double()
    out = norm(x, IS_REAL)
    for row, length in enumerate(LENGTHS.tolist()):
        if length > 1:  # torch refuses a single position
            wanted = functional.instance_norm(x[row : row + 1, :length].transpose(1, 2)).transpose(1, 2)
            assert_close(out[row, :length], wanted[0])
    assert out[2, 0].count_nonzero() == 0


@pytest.mark.parametrize(("chosen", "name"), [(0, "batch"), (1, "layer"), (2, "instance")])
def test_n22_switchable_norm_can_become_each_of_its_parts(chosen: int, name: str, x: Tensor) -> None:
    mixed, part = shaken("switchable"), make_norm(name, 12).double()
    state = mixed.state_dict()
    for mix in ("mean_mix", "variance_mix"):
        state[mix].fill_(-100.0)[chosen] = 100.0
    part.load_state_dict({key: value for key, value in state.items() if key in part.state_dict()})
    for training in (True, False):
        assert_close(mixed.train(training)(x, IS_REAL)[IS_REAL], part.train(training)(x, IS_REAL)[IS_REAL])


def test_n22_switchable_norm_starts_with_equal_parts(x: Tensor) -> None:
    norm = make_norm("switchable", 12).double().train()
    real = x[IS_REAL]
    mean = [real.mean(0).expand(8, 12), real.mean(1, keepdim=True).expand(8, 12)]
    var = [real.var(0, correction=0).expand(8, 12), real.var(1, correction=0, keepdim=True).expand(8, 12)]
    rows = [x[row, :length] for row, length in enumerate(LENGTHS.tolist())]
    mean.append(torch.cat([row.mean(0).expand_as(row) for row in rows]))
    var.append(torch.cat([row.var(0, correction=0).expand_as(row) for row in rows]))
    wanted = (real - sum(mean) / 3) / (sum(var) / 3 + 1e-5).sqrt()
    assert_close(norm(x, IS_REAL)[IS_REAL], wanted)


def test_n22_small_batches_make_batch_norm_noisy() -> None:
    """The claim that batch norm suffers from small batches: its statistics move more, layer norm's do not."""
    torch.manual_seed(1)
    data, batch, layer = torch.randn(512, 1, 16), make_norm("batch", 16).train(), make_norm("layer", 16).train()

    def error(norm: Norm, size: int) -> float:
        parts = [norm(part) for part in data.split(size)]
        return (torch.cat(parts) - norm(data)).square().mean().item()

    assert error(batch, 4) > 4 * error(batch, 64) > 0
    assert error(layer, 4) < 1e-10


@pytest.mark.parametrize("scale", [5.0, 1e-3])  # the small one shows the eps
def test_n22_layer_norm_by_its_formula(scale: float) -> None:
    x = torch.randn(3, 4, 10) * scale + 2 * scale
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    assert_close(make_norm("layer", 10)(x), (x - mean) / (variance + 1e-5).sqrt(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [5.0, 1e-3])
def test_rms_norm_by_its_formula(scale: float) -> None:
    x = torch.randn(3, 4, 10) * scale + 2 * scale
    assert_close(make_norm("rms", 10)(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())


@pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])
def test_n12_add_and_norm(norm_first: bool) -> None:
    norm, sublayer = make_norm("layer", 8), nn.Linear(8, 8)
    assert isinstance(norm, LayerNorm)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 8)
    wanted = x + sublayer(norm(x)) if norm_first else norm(x + sublayer(x))
    assert_close(Residual(norm, 0.0, norm_first)(x, sublayer), wanted)


@pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])
def test_n12_dropout_is_on_the_sublayer_alone(norm_first: bool) -> None:
    around = Residual(NoNorm(), 0.5, norm_first)
    x = torch.full((1, 50, 8), 10.0)
    assert set(around(x, torch.ones_like).flatten().tolist()) == {10.0, 12.0}
    assert set(around.eval()(x, torch.ones_like).flatten().tolist()) == {11.0}
