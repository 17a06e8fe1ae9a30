"""No tensor of a model is made on the CPU while its weights lie elsewhere: each part, in training and step by step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from accelerator import GPU, Accelerator
from regard.attention.relative import RELATIVE
from regard.attention.scores import SCORES
from regard.config import Model
from regard.data.tokens import Batch, Tokens
from regard.layers.norms import NORMS
from regard.layers.positions import POSITIONS
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.training.loss import Loss

META = torch.device("meta")
PARTS: list[dict[str, Any]] = [
    *({"positions": name} for name in {**POSITIONS, **RELATIVE}),
    *({"norm": name, "decoder_norm": "layer"} for name in NORMS),
    *({"score": name} for name in SCORES),
    {"architecture": "convolutional", "kernel": 3},
    {"architecture": "recurrent", "cell": "lstm", "layers": 2},
    {"architecture": "recurrent", "look": "after", "input_feeding": True},
    {"attention_dropout": 0.5, "inner_dropout": 0.1, "gated": True, "norm_first": False},
]
NEEDS_NUMBERS = ("recurrent", "batch", "switchable")  # they look whether rows are full, or which positions are real


def model_of(part: dict[str, Any]) -> EncoderDecoder:
    sizes = {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.1}
    return build(Model.model_validate({**sizes, **part}), 20, 20)


def batch() -> Batch:
    return Batch(Tokens.of([[5, 6, 2], [7, 2]]), Tokens.of([[1, 8, 2], [1, 9, 4, 4, 2]]))


def two_steps(model: EncoderDecoder, pairs: Batch) -> Tensor:
    """Logits after two tokens; in between rows change places."""
    state = model.decoder.start(model.encode(pairs.source))
    _, state = model.decoder.step(pairs.target.ids[:, 0], state)
    state = state.select(torch.tensor([1, 0], device=pairs.target.ids.device))
    logits: Tensor = model.decoder.step(pairs.target.ids[:, 1], state)[0]
    return logits


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_loss_and_steps_are_computed_where_the_weights_lie(part: dict[str, Any]) -> None:
    model = model_of(part)
    with Accelerator():
        there, pairs = copy.deepcopy(model).to("cuda"), batch().to(GPU)
        in_training = Loss(there.train())(pairs, 0.1)
        there = copy.deepcopy(model).to("cuda").eval()  # batch norm has learned meanwhile
        loss, logits = Loss(there)(pairs, 0.1), two_steps(there, pairs)
    assert in_training.device == loss.device == logits.device == GPU
    assert loss.item() == pytest.approx(Loss(model.eval())(batch(), 0.1).item(), rel=1e-5)
    torch.testing.assert_close(logits.as_subclass(Tensor), two_steps(model, batch()))


@pytest.mark.parametrize(
    "part", [part for part in PARTS if not set(NEEDS_NUMBERS) & set(map(str, part.values()))], ids=str
)
def test_gradients_are_computed_where_the_weights_lie(part: dict[str, Any]) -> None:
    """On a device without numbers, which refuses the CPU's tensors in the backward pass as well."""
    model, pairs = model_of(part).to(META).train(), batch().to(META)
    model(pairs.source, pairs.previous).sum().backward()
    assert {weight.grad.device for weight in model.parameters() if weight.grad is not None} == {META}
