"""1-D convolutions over the positions of a sequence, features last: [B, T, D] in, [B, T, C] out (claim N24).

    y = convolution(x, is_real)                # an encoder: each position sees as far to the left as to the right
    y = convolution(x, causal=True)            # a decoder: each position sees itself and earlier ones
    y, window = convolution.step(x, window)    # the same, one position at a time

What lies outside of a sequence is 0, padding too, so a row alone is a row in a batch.
To add one: write a `SequenceConvolution`, add a line to CONVOLUTIONS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from regard.errors import RecipeError, UsageError

DILATIONS = (1, 2, 4, 8)  # of one layer after another, then from the start: windows stay within a sentence's length


def span(kernel: int, dilation: int = 1) -> int:
    """How many positions lie between the first and the last that a kernel reads, both counted."""
    return dilation * (kernel - 1) + 1


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many outputs `size` inputs give, with `padding` zeros at each end; UsageError where the kernel does not fit.

    (size + 2 padding - span) / stride + 1, rounded down (claim N24). In two dimensions it holds for each.
    """
    room = size + 2 * padding - span(kernel, dilation)
    if room < 0:
        raise UsageError(
            f"a kernel that spans {span(kernel, dilation)} positions does not fit into {size + 2 * padding}",
            fix="give more inputs or padding, or a smaller kernel or dilation",
        )
    return room // stride + 1


def receptive_field(spans: Iterable[int]) -> int:
    """How many inputs an output of a stack of convolutions depends on."""
    return 1 + sum(one - 1 for one in spans)


class SequenceConvolution(nn.Module, ABC):
    """The interface of an entry of CONVOLUTIONS: each output is computed from a window of `span` neighbours.

    `features_in` is D.
    """

    features_in: int
    span: int

    @abstractmethod
    def slide(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B M C"]:
        """One output for each window that fits in whole: M = N - span + 1. N is at least `span`."""

    def forward(
        self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None, causal: bool = False
    ) -> Float[Tensor, "B T C"]:
        """As many positions out as in. What is not real counts as 0; `is_real` None: every position is real.

        The window lies around its position, or ends there if `causal`. An even kernel sees one more to the right.
        """
        if is_real is not None:
            x = x.masked_fill(~is_real[..., None], 0.0)
        if x.shape[1] == 0:  # the zeros alone hold no window
            return self.slide(x.new_zeros(x.shape[0], self.span, x.shape[2]))[:, :0]
        before = self.span - 1 if causal else (self.span - 1) // 2
        return self.slide(functional.pad(x, (0, 0, before, self.span - 1 - before)))

    def first_window(self, like: Float[Tensor, "B ..."]) -> Float[Tensor, "B W D"]:
        """What `step` takes before position 0: W = span - 1 zeros for each row of `like`, of its type and device."""
        return like.new_zeros(like.shape[0], self.span - 1, self.features_in)

    def step(
        self, x: Float[Tensor, "B 1 D"], window: Float[Tensor, "B W D"]
    ) -> tuple[Float[Tensor, "B 1 C"], Float[Tensor, "B W D"]]:
        """The causal output for one more input, and the window of the last span - 1 inputs with it."""
        seen = torch.cat((window, x), dim=1)
        return self.slide(seen), seen[:, 1:]


class PlainConvolution(SequenceConvolution):
    """Plain, dilated (a hole of dilation - 1 inputs between two that are read) or in groups that do not see each other.

    Parameters: kernel * D / groups * C, and one bias a kernel, C in all. (The notes count a bias for each of the
    kernel's positions, fault E11.) RecipeError where `groups` does not divide D and C.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        kernel: int,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        _check(features_in, features_out, kernel, groups)
        self.features_in, self.span = features_in, span(kernel, dilation)
        self.dilation, self.groups = dilation, groups
        self.weight = nn.Parameter(torch.empty(features_out, features_in // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(features_out)) if bias else None
        _keep_variance(self.weight)

    def slide(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B M C"]:
        """One output for each window that fits in whole."""
        if x.shape[1] == self.span and self.weight.shape[1] > 1:
            return self._one_product(x[:, :: self.dilation])
        # Features last is what kernels for images like best: an image of height 1, not a number is moved.
        image = x.transpose(1, 2).unsqueeze(2)  # [B, D, 1, N]
        output = functional.conv2d(
            image, self.weight.unsqueeze(2), self.bias, dilation=(1, self.dilation), groups=self.groups
        )
        return output.squeeze(2).transpose(1, 2)

    def _one_product(self, window: Float[Tensor, "B K D"]) -> Float[Tensor, "B 1 C"]:
        """One window, as in a step: faster than a convolution, but for kernels that read one feature."""
        kernels = self.weight.view(self.groups, -1, self.weight[0].numel())  # [G, C / G, D / G * K]
        shares = window.transpose(1, 2).reshape(window.shape[0], self.groups, kernels.shape[2])
        output = (shares.transpose(0, 1) @ kernels.transpose(1, 2)).transpose(0, 1).flatten(1)[:, None]
        return output if self.bias is None else output + self.bias


class SeparableConvolution(SequenceConvolution):
    """Depthwise, one kernel a feature, then pointwise over the features (Chollet 2017): kernel * D + D * C weights.

    One bias, after both: a bias between them would add nothing that this one cannot.
    """

    def __init__(self, features_in: int, features_out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.depthwise = PlainConvolution(features_in, features_in, kernel, groups=features_in, bias=False)
        self.pointwise = nn.Linear(features_in, features_out, bias=bias)
        self.features_in, self.span = features_in, self.depthwise.span
        _keep_variance(self.pointwise.weight)
        if bias:
            nn.init.zeros_(self.pointwise.bias)

    def slide(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B M C"]:
        """One output for each window that fits in whole."""
        return self.pointwise(self.depthwise.slide(x))  # type: ignore[no-any-return]


def plain(features_in: int, features_out: int, kernel: int, layer: int, groups: int, bias: bool) -> SequenceConvolution:
    """Every kernel reads all features of neighbouring positions."""
    return PlainConvolution(features_in, features_out, kernel, bias=bias)


def dilated(
    features_in: int, features_out: int, kernel: int, layer: int, groups: int, bias: bool
) -> SequenceConvolution:
    """The dilation doubles with each layer and starts again after the last of DILATIONS (van den Oord et al. 2016)."""
    dilation = DILATIONS[layer % len(DILATIONS)]
    return PlainConvolution(features_in, features_out, kernel, dilation=dilation, bias=bias)


def grouped(
    features_in: int, features_out: int, kernel: int, layer: int, groups: int, bias: bool
) -> SequenceConvolution:
    """Each of `groups` groups of kernels reads its own share of the features."""
    return PlainConvolution(features_in, features_out, kernel, groups=groups, bias=bias)


def separable(
    features_in: int, features_out: int, kernel: int, layer: int, groups: int, bias: bool
) -> SequenceConvolution:
    """Depthwise, then pointwise."""
    return SeparableConvolution(features_in, features_out, kernel, bias=bias)


# from the features in and out, the kernel, the number of the layer (from 0), the groups, and whether there is a bias
CONVOLUTIONS: dict[str, Callable[[int, int, int, int, int, bool], SequenceConvolution]] = {
    "plain": plain,
    "dilated": dilated,
    "grouped": grouped,
    "separable": separable,
}


def _keep_variance(weight: Tensor) -> None:
    """So that inputs of unit variance give outputs of unit variance (Gehring et al. 2017, section 3.5)."""
    nn.init.normal_(weight, std=weight[0].numel() ** -0.5)


def _check(features_in: int, features_out: int, kernel: int, groups: int) -> None:
    if kernel < 1:
        raise RecipeError(f"a kernel of {kernel} positions reads nothing", fix="choose a model.kernel of 1 or more")
    for features in (features_in, features_out):
        if groups < 1 or features % groups:
            raise RecipeError(
                f"{groups} groups cannot share {features} features evenly",
                fix=f"choose a model.groups that divides {features}",
            )
