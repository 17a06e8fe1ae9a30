"""Convolutions: the numbers of the notes in two dimensions and in one, torch's conv1d, padding, causality, steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from regard.config import NAMES
from regard.errors import RecipeError, UsageError
from regard.layers.convolution import (
    CONVOLUTIONS,
    DILATIONS,
    PlainConvolution,
    SeparableConvolution,
    SequenceConvolution,
    output_size,
    receptive_field,
    span,
)

KERNELS = [1, 2, 3, 5]
every_kind = pytest.mark.parametrize(
    ("name", "kernel", "layer"),
    [(name, kernel, layer) for name in CONVOLUTIONS for kernel in KERNELS for layer in (0, 2)],
)


def make(name: str, kernel: int = 3, layer: int = 0, bias: bool = True) -> SequenceConvolution:
    """8 features to 12, with biases that are not 0."""
    convolution = CONVOLUTIONS[name](8, 12, kernel, layer, 4, bias).double()
    for parameter in convolution.parameters():
        nn.init.normal_(parameter)
    return convolution


def by_torch(name: str, convolution: SequenceConvolution, x: Tensor, before: int, after: int, layer: int) -> Tensor:
    """The same by torch's 1-D convolutions, with zeros around."""
    padded = functional.pad(x.transpose(1, 2), (before, after))
    if isinstance(convolution, SeparableConvolution):
        depthwise, pointwise = convolution.depthwise.weight, convolution.pointwise
        between = functional.conv1d(padded, depthwise, groups=8)
        return functional.conv1d(between, pointwise.weight[..., None], pointwise.bias).transpose(1, 2)
    assert isinstance(convolution, PlainConvolution)
    options = {"dilated": (2**layer, 1), "grouped": (1, 4)}
    dilation, groups = options.get(name, (1, 1))
    return functional.conv1d(padded, convolution.weight, convolution.bias, dilation=dilation, groups=groups).transpose(
        1, 2
    )


def seen_by(output: Tensor, x: Tensor, position: int) -> list[int]:
    """The positions of x [1, T, D] that an output position depends on."""
    (gradient,) = torch.autograd.grad(output[0, position].square().sum(), x, retain_graph=True)
    return gradient[0].abs().sum(-1).nonzero().flatten().tolist()


def test_the_table_and_the_setting_name_the_same_convolutions() -> None:
    assert sorted(CONVOLUTIONS) == sorted(NAMES["convolution"])


# --- the numbers of the notes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "size"), [({}, 4), ({"stride": 2}, 2), ({"padding": 1}, 6), ({"dilation": 2}, 3)])
def test_n24_sizes_of_a_2x2_kernel_on_5x5(options: dict[str, int], size: int) -> None:
    image, ones = torch.arange(25.0).view(1, 1, 5, 5), torch.ones(1, 1, 2, 2)
    assert output_size(5, 2, **options) == size
    assert functional.conv2d(image, ones, **options).shape == (1, 1, size, size)


def test_n24_output_size_is_that_of_torch() -> None:
    choices = torch.cartesian_prod(*map(torch.tensor, ([1, 2, 3, 5], [1, 2, 3], [0, 1, 2], [1, 2, 3]))).tolist()
    for kernel, stride, padding, dilation in choices:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        wanted = functional.conv1d(torch.zeros(1, 1, 13), torch.zeros(1, 1, kernel), **options)
        assert output_size(13, kernel, **options) == wanted.shape[-1], options
        assert span(kernel, dilation) == dilation * (kernel - 1) + 1


def test_n24_output_size_refuses_a_kernel_that_does_not_fit() -> None:
    assert output_size(5, 3, dilation=2) == 1
    with pytest.raises(UsageError, match=r"spans 7 positions does not fit into 6"):
        output_size(4, 3, padding=1, dilation=3)


def test_n24_weights_in_two_dimensions_and_what_a_transposed_convolution_undoes() -> None:
    assert nn.Conv2d(64, 32, 3).weight.shape == (32, 64, 3, 3)
    assert nn.Conv2d(64, 32, 3, groups=8).weight.shape == (32, 8, 3, 3)
    assert nn.Conv2d(64, 64, 3, groups=64).weight.shape == (64, 1, 3, 3)
    assert nn.Conv2d(64, 32, 1).weight.shape == (32, 64, 1, 1)
    transposed = nn.ConvTranspose2d(32, 64, 3)  # from 32 channels back to 64: torch writes the inputs first
    assert transposed.weight.shape == (32, 64, 3, 3)
    side = output_size(128, 3)
    assert side == 126
    assert transposed(torch.zeros(1, 32, side, side)).shape == (1, 64, 128, 128)


def test_n24_weights_in_one_dimension() -> None:
    plain, dilated, grouped, separable = (
        CONVOLUTIONS[name](64, 32, 3, 1, 8, True) for name in ("plain", "dilated", "grouped", "separable")
    )
    assert isinstance(separable, SeparableConvolution)
    assert [tuple(one.weight.shape) for one in (plain, dilated, grouped)] == [(32, 64, 3), (32, 64, 3), (32, 8, 3)]
    assert separable.depthwise.weight.shape == (64, 1, 3)
    assert separable.pointwise.weight.shape == (32, 64)
    counts = [sum(weight.numel() for weight in one.parameters()) for one in (plain, dilated, grouped, separable)]
    assert counts == [6144 + 32, 6144 + 32, 768 + 32, 192 + 2048 + 32]


@pytest.mark.parametrize("kernel", KERNELS)
def test_e11_one_bias_a_kernel_whatever_its_size(kernel: int) -> None:
    for name in CONVOLUTIONS:
        biased, free = (CONVOLUTIONS[name](64, 32, kernel, 0, 8, bias) for bias in (True, False))
        weights = [sum(weight.numel() for weight in one.parameters()) for one in (biased, free)]
        assert weights[0] - weights[1] == 32
    assert nn.Conv2d(64, 32, (kernel, kernel)).bias.shape == (32,)


def test_n24_dilation_doubles_with_the_layer_and_starts_again() -> None:
    found = []
    for layer in range(6):
        x = torch.randn(1, 60, 8, dtype=torch.float64, requires_grad=True)
        found.append(seen_by(make("dilated", 3, layer)(x, causal=True), x, 59))
    assert found == [[59 - 2 * step, 59 - step, 59] for step in (1, 2, 4, 8, 1, 2)]
    assert DILATIONS == (1, 2, 4, 8)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_n24_a_stack_sees_its_receptive_field(name: str, causal: bool) -> None:
    stack = [CONVOLUTIONS[name](8, 8, 3, layer, 4, True).double() for layer in range(3)]
    reach = receptive_field(convolution.span for convolution in stack)
    assert reach == (1 + 2 + 4 + 8 if name == "dilated" else 1 + 2 + 2 + 2)
    x = y = torch.randn(1, 41, 8, dtype=torch.float64, requires_grad=True)
    for convolution in stack:
        y = convolution(y, causal=causal)
    last = 20 if causal else 20 + reach // 2
    assert seen_by(y, x, 20) == list(range(last - reach + 1, last + 1))


# --- against torch ----------------------------------------------------------------------------------------------------


@every_kind
@torch.no_grad()
def test_equal_to_torch(name: str, kernel: int, layer: int) -> None:
    for bias in (True, False):
        convolution, x = make(name, kernel, layer, bias), torch.randn(3, 9, 8, dtype=torch.float64)
        wide = span(kernel, 2**layer if name == "dilated" else 1)
        assert convolution.span == wide
        before = (wide - 1) // 2
        both = by_torch(name, convolution, x, before, wide - 1 - before, layer)
        left = by_torch(name, convolution, x, wide - 1, 0, layer)
        assert_close(convolution(x), both, atol=1e-12, rtol=0)
        assert_close(convolution(x, causal=True), left, atol=1e-12, rtol=0)


@every_kind
@torch.no_grad()
def test_one_window_is_a_window_among_others(name: str, kernel: int, layer: int) -> None:
    for bias in (True, False):
        convolution = make(name, kernel, layer, bias)
        x = torch.randn(3, convolution.span + 1, 8, dtype=torch.float64)
        both = convolution.slide(x)
        assert both.shape == (3, 2, 12)
        assert_close(convolution.slide(x[:, :-1]), both[:, :1], atol=1e-12, rtol=0)
        assert_close(convolution.slide(x[:, 1:]), both[:, 1:], atol=1e-12, rtol=0)


@torch.no_grad()
def test_variance_is_kept_at_first() -> None:
    x = torch.randn(50, 40, 64)
    for name in CONVOLUTIONS:
        inside = CONVOLUTIONS[name](64, 128, 3, 0, 4, True)(x)[:, 2:-2]
        assert_close(inside.var(), torch.tensor(1.0), atol=0.15, rtol=0)


# --- padding, causality, steps ----------------------------------------------------------------------------------------


@every_kind
@torch.no_grad()
def test_a_row_alone_is_a_row_in_a_batch(name: str, kernel: int, layer: int) -> None:
    convolution, x = make(name, kernel, layer), torch.randn(4, 6, 8, dtype=torch.float64)
    lengths = torch.tensor([6, 3, 1, 0])
    together = convolution(x, torch.arange(6) < lengths[:, None])
    for row, length in enumerate(lengths.tolist()):
        alone = convolution(x[row : row + 1, :length])
        assert alone.shape == (1, length, 12)
        assert_close(together[row, :length], alone[0], atol=1e-12, rtol=0)


@every_kind
def test_causal_output_sees_no_later_input(name: str, kernel: int, layer: int) -> None:
    convolution, x = make(name, kernel, layer), torch.randn(1, 30, 8, dtype=torch.float64, requires_grad=True)
    causal, both = convolution(x, causal=True), convolution(x)
    dilation = 2**layer if name == "dilated" else 1
    assert seen_by(causal, x, 25) == [25 - dilation * back for back in reversed(range(kernel))]
    assert len(seen_by(both, x, 15)) == kernel
    assert max(seen_by(both, x, 15)) == 15 + dilation * (kernel - 1) - (convolution.span - 1) // 2


@every_kind
@torch.no_grad()
def test_steps_are_all_at_once_and_change_no_window(name: str, kernel: int, layer: int) -> None:
    convolution, x = make(name, kernel, layer), torch.randn(3, 7, 8, dtype=torch.float64)
    window, outputs = convolution.first_window(x), []
    for one in x.split(1, dim=1):
        assert window.shape == (3, convolution.span - 1, 8)
        before = window.clone()
        output, new = convolution.step(one, window)
        assert torch.equal(window, before)
        outputs.append(output)
        window = new
    assert_close(torch.cat(outputs, 1), convolution(x, causal=True), atol=1e-12, rtol=0)
    assert torch.equal(window, functional.pad(x, (0, 0, convolution.span, 0))[:, 8:])
    none, _ = convolution.step(x[:0, :1], window[:0])
    assert none.shape == (0, 1, 12)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_sequence_without_positions(name: str) -> None:
    x = torch.zeros(2, 0, 8, dtype=torch.float64)
    assert make(name)(x, torch.ones(2, 0, dtype=torch.bool)).shape == (2, 0, 12)


def test_recipe_errors() -> None:
    for features in ((6, 8), (8, 6)):
        with pytest.raises(RecipeError, match=r"4 groups cannot share 6 features evenly\n  fix: choose a model.groups"):
            CONVOLUTIONS["grouped"](*features, 3, 0, 4, True)
    with pytest.raises(RecipeError, match="a kernel of 0 positions reads nothing"):
        CONVOLUTIONS["separable"](8, 8, 0, 0, 1, True)
