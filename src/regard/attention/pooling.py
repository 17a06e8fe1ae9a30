"""Attention pooling on its own: a weighted mean of values, and the kernel regression that is one.

mixed, weights = attention_pooling(query, key, value, ScaledDot(64))
learned, losses = NadarayaWatson(x, y).learn_width()
predicted, weights = learned.predict(torch.linspace(0, 5, 50))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regard.attention.masks import masked_softmax
from regard.attention.scores import gaussian
from regard.errors import UsageError

MOST_PAIRS = 2**22  # of points that learn_width compares at one time; 16 MiB in float32


def attention_pooling(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score: Callable[[Tensor, Tensor], Tensor] | None = None,
    may_attend: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(mixed [..., T, W], weights [..., T, S]): the mean of the values, weighted by a softmax of scores (claim N1).

    Queries [..., T, Q], keys [..., S, C] and values [..., S, W]; "..." is nothing, a batch, or a batch and heads. What
    has one axis only is a row of numbers, one feature each; values without a feature axis give such a mean.
    The score gets [B, H, T, Q] and [B, H, S, C] and returns [B, H, T, S]; any entry of SCORES will do. Without a score
    all weights are equal: average pooling. `may_attend` (True: may) is broadcast to the weights; a query that may
    attend to nothing gets 0 (claim N4).
    UsageError for shapes or types that do not fit together.
    """
    _check_tensors(query, key, value)
    asked, looked_at, mixable = _lift(query), _lift(key), _lift(value)
    _check_shapes(asked, looked_at, mixable)
    shape = (*asked.shape[:3], looked_at.shape[2])
    scores = asked.new_zeros(shape) if score is None else score(asked, looked_at)
    if scores.shape != shape:
        raise UsageError(
            f"a score of queries {list(asked.shape)} and keys {list(looked_at.shape)} should give {list(shape)}, "
            f"found {list(scores.shape)}",
            fix="return one number for each pair of a query and a key",
        )
    weights = masked_softmax(scores, None if may_attend is None else _lift_mask(may_attend, query.dim(), shape))
    mixed = weights @ mixable
    if query.dim() < 4:
        weights, mixed = (x[:, 0] if query.dim() == 3 else x[0, 0] for x in (weights, mixed))
    return (mixed[..., 0] if value.dim() == 1 else mixed), weights


@dataclass(frozen=True, eq=False)
class NadarayaWatson:
    """Kernel regression (Nadaraya 1964, Watson 1964): a prediction is a mean of the `y` of training points.

    The weights are softmax(-((x - x_i) width)^2 / 2) (claims N2, N3): attention with queries x, keys x_i, values y_i.
    A larger width is a narrower kernel, so sharper weights; 0 is average pooling.
    `x` is [N] or [N, F], `y` [N] or [N, W]. UsageError for no points, shapes that do not match, or what is no number.
    """

    x: Tensor
    y: Tensor
    width: float = 1.0

    def __post_init__(self) -> None:
        _check_numbers("x", self.x)
        _check_numbers("y", self.y)
        if len(self.x) == 0 or len(self.x) != len(self.y):
            raise UsageError(
                f"a regression needs points with one x and one y each, found {len(self.x)} x and {len(self.y)} y",
                fix="give x and y the same number of rows, one at least",
            )
        if not (math.isfinite(self.width) and self.width >= 0):
            raise UsageError(
                f"the width should be a number from 0 on, found {self.width}", fix="choose 1.0, or learn it"
            )

    @classmethod
    def average(cls, x: Tensor, y: Tensor) -> NadarayaWatson:
        """All weights equal: each prediction is the mean of all `y` (claim N1)."""
        return cls(x, y, width=0.0)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(y [M] or [M, W], weights [M, N]) for x [M] or [M, F]. UsageError if it is not like the training points."""
        _check_numbers("x", x)
        if x.shape[1:] != self.x.shape[1:]:
            raise UsageError(
                f"x should be like the training points, [M{''.join(f', {size}' for size in self.x.shape[1:])}], "
                f"found {list(x.shape)}",
                fix="ask with as many features as the training points have",
            )
        return self._pool(x, self.width)

    def leave_one_out(self) -> tuple[Tensor, Tensor]:
        """(y, weights [N, N]) of each training point from all the others: on the diagonal the weight is 0 (claim N3).

        UsageError if there is one point only.
        """
        self._check_others()
        return self._others(torch.arange(len(self.x), device=self.x.device), self.width)

    def learn_width(self, steps: int = 200, rate: float = 0.1) -> tuple[NadarayaWatson, list[float]]:
        """(the regression with the best width found, the losses of this one and of each step) (claim N3).

        The loss is the mean squared error of `leave_one_out`: a point that attends to itself predicts itself, and the
        best width would be infinite. From the best of a few widths, this one among them, the logarithm moves down the
        slope by about `rate` a step (Adam), so a width stays above 0. Memory is linear in N.
        UsageError if there is one point only, if the width is 0, or for no steps.
        """
        from torch.optim import Adam  # here: importing it costs seconds

        self._check_others()
        if self.width == 0 or steps < 1 or not 0 < rate < math.inf:
            raise UsageError(
                f"learning needs a width, steps and a rate above 0, found {self.width}, {steps} and {rate}",
                fix="start from width=1.0 and leave steps and rate at their defaults",
            )
        starts = {width: self._loss_and_slope(width)[0] for width in self._starts()}
        log_width = torch.tensor(min(starts, key=starts.__getitem__), dtype=torch.float64).log()
        optimiser = Adam([log_width], lr=rate)
        widths, losses = [self.width], [starts[self.width]]
        for _ in range(steps):
            widths.append(log_width.exp().item())
            loss, log_width.grad = self._loss_and_slope(widths[-1])
            losses.append(loss)
            optimiser.step()
        return replace(self, width=widths[losses.index(min(losses))]), losses

    def _starts(self) -> list[float]:
        """This width, and from a kernel as wide as all points to one as narrow as the gaps between them.

        Otherwise the unit of x would decide what is found: a kernel far too wide only gets wider.
        """
        spread = (self.x - self.x.mean(0)).square().mean().sqrt().item() or 1.0
        return [self.width, *(2.0**power / spread for power in range(len(self.x).bit_length()))]

    def _loss_and_slope(self, width: float) -> tuple[float, Tensor]:
        """The leave-one-out loss, and how it changes with the logarithm of the width, as a share of y's variance."""
        log_width = torch.tensor(math.log(width), dtype=torch.float64, requires_grad=True)
        loss, slope = 0.0, torch.zeros_like(log_width)
        for rows in torch.split(torch.arange(len(self.x), device=self.x.device), max(1, MOST_PAIRS // len(self.x))):
            with torch.enable_grad():
                errors = self._others(rows, log_width.exp())[0] - self.y[rows]
                part = errors.square().sum() / self.y.numel()
                slope += torch.autograd.grad(part, log_width)[0]
            loss += part.item()
        return loss, slope / ((self.y - self.y.mean(0)).square().mean().item() or 1.0)

    def _others(self, rows: Tensor, width: float | Tensor) -> tuple[Tensor, Tensor]:
        return self._pool(self.x[rows], width, rows[:, None] != torch.arange(len(self.x), device=rows.device))

    def _pool(self, x: Tensor, width: float | Tensor, may_attend: Tensor | None = None) -> tuple[Tensor, Tensor]:
        centre = self.x.mean(0)  # distances do not change, and products of small numbers lose fewer digits
        mixed, weights = attention_pooling(
            x - centre, self.x - centre, self.y, lambda query, key: gaussian(query, key, width), may_attend
        )
        if not (weights.sum(-1) > 0).all():  # all scores of a row are infinite
            raise UsageError(
                f"the points are too far apart for a width of {float(width):.4g}",
                fix="choose a smaller width, or divide x by a large number",
            )
        return mixed, weights

    def _check_others(self) -> None:
        if len(self.x) < 2:
            raise UsageError("leaving one out needs 2 points, found 1", fix="give more points")


def _lift(x: Tensor) -> Tensor:
    """[N], [N, F], [B, N, F] or [B, H, N, F] as [B, H, N, F]."""
    if x.dim() < 3:
        return (x[:, None] if x.dim() == 1 else x)[None, None]
    return x[:, None] if x.dim() == 3 else x


def _lift_mask(may_attend: Tensor, query_axes: int, shape: tuple[int, ...]) -> Tensor:
    lifted = may_attend[:, None] if may_attend.dim() == query_axes == 3 else may_attend
    pairs = zip(reversed(lifted.shape), reversed(shape), strict=False)
    if may_attend.dtype != torch.bool or lifted.dim() > 4 or any(found not in {1, size} for found, size in pairs):
        raise UsageError(
            f"may_attend should be of type bool and fit weights [B, H, T, S] of {list(shape)}, "
            f"found {may_attend.dtype} {list(may_attend.shape)}",
            fix="make it with length_mask or causal_mask, or by a comparison",
        )
    return lifted[(None,) * (4 - lifted.dim())]


def _check_tensors(query: Tensor, key: Tensor, value: Tensor) -> None:
    tensors = query, key, value
    if not query.is_floating_point() or len({(x.dtype, x.device) for x in tensors}) > 1:
        raise UsageError(
            "queries, keys and values should be floating-point numbers of one type in one place, found "
            + ", ".join(f"{x.dtype} ({x.device})" for x in tensors),
            fix="bring them together with .to(...)",
        )
    if not all(1 <= x.dim() <= 4 for x in tensors):
        raise UsageError(
            f"queries, keys and values should have 1 to 4 axes, found {', '.join(str(x.dim()) for x in tensors)}",
            fix="put batch, heads, positions and features on the axes, in this order",
        )


def _check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    if query.shape[:2] != key.shape[:2] or key.shape[:3] != value.shape[:3]:
        raise UsageError(
            "queries, keys and values should have the same batch and heads, and each key a value, found "
            f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)} as [batch, heads, positions, features]",
            fix="give a batch axis to all three or to none, and keys and values the same number of positions",
        )


def _check_numbers(name: str, x: Tensor) -> None:
    if x.dim() not in {1, 2} or not x.is_floating_point() or not x.isfinite().all():
        odd = "" if x.isfinite().all() else ", some of them infinite or not a number"
        raise UsageError(
            f"{name} should be finite floating-point numbers [N] or [N, F], found {x.dtype} {list(x.shape)}{odd}",
            fix=f"drop the rows with faults, then {name}.float() and one or two axes",
        )
