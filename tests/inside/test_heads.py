"""Names of heads: every model of the tables has them, in the order in which a recording counts them."""

from __future__ import annotations

import pytest
import torch

from regard.attention.record import recorded
from regard.config import Model
from regard.data.tokens import Tokens
from regard.errors import UsageError
from regard.inside.heads import heads
from regard.inside.record import Answered, record
from regard.models import DECODERS, ENCODERS, build
from regard.models.interface import EncoderDecoder
from regard.models.transformer import TransformerDecoder, TransformerEncoder
from regard.text.tokenizer import BOS, EOS

BASE = {"layers": 2, "size": 16, "heads": 4, "inner": 24, "dropout": 0.1, "norm": "batch", "decoder_norm": "layer"}
PAIRS = [(encoder, decoder) for encoder in ENCODERS for decoder in DECODERS]


def make(encoder: str, decoder: str) -> EncoderDecoder:
    """A model whose layers differ in number on the two sides."""
    settings = {**BASE, "encoder": encoder, "decoder": decoder, "decoder_layers": 3}
    return build(Model.model_validate(settings), 11, 11).eval()


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_names_are_those_of_a_recording(encoder: str, decoder: str) -> None:
    model, answered = make(encoder, decoder), Answered((4, 5, 6, 7), (8, 9))
    named, seen = heads(model).sites, record(model, answered).attentions
    assert [(site.name, site.heads) for site in named] == [(each.name, len(each.weights)) for each in seen]
    with torch.no_grad(), recorded(model) as weights:
        model(Tokens.of([[4, 5, 6, 7, EOS]]), Tokens.of([[BOS, 8, 9]]))
    for site, attention in zip(named, seen, strict=True):
        torch.testing.assert_close(weights[site.path][0], attention.weights, atol=1e-6, rtol=0)


def test_parts_and_layers_of_a_transformer() -> None:
    found = heads(make("transformer", "transformer"))
    paths = [(site.name, site.path) for site in found.sites]
    assert paths[:2] == [(f"encoder.{layer}", f"encoder.blocks.{layer}.attention") for layer in range(2)]
    assert paths[2:5] == [(f"decoder.{layer}", f"decoder.blocks.{layer}.attention") for layer in range(3)]
    assert paths[5:] == [(f"cross.{layer}", f"decoder.blocks.{layer}.look") for layer in range(3)]
    assert len(found.all) == 8 * 4
    assert [head.name for head in found.named("cross.1")] == [f"cross.1.{head}" for head in range(4)]
    [one] = found.named("encoder.1.3")
    assert (one.site.name, one.number) == ("encoder.1", 3)


@pytest.mark.parametrize("decoder", ["recurrent", "convolutional"])
def test_others_have_attention_to_the_source_alone(decoder: str) -> None:
    assert {head.site.part for head in heads(make(decoder, decoder)).all} == {"cross"}


@pytest.mark.parametrize(
    "name", ["encoder.2.0", "encoder.0.4", "encoder", "cross.0.0.0", "", "encoder.00.0", "Cross.0"]
)
def test_a_wrong_name_is_told_what_there_is(name: str) -> None:
    found = heads(make("transformer", "transformer"))
    with pytest.raises(UsageError, match="encoder has layer 0 to 1, heads 0 to 3; decoder has layer 0 to 2") as error:
        found.named(name)
    assert repr(name) in str(error.value)
    assert "cross.2.3" in str(error.value.fix)


def test_a_model_without_attention_says_so() -> None:
    settings = Model.model_validate({**BASE, "encoder": "convolutional", "decoder": "convolutional"})
    model = build(settings, 11, 11)
    model.decoder.blocks = torch.nn.ModuleList()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="this model has no attention"):
        heads(model).named("cross.0")


def test_asking_changes_nothing_of_a_model_in_training() -> None:
    model = make("transformer", "transformer").train()
    model.encoder.blocks[0].eval()  # type: ignore[index, union-attr]
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.get_rng_state()
    heads(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert not any(module._forward_hooks for module in model.modules())


def test_a_module_in_two_places_is_named_once() -> None:
    model = make("transformer", "transformer")
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, TransformerEncoder)
    assert isinstance(decoder, TransformerDecoder)
    decoder.blocks[1].attention = decoder.blocks[0].attention
    sites = [site for site in heads(model).sites if site.part == "decoder"]
    assert [site.path for site in sites] == ["decoder.blocks.0.attention", "decoder.blocks.2.attention"]
    seen = record(model, Answered((4, 5), (8, 9))).attentions
    assert [each.name for each in seen if each.part == "decoder"] == ["decoder.0", "decoder.1"]
