"""Norms over the features of each position alone, so that neither padding nor the future can enter (fault E4).

To add one: write or import the class (called with the number of features), add a line to NORMS.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Norm = Callable[[int], nn.Module]


def layer_norm(features: int) -> nn.Module:
    """Mean 0 and variance 1 over the features of a position, then a learned scale and shift (Ba et al. 2016)."""
    return nn.LayerNorm(features)


def rms_norm(features: int) -> nn.Module:
    """Mean square 1 over the features of a position, then a learned scale (Zhang and Sennrich 2019)."""
    return nn.RMSNorm(features, eps=1e-6)


NORMS: dict[str, Norm] = {
    "layer": layer_norm,
    "rms": rms_norm,
}
