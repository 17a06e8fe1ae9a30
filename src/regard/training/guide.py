"""Guided attention: one head to the source learns from given alignments where to look (Chen et al. 2016).

It is the first head of the last layer but one, as Garg et al. 2019 have it; of the only layer if there is one. At the
step that writes a token it is to look at the source tokens that this one is linked to, at each as much; steps without a
link are free.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.record import observed
from regard.data.tokens import Tokens
from regard.errors import RecipeError
from regard.models.crossing import cross_attentions
from regard.models.interface import EncoderDecoder

HEAD = 0


class Guide:
    """The head of a model that is guided, and what it adds to the loss. RecipeError if it never looks at the source."""

    def __init__(self, model: EncoderDecoder, weight: float) -> None:
        names = cross_attentions(model)
        if not names:
            raise RecipeError("training.guide: this decoder has no attention to the source", fix="set training.guide=0")
        self.weight = weight
        self.layer = max(0, len(names) - 2)
        self.module = model.get_submodule(names[self.layer])

    @contextmanager
    def watched(self) -> Iterator[list[Tensor]]:
        """A list that fills with the layer's weights [B, H, T, S] while the model runs; the last has all steps."""
        seen: list[Tensor] = []
        with observed(self.module, lambda name, weights, value: seen.append(weights)):
            yield seen

    def loss(self, weights: Float[Tensor, "B H T S"], links: Tokens) -> Float[Tensor, ""]:
        """Cross-entropy of the head's weights with the links, in nats, summed over the target tokens that have some,
        times the weight of this loss. `links` as in `Batch`.
        """
        steps, places = links.ids[:, 0::2], links.ids[:, 1::2]
        row = torch.arange(len(steps), device=steps.device)[:, None]
        is_real = torch.arange(steps.shape[1], device=steps.device) < links.lengths[:, None] // 2
        counts = torch.zeros(weights.shape[0], weights.shape[2], dtype=torch.int64, device=steps.device)
        counts = counts.scatter_add(1, steps, is_real.to(torch.int64))
        share = is_real / counts.gather(1, steps).clamp(min=1)
        probability = weights[row, HEAD, steps, places]
        exact = probability if probability.dtype == torch.float64 else probability.float()
        surprise = -exact.clamp(min=torch.finfo(exact.dtype).tiny).log()
        return self.weight * (share.to(exact.dtype) * surprise).sum()
