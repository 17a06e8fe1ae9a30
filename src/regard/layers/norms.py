"""y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias, over one set of axes or another (claim N22).

Padding enters no statistic: a norm that looks further than one position is told which positions are real. A norm whose
statistics reach past one position would let a decoder see the future (fault E4), so it says why it is refused there.

To add one: write a `Norm`, add a line to NORMS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from regard.errors import RecipeError

EPSILON = 1e-5
MOMENTUM = 0.1  # share of the newest batch in the running statistics


class Norm(nn.Module, ABC):
    """The interface of an entry of NORMS. `why_not_causal` is empty where a decoder may use it."""

    why_not_causal = ""

    @abstractmethod
    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape. `is_real` None: every position is real. What comes out at padding is of no use."""


class LayerNorm(Norm):
    """Over the features of a position (Ba et al. 2016)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape; `is_real` makes no difference."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, EPSILON)


class RMSNorm(Norm):
    """Mean square 1 over the features of a position, then a learned scale (Zhang and Sennrich 2019)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape; `is_real` makes no difference."""
        return functional.rms_norm(x, self.weight.shape, self.weight, 1e-6)


class GroupNorm(Norm):
    """Over each of several groups of the features of a position (Wu and He 2018).

    Images have it over their positions as well; in text that would bring in padding and the future.
    RecipeError where the groups do not divide the features.
    """

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        if features % groups:
            raise RecipeError(
                f"{groups} groups cannot share {features} features evenly",
                fix=f"choose a model.groups that divides {features}",
            )
        self.groups = groups
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape; `is_real` makes no difference."""
        flat = x.reshape(-1, x.shape[-1])
        return functional.group_norm(flat, self.groups, self.weight, self.bias, EPSILON).view_as(x)


class BatchNorm(Norm):
    """Each feature over all real positions of the batch (Ioffe and Szegedy 2015); in evaluation by running statistics.

    The running statistics are the only thing a model learns without a gradient. A batch of fewer than two real
    positions has no variance and is normalised as in evaluation.
    """

    running_mean: Tensor
    running_var: Tensor
    why_not_causal = "batch norm takes its statistics in training from later positions too"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape."""
        mean, variance = _batch_statistics(self, x, is_real)
        return _normalised(x, mean, variance, self.weight, self.bias)


class InstanceNorm(Norm):
    """Each feature over the real positions of its own sequence (Ulyanov et al. 2016). One token alone becomes 0."""

    why_not_causal = "instance norm takes its statistics from all positions of a sequence, later ones too"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape."""
        return _normalised(x, *_sequence_statistics(x, is_real), self.weight, self.bias)


class SwitchableNorm(Norm):
    """The statistics of batch, layer and instance norm, mixed by learned weights (Luo et al. 2018)."""

    running_mean: Tensor
    running_var: Tensor
    why_not_causal = "switchable norm mixes in statistics of later positions (batch and instance norm)"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.mean_mix, self.variance_mix = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The same shape."""
        middle = x.mean(-1, keepdim=True)
        layer = middle, (x - middle).square().mean(-1, keepdim=True)
        kinds = (_batch_statistics(self, x, is_real), layer, _sequence_statistics(x, is_real))
        mean_mix, variance_mix = self.mean_mix.softmax(0), self.variance_mix.softmax(0)
        mean = sum((mix * mean for mix, (mean, _) in zip(mean_mix, kinds, strict=True)), x.new_zeros(()))
        variance = sum((mix * var for mix, (_, var) in zip(variance_mix, kinds, strict=True)), x.new_zeros(()))
        return _normalised(x, mean, variance, self.weight, self.bias)


class NoNorm(Norm):
    """Nothing is normalised."""

    def forward(self, x: Float[Tensor, "B T D"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """x itself."""
        return x


NORMS: dict[str, Callable[[int, int], Norm]] = {  # from the number of features, and of groups of them
    "layer": lambda features, groups: LayerNorm(features),
    "rms": lambda features, groups: RMSNorm(features),
    "batch": lambda features, groups: BatchNorm(features),
    "group": GroupNorm,
    "instance": lambda features, groups: InstanceNorm(features),
    "switchable": lambda features, groups: SwitchableNorm(features),
    "none": lambda features, groups: NoNorm(),
}


def make_norm(name: str, features: int, groups: int = 4, causal: bool = False) -> Norm:
    """The norm of that name; RecipeError with the reason where it must be `causal` and cannot be."""
    norm = NORMS[name](features, groups)
    if causal and norm.why_not_causal:
        raise RecipeError(
            f"a decoder cannot use the {name} norm: {norm.why_not_causal}, which it must not see",
            fix="set model.decoder_norm=layer (or rms, group, none); the encoder may keep its norm",
        )
    return norm


def _normalised(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (x - mean) * torch.rsqrt(variance + EPSILON) * weight + bias


def _batch_statistics(norm: BatchNorm | SwitchableNorm, x: Tensor, is_real: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance [D] over the real positions of a batch in training, which the running ones follow."""
    real = x.flatten(0, 1) if is_real is None else x[is_real]  # [N, D]
    if not norm.training or len(real) < 2:
        return norm.running_mean, norm.running_var
    variance, mean = torch.var_mean(real, 0, unbiased=False)
    with torch.no_grad():  # in place: a buffer, whose values alone change
        norm.running_mean.lerp_(mean, MOMENTUM)
        norm.running_var.lerp_(variance * len(real) / (len(real) - 1), MOMENTUM)
    return mean, variance


def _sequence_statistics(x: Tensor, is_real: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance [B, 1, D] over the real positions of each sequence; of none: 0."""
    real = torch.ones_like(x[..., :1]) if is_real is None else is_real[..., None].to(x.dtype)  # [B, T, 1]
    count = real.sum(1, keepdim=True).clamp(min=1)
    mean = (x * real).sum(1, keepdim=True) / count
    return mean, ((x - mean).square() * real).sum(1, keepdim=True) / count
