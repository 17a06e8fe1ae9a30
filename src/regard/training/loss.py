"""What training makes small.

`cross_entropy` of logits defines it. `readout_cross_entropy` is the same from the states before the last product, and
never holds more than some rows of logits: `Loss` takes that way with decoders that show their states.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from regard.data.tokens import Batch
from regard.layers.linear import product_with
from regard.models.interface import Decoder, EncoderDecoder, ReadoutDecoder
from regard.training.guide import Guide

MOST_AT_ONCE = {"cpu": 2**22}  # logits held at a time (16 MiB in float32); a CPU is not faster with more
MOST_ON_DEVICES = 2**27
FEWEST_ROWS = 256  # of logits, whatever the vocabulary


class Loss(nn.Module):
    """A model and its loss in one call, so that what wraps a module (data parallel, sharded) sees all of it at work.

    `guide` above 0 adds that much of the loss of a guided head, for batches with links (see guide.py).
    """

    def __init__(self, model: EncoderDecoder, guide: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.guide = Guide(model, guide) if guide else None

    def forward(self, batch: Batch, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """Of teacher forcing, summed over the real target tokens, in nats; see `cross_entropy`."""
        if self.guide is None or batch.links is None:
            return self._of_targets(batch, smoothing)
        with self.guide.watched() as seen:
            loss = self._of_targets(batch, smoothing)
        return loss + self.guide.loss(seen[-1], batch.links)

    def _of_targets(self, batch: Batch, smoothing: float) -> Float[Tensor, ""]:
        gold = batch.gold
        decoder = self.model.decoder
        if not _shows_states(decoder):
            return cross_entropy(self.model(batch.source, batch.previous), gold.ids, gold.is_real, smoothing)
        states = decoder.states(batch.previous, self.model.encode(batch.source))
        if bool((gold.lengths == gold.ids.shape[1]).all()):  # nothing to leave out, so nothing to copy
            return readout_cross_entropy(states.flatten(0, 1), decoder.output.weight, gold.ids.flatten(), smoothing)
        real = gold.is_real
        return readout_cross_entropy(states[real], decoder.output.weight, gold.ids[real], smoothing)


def cross_entropy(
    logits: Float[Tensor, "B T V"], gold: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Summed over the real positions, in nats; `smoothing` of the probability is spread evenly over the vocabulary
    (Szegedy et al. 2016). Divide by the number of real positions for a mean.
    """
    return functional.cross_entropy(logits[is_real], gold[is_real], reduction="sum", label_smoothing=smoothing)


def readout_cross_entropy(
    states: Float[Tensor, "N D"], weight: Float[Tensor, "V D"], gold: Int[Tensor, " N"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """`cross_entropy` of the logits `states @ weight.T`, some rows of them at a time.

    The gradient is formed beside the loss, while a piece of the logits is there, and backward only scales it: so the
    logits are computed once and never kept. It has no second derivative.
    """
    grows = torch.is_grad_enabled()
    loss: Tensor = _ReadoutCrossEntropy.apply(states, weight, gold, smoothing, grows)  # type: ignore[no-untyped-call]
    return loss


class _ReadoutCrossEntropy(torch.autograd.Function):
    """The loss of a row is log sum exp - (1 - e) logit of gold - e mean of the logits, its gradient by the logits is
    softmax - (1 - e) [gold] - e/V. The last terms are products with the mean row of the weights and the sum of the
    states, so smoothing costs nothing a logit.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, gold: Tensor, smoothing: float, grows: bool) -> Tensor:
        device = states.device.type
        autocast = torch.is_autocast_enabled(device)
        precision = torch.get_autocast_dtype(device) if autocast else states.dtype
        by_states = torch.empty_like(states) if grows and ctx.needs_input_grad[0] else None
        by_weight = torch.zeros_like(weight) if grows and ctx.needs_input_grad[1] else None
        with torch.autocast(device, enabled=False):
            x, w = states.to(precision), weight.to(precision)
            total, mean = x.sum(0, dtype=weight.dtype), weight.mean(0)
            times_weight, losses = product_with(w.T), []
            for rows, probability, loss in _pieces(x, w, gold, smoothing):
                losses.append(loss)
                if by_states is not None:
                    by_states[rows] = times_weight(probability).sub_(smoothing * mean)
                if by_weight is not None:
                    _add_product(by_weight, probability.T, x[rows])
            if by_weight is not None:
                by_weight.sub_(total * (smoothing / len(w)))
            ctx.save_for_backward(by_states, by_weight)
            return torch.stack(losses).sum() - smoothing * (total @ mean)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if known is None else known * by_loss for known in ctx.saved_tensors), None, None, None


def _pieces(x: Tensor, weight: Tensor, gold: Tensor, smoothing: float) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Of some rows at a time: which, softmax - (1 - smoothing) [gold], and the sum of log sum exp - (1 - smoothing)
    logit of gold. The second is overwritten by the next piece.

    A softmax is the cheapest pass over a row there is. Log sum exp follows from the greatest logit and its
    probability, which is 1/V at least.
    """
    rows = max(FEWEST_ROWS, MOST_AT_ONCE.get(x.device.type, MOST_ON_DEVICES) // len(weight))
    exact = x.dtype if x.dtype == torch.float64 else torch.float32
    room = torch.empty(min(rows, len(x)), len(weight), dtype=exact, device=x.device)
    to_logits = product_with(weight)
    for start in range(0, max(1, len(x)), rows):
        piece, place = x[start : start + rows], gold[start : start + rows, None]
        logits = to_logits(piece).to(exact)
        probability = torch.softmax(logits, -1, out=room[: len(piece)])
        log_sum = logits.amax(-1) - probability.amax(-1).log()
        loss = (log_sum - (1 - smoothing) * logits.gather(-1, place)[:, 0]).sum()
        probability.scatter_add_(-1, place, probability.new_full(place.shape, smoothing - 1))
        yield slice(start, start + rows), probability.to(x.dtype), loss


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right; of half precision the sum is not."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def _shows_states(decoder: Decoder) -> TypeGuard[ReadoutDecoder]:
    """Whether its logits are the product that `readout_cross_entropy` knows. A sharded weight is no plain tensor."""
    if not isinstance(decoder, ReadoutDecoder) or decoder.output.bias is not None:
        return False
    return type(decoder.output.weight) in {Tensor, nn.Parameter}
