"""What a training step of a variant costs: counted where it can be counted, timed where it must be.

Parameters, operations and memory are the same on every machine; only seconds are this one's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from regard.config import Recipe, Training
from regard.data.batches import epoch_batches, mix
from regard.data.corpus import PairEncoder
from regard.data.origin import require_some
from regard.data.tokens import Batch
from regard.look.flops import flop_counter
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.text.pairs import Pair
from regard.training.loss import Loss
from regard.training.optimiser import OPTIMISERS, state_bytes
from regard.training.pace import padded_tokens, seconds_per_token
from regard.training.step import Stepper
from regard.translator import Tokenizers

COUNTED = 4  # batches whose operations are counted


@dataclass(frozen=True)
class Probe:
    """A variant in numbers before it is trained.

    Of a training step: `step_flops`, those of the optimiser included, and real `step_tokens` are means over real
    batches, `step_bytes` is what it holds, `step_seconds` how long it takes at the best speed seen. `operations`
    (multiply-adds), `sequential_steps` and `longest_path` are what the encoder says of a source of `source_length`
    tokens, the mean (claim N10); None where it does not.
    """

    parameters: int
    step_flops: float
    step_tokens: float
    step_bytes: int
    step_seconds: float
    source_length: int
    operations: int | None
    sequential_steps: int | None
    longest_path: int | None


def probe(recipe: Recipe, tokenizers: Tokenizers, pairs: Sequence[Pair]) -> Probe:
    """Builds the model of a recipe and takes some steps on `pairs`, a fair sample of the training pairs."""
    torch.manual_seed(mix(recipe.training.seed))
    model = build(recipe.model, len(tokenizers.source), len(tokenizers.target))
    encoder = PairEncoder(tokenizers.source, tokenizers.target, recipe.data.longest)
    encoded = encoder.in_memory(pairs)
    require_some(len(encoded), f"a sample of {len(pairs)} has none that is not blank or longer than data.longest")
    rows = epoch_batches(encoded, recipe.data.tokens_per_batch, recipe.training.seed, 0)
    batches = [encoded.batch(row) for row in rows]
    length = round(float(encoded.source.lengths.double().mean()))
    costs = model.encoder.costs(length)
    accumulate, smoothing = recipe.training.accumulate, recipe.training.label_smoothing
    tokens = accumulate * _mean(map(padded_tokens, batches))
    return Probe(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        step_flops=tokens * flops_per_token(model, batches, smoothing) + update_flops(model, recipe.training),
        step_tokens=accumulate * _mean(_real(batch) for batch in batches),
        step_bytes=step_bytes(model, max(batches, key=padded_tokens), smoothing, recipe.training.optimiser),
        step_seconds=tokens * seconds_per_token(Stepper(model, recipe.training), batches),
        source_length=length,
        operations=costs.operations if costs else None,
        sequential_steps=costs.sequential_steps if costs else None,
        longest_path=costs.longest_path if costs else None,
    )


def flops_per_token(model: EncoderDecoder, batches: Sequence[Batch], smoothing: float) -> float:
    """Operations for each token, padding included, of steps on some of the batches. Not for each batch: an epoch's last
    may be nearly empty, and a seed may put it among those that are counted.
    """
    counted = batches[:COUNTED]
    return sum(step_flops(model, batch, smoothing) for batch in counted) / sum(map(padded_tokens, counted))


def step_flops(model: EncoderDecoder, batch: Batch, smoothing: float = 0.0) -> int:
    """Multiplications and additions of matrix products and convolutions, forward and backward, padding included.

    The counter does not know the fused kernel of attention on a CPU, so the products that it stands for run instead.
    """
    model.train()
    with sdpa_kernel(SDPBackend.MATH), flop_counter() as counter:
        Loss(model)(batch, smoothing).backward()
    model.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def update_flops(model: EncoderDecoder, training: Training) -> int:
    """Multiplications and additions of matrix products in the optimiser: Muon has some. The weights stay the same."""
    optimiser = OPTIMISERS[training.optimiser](model, training)
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with flop_counter() as counter:
        optimiser.step()
    model.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def step_bytes(model: EncoderDecoder, batch: Batch, smoothing: float = 0.0, optimiser: str = "adamw") -> int:
    """Bytes that a step on `batch` holds: weights, as many for gradients, the optimiser's moments, and what autograd
    keeps of the forward pass until the backward pass has used it.

    Counted, not measured: the same on every machine. What a kernel needs for a moment, and what torch itself takes, is
    not in it.
    """
    model.train()
    held = 2 * sum(parameter.nbytes for parameter in model.parameters()) + state_bytes(model, optimiser)
    loss = Loss(model)
    return held + saved_bytes(lambda: loss(batch, smoothing), model)


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of the tensors that autograd keeps while `forward` runs: each storage once, those of parameters and buffers
    not at all, for these are there anyway.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in itertools.chain(module.parameters(), module.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # as long as it lives, no storage is freed and its address not given to another
    del result
    return sum(kept.values())


def _real(batch: Batch) -> int:
    """Tokens of a batch as training counts them."""
    return batch.real_targets + int(batch.source.lengths.sum())


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
