"""The table of layers: every number against one worked out by hand or by torch; nothing is left on the model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.config import Model
from regard.look.flops import flop_counter
from regard.look.summary import kernels, summary
from regard.models import DECODERS, ENCODERS, build
from regard.models.interface import EncoderDecoder

SETTINGS = {"layers": 2, "size": 16, "heads": 4, "inner": 24, "dropout": 0.1}


def model(encoder: str = "transformer") -> EncoderDecoder:
    decoder = encoder if encoder in DECODERS else "transformer"
    return build(Model.model_validate({**SETTINGS, "encoder": encoder, "decoder": decoder}), 13, 11)


def test_n27_shapes_parameters_flops_and_memory_by_hand() -> None:
    layers = {layer.name: layer for layer in summary(model(), 5, 7)}
    widen = layers["encoder.blocks.1.feed_forward.widen"]
    assert (widen.kind, widen.output, widen.depth) == ("Linear", (1, 5, 24), 5)
    assert widen.parameters == widen.own_parameters == 16 * 24 + 24
    assert widen.flops == 2 * 5 * 16 * 24
    assert widen.memory == 4 * (16 * 24 + 24 + 5 * 24)
    look = layers["decoder.blocks.0.look"]
    # queries and output for 7 positions, keys and values for 5, scores and mixing for 7 x 5
    assert look.flops == 2 * 16 * 16 * (2 * 7 + 2 * 5) + 2 * 2 * 7 * 5 * 16
    assert layers["decoder.output"].output == (1, 7, 11)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_n27_the_whole_is_the_sum_of_its_parts(encoder: str) -> None:
    made = model(encoder)
    layers = summary(made, 6, 4)
    whole = layers[0]
    assert (whole.name, whole.kind, whole.output) == ("", "EncoderDecoder", (1, 4, 11))
    assert whole.parameters == sum(parameter.numel() for parameter in made.parameters())
    one, other = (next(layer for layer in layers if layer.name == name) for name in ("encoder", "decoder"))
    assert whole.flops == one.flops + other.flops > 0
    assert one.parameters + other.parameters == whole.parameters
    shared = [layer for layer in layers if layer.parameters and not layer.own_parameters and layer.kind == "Linear"]
    assert [layer.name for layer in shared] == ["decoder.output"]  # the table of embeddings, counted there


def test_it_leaves_nothing_on_the_model() -> None:
    made = model().train()
    before = {name: parameter.clone() for name, parameter in made.state_dict().items()}
    summary(made)
    assert made.training
    assert not [hook for module in made.modules() for hook in module._forward_hooks]
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("both", [False, True], ids=["one-way", "both-ways"])
def test_recurrence_is_counted(cell: type[nn.GRU] | type[nn.LSTM], both: bool) -> None:
    layer, gates = cell(6, 5, batch_first=True, bidirectional=both), 3 if cell is nn.GRU else 4
    with torch.no_grad(), flop_counter() as counter:
        layer(torch.randn(2, 7, 6))
    forward = 2 * 2 * 7 * gates * 5 * (6 + 5) * (1 + both)
    assert counter.get_total_flops() == forward
    with flop_counter() as counter:
        layer(torch.randn(2, 7, 6))[0].sum().backward()
    assert 2 * forward <= counter.get_total_flops() <= 3 * forward


def test_what_cannot_use_the_fused_kernel_says_so() -> None:
    assert kernels(model()) == {"ScaledDot": "fused for long inputs and on accelerators"}
    additive = build(Model.model_validate({**SETTINGS, "score": "additive"}), 13, 11)
    assert "the fused kernel cannot" in kernels(additive)["Additive"]
