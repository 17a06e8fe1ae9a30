"""What each source token matters to each step, by asking the model itself: gradients, and what it says without it.

All of a model in evaluation mode, on whatever device; what comes back lies on the CPU. Nothing is left on the model: no
hook, no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.data.tokens import Tokens
from regard.decoding.choose import log_probabilities
from regard.device import full_float32
from regard.inside.record import Answered
from regard.models.interface import EncoderDecoder
from regard.text.tokenizer import UNK

MOST_TOKENS, MOST_LOGITS = 1 << 12, 1 << 24  # of a batch: source and target together; 64 MiB
ROUNDING = 1e-5  # nats; a smaller drop is none


def shares(values: Float[Tensor, "T S"]) -> Float[Tensor, "T S"]:
    """Values that are not negative as shares of their row's sum; a row of nothing but 0 stays so."""
    totals = values.sum(-1, keepdim=True)
    return values / totals.where(totals > 0, 1.0)


def work(model: EncoderDecoder, answered: Answered) -> float:
    """The multiply-adds that both functions below take together, about: a forward pass of three times its size for
    each step, and one for each source token.
    """
    source, steps = len(answered.source) + 1, len(answered.written)
    weights = sum(parameter.numel() for parameter in model.parameters())
    return float((3 * steps + source) * (source + steps) * weights)


def gradient_times_input(model: EncoderDecoder, answered: Answered) -> Float[Tensor, "T S"] | None:
    """The gradient of each step's log-probability of what it wrote by the vector of each source token, times that
    vector, summed over features (Denil et al. 2015, Shrikumar et al. 2017): as shares of the absolute values.

    A source token's vector is what the encoder's nn.Embedding gives for its id, before positions; of several tables
    that read the ids it is all of them. None where an encoder turns ids into vectors in another way, or none were
    written. A batch holds a copy of the pair for each step, so that one backward pass gives all of its steps.
    """
    device, found = next(model.parameters()).device, []
    with torch.inference_mode(False), torch.enable_grad(), full_float32(device), _differentiable(device):
        source, previous = answered.sources.to(device), answered.previous.to(device)
        written = torch.tensor(answered.written, device=device)
        for steps in _batches(len(written), model, source, previous):
            rows = torch.arange(len(steps), device=device)
            copies = _repeated(source, len(steps))
            with _vectors(model.encoder, copies.ids) as vectors:
                logits = model(copies, _repeated(previous, len(steps)))[rows, steps]
            if not vectors:
                return None
            total = logits.log_softmax(-1).gather(1, written[steps][:, None]).sum()
            slopes = torch.autograd.grad(total, vectors, allow_unused=True, materialize_grads=True)
            products = [(slope * each).sum(-1) for slope, each in zip(slopes, vectors, strict=True)]
            found.append(torch.stack(products).sum(0).detach().abs().cpu())
    return shares(torch.cat(found)) if found else None


def occlusion(model: EncoderDecoder, answered: Answered) -> Float[Tensor, "T S"]:
    """`drops` as shares: of those that are positive, for a token without which a step is likelier is no reason for it.

    A row is all 0 where no single token was needed.
    """
    found = drops(model, answered)
    return shares(found.where(found > ROUNDING, 0.0))


def drops(model: EncoderDecoder, answered: Answered) -> Float[Tensor, "T S"]:
    """By how many nats each step's log-probability of what it wrote falls if a source token, the end too, is replaced
    by <unk> (after Zeiler and Fergus 2014, Li et al. 2016); negative where it rises.

    Replaced and not taken out: so all other tokens stand where they stood. A model that met no unknown token in
    training has a vector for it that means nothing.
    """
    device = next(model.parameters()).device
    source, previous = answered.sources.to(device), answered.previous.to(device)
    written = torch.tensor(answered.written, device=device, dtype=torch.int64)
    with torch.inference_mode(), full_float32(device):
        before = _written(model, source, previous, written)
        without = [before[:0]]
        for places in _batches(source.ids.shape[1], model, source, previous):
            copies = _repeated(source, len(places))
            rows = torch.arange(len(places), device=device)
            ids = copies.ids.index_put((rows, places), torch.tensor(UNK, device=device))
            without.append(_written(model, Tokens(ids, copies.lengths), previous, written))
        return (before - torch.cat(without)).T.cpu()


def _written(model: EncoderDecoder, source: Tokens, previous: Tokens, written: Tensor) -> Float[Tensor, "R T"]:
    """The log-probability of what was written, for each of the sources."""
    rows = len(source.ids)
    values = log_probabilities(model(source, _repeated(previous, rows)).flatten(0, 1))
    return values.gather(1, written.repeat(rows)[:, None]).view(rows, -1)


def _batches(count: int, model: EncoderDecoder, source: Tokens, previous: Tokens) -> tuple[Int[Tensor, " R"], ...]:
    """0 .. count - 1 in batches of copies of the pair."""
    if not count or not previous.ids.shape[1]:
        return ()
    with torch.inference_mode():
        vocabulary = model(source, previous.rows(slice(0, 1))).shape[-1]
    steps = previous.ids.shape[1]
    rows = min(MOST_TOKENS // (source.ids.shape[1] + steps), MOST_LOGITS // (steps * vocabulary))
    places = torch.arange(count, device=source.ids.device)
    return tuple(places[first : first + max(1, rows)] for first in range(0, count, max(1, rows)))


def _repeated(tokens: Tokens, rows: int) -> Tokens:
    return Tokens(tokens.ids.repeat(rows, 1), tokens.lengths.repeat(rows))


@contextmanager
def _vectors(encoder: nn.Module, ids: Int[Tensor, "R S"]) -> Iterator[list[Tensor]]:
    """A list that fills with the vectors [R, S, D] that become of the ids, from which on all is differentiated."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not torch.equal(inputs[0], ids):  # a table of positions, say
            return output
        found.append(output.detach().requires_grad_())
        return found[-1]

    tables = [module for module in encoder.modules() if isinstance(module, nn.Embedding)]
    handles = [table.register_forward_hook(keep) for table in tables]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _differentiable(device: torch.device) -> Iterator[None]:
    """cuDNN's recurrent layers have no gradient in evaluation mode, torch's own have."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before
