"""What training makes small."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Float[Tensor, "B T V"], gold: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Summed over the real positions, in nats; `smoothing` of the probability is spread evenly over the vocabulary
    (Szegedy et al. 2016). Divide by the number of real positions for a mean.
    """
    return functional.cross_entropy(logits[is_real], gold[is_real], reduction="sum", label_smoothing=smoothing)
