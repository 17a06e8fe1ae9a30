"""The convolutional encoder-decoder against torch's operations written out, and its windows."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from regard.attention.record import recorded
from regard.attention.scores import SCORES
from regard.data.tokens import Tokens
from regard.errors import RecipeError, UsageError
from regard.layers.convolution import CONVOLUTIONS, PlainConvolution, receptive_field
from regard.layers.norms import NORMS, make_norm
from regard.layers.positions import POSITIONS
from regard.models.convolutional import (
    Convolution,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    ConvolutionalState,
    GatedConvolution,
)
from regard.models.interface import EncoderDecoder, Memory

SMALL = Convolution(size=8, heads=2, dropout=0.0, longest=12)
SOURCE = [[4, 5, 6, 7, 8], [9, 10], []]
TARGET = [[1, 4, 5], [1, 7, 8, 9, 10, 11], [1]]
CAUSAL = [name for name in NORMS if not make_norm(name, 8).why_not_causal]


def shaken(module: nn.Module) -> nn.Module:
    """In float64 and evaluation, no bias 0, no scale 1."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module.double().eval()


def make(shape: Convolution = SMALL, layers: int = 2, encoder_shape: Convolution | None = None) -> EncoderDecoder:
    encoder = ConvolutionalEncoder(13, layers, encoder_shape or shape)
    model = EncoderDecoder(encoder, ConvolutionalDecoder(13, layers, shape, memory_size=shape.size))
    shaken(model)
    return model


def run_steps(model: EncoderDecoder, memory: Memory, ids: Tensor) -> tuple[Tensor, ConvolutionalState]:
    """Logits [B, T, V] of one step after another."""
    decoder, logits = model.decoder, []
    assert isinstance(decoder, ConvolutionalDecoder)
    state = decoder.start(memory)
    for last in ids.unbind(1):
        one, state = decoder.step(last, state)
        logits.append(one)
    return torch.stack(logits, 1), state


# --- against torch's operations ---------------------------------------------------------------------------------------


def gate(gated: GatedConvolution, x: Tensor, before: int, after: int) -> Tensor:
    """A plain gated convolution of one row [1, T, D], as the paper writes it."""
    convolution = gated.convolution
    assert isinstance(convolution, PlainConvolution)
    padded = functional.pad(x.transpose(1, 2), (before, after))
    output = functional.conv1d(padded, convolution.weight, convolution.bias).transpose(1, 2)
    values, gates = output[..., :8], output[..., 8:]
    return values * torch.sigmoid(gates)


def around(norm: nn.Module, x: Tensor, new: Tensor, shape: Convolution) -> Tensor:
    """Post-norm, or the scale of the paper where there is none."""
    if shape.norm == "none":
        return (x + new) * math.sqrt(0.5)
    return functional.layer_norm(x + new, (8,), norm.weight, norm.bias)


@pytest.mark.parametrize("norm", ["none", "layer"])
@torch.no_grad()
def test_encoder_and_decoder_equal_to_torch_operations(norm: str) -> None:
    shape = replace(SMALL, norm=norm, heads=1)
    model, ids, previous = make(shape), torch.tensor([[4, 5, 6, 7]]), torch.tensor([[1, 8, 9]])
    x = embedded = model.encoder.embed(ids)
    for block in model.encoder.blocks:
        x = around(block.around.norm, x, gate(block.gated, x, 1, 1), shape)
    x = (x + embedded) * math.sqrt(0.5) if norm == "none" else x
    memory = model.encode(Tokens(ids, torch.tensor([4])))
    assert_close(memory.states, x, atol=1e-12, rtol=0)
    y = embedded = model.decoder.embed(previous)
    for block in model.decoder.blocks:
        asks = gate(block.gated, y, 2, 0)
        query = block.look.query((asks + embedded) * math.sqrt(0.5))
        found = functional.scaled_dot_product_attention(query, block.look.key(x), block.look.value(x))
        y = around(block.around.norm, y, asks + block.look.output(found), shape)
    logits = model.decoder(Tokens(previous, torch.tensor([3])), memory)
    assert_close(logits, y @ model.decoder.embed.table.weight.T, atol=1e-12, rtol=0)


@pytest.mark.parametrize("norm_first", [False, True])
@torch.no_grad()
def test_n12_where_the_norm_stands(norm_first: bool) -> None:
    encoder = ConvolutionalEncoder(13, 1, replace(SMALL, norm_first=norm_first)).double()
    source = Tokens.of([[4, 5, 6]])
    x, gated = encoder.embed(source.ids), encoder.blocks[0].gated
    pre = functional.layer_norm(x + gate(gated, functional.layer_norm(x, (8,)), 1, 1), (8,))
    post = functional.layer_norm(x + gate(gated, x, 1, 1), (8,))
    assert_close(encoder(source).states, pre if norm_first else post, atol=1e-12, rtol=0)


@torch.no_grad()
def test_variance_is_about_kept_at_first() -> None:
    """Of normal values and gates with a variance of 4, as section 3.5 has it: 4 E[sigmoid(gate)^2] = 1.39."""
    x = torch.randn(100, 12, 256)
    for name, drop in itertools.product(CONVOLUTIONS, (0.0, 0.4)):
        gated = GatedConvolution(Convolution(256, convolution=name, inner_dropout=drop), 0).train()
        assert_close(gated(x)[:, 1:-1].var(), torch.tensor(1.39), atol=0.25, rtol=0)


def test_weights_at_first_and_their_number() -> None:
    shape = Convolution(size=64, kernel=5)
    for bias in (True, False):
        encoder = ConvolutionalEncoder(20, 3, replace(shape, bias=bias))
        layer = 5 * 64 * 128 + bias * 128 + 2 * 64  # kernel, biases of the kernels, layer norm
        assert sum(weight.numel() for weight in encoder.parameters()) == 20 * 64 + 3 * layer
    weight = encoder.blocks[1].gated.convolution.weight
    assert_close(weight.std(), torch.tensor(math.sqrt(4 / (5 * 64))), atol=0.004, rtol=0)


# --- windows ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_n15_a_state_holds_a_window_a_layer_however_long_the_text() -> None:
    model = make(replace(SMALL, convolution="dilated", positions="none"), layers=3)
    memory, ids = model.encode(Tokens.of(SOURCE)), torch.randint(4, 13, (3, 40))
    for length in (1, 40):
        _, state = run_steps(model, memory, ids[:, :length])
        assert [tuple(block.window.shape) for block in state.blocks] == [(3, 2, 8), (3, 4, 8), (3, 8, 8)]
        assert state.position == length


@pytest.mark.parametrize("name", ["plain", "dilated"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@torch.no_grad()
def test_n10_how_far_a_stack_sees(name: str, kernel: int) -> None:
    model = make(replace(SMALL, convolution=name, kernel=kernel, positions="none"), layers=2)
    spans = [block.gated.convolution.span for block in model.decoder.blocks]
    reach, length = receptive_field(spans), 30
    ids, others = torch.full((1, length), 4), torch.full((1, length), 4)
    others[0, 14] = 5
    one, two = (model.encode(Tokens(each, torch.tensor([length]))).states for each in (ids, others))
    changed = ((one - two).abs().sum(-1)[0] > 1e-12).nonzero().flatten()
    assert (int(changed[0]), int(changed[-1])) == (14 - reach // 2, 14 + reach // 2)
    memory = Memory(one, torch.tensor([length]))
    one, two = (model.decoder(Tokens(each, torch.tensor([length])), memory) for each in (ids, others))
    changed = ((one - two).abs().sum(-1)[0] > 1e-12).nonzero().flatten()
    assert (int(changed[0]), int(changed[-1])) == (14, 14 + reach - 1)


# --- the contracts, over the shape's choices --------------------------------------------------------------------------

CHOICES = [
    *({"norm": norm, "norm_first": first} for norm in CAUSAL for first in (False, True)),
    *({"score": score} for score in SCORES),
    *({"positions": positions} for positions in POSITIONS),
    *({"convolution": name, "kernel": kernel} for name, kernel in itertools.product(CONVOLUTIONS, (1, 3, 5))),
    {"bias": False},
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, choice.values())))
@torch.no_grad()
def test_steps_batches_and_causality_for_every_choice(choice: dict[str, object]) -> None:
    model, source, previous = make(replace(SMALL, **choice)), Tokens.of(SOURCE), Tokens.of(TARGET)
    noisy = Tokens(previous.ids.where(previous.is_real, torch.randint(0, 13, previous.ids.shape)), previous.lengths)
    logits = model(source, noisy)
    stepped, _ = run_steps(model, model.encode(source), noisy.ids)
    assert_close(stepped, logits, atol=1e-10, rtol=0)
    for row, (ids, target) in enumerate(zip(SOURCE, TARGET, strict=True)):
        alone = model(Tokens.of([ids]), Tokens.of([target]))[0]
        assert alone.isfinite().all()
        assert_close(logits[row, : len(target)], alone, atol=1e-10, rtol=0)
    changed = noisy.ids.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 13
    other = model(source, Tokens(changed, previous.lengths))
    assert_close(other[:, :3], logits[:, :3], atol=1e-12, rtol=0)
    assert not torch.allclose(other[:, 3], logits[:, 3])


@pytest.mark.parametrize("norm", [name for name in NORMS if name not in CAUSAL])
@torch.no_grad()
def test_norms_that_look_further_are_for_the_encoder_alone(norm: str) -> None:
    shape = replace(SMALL, norm=norm)
    with pytest.raises(RecipeError, match=f"a decoder cannot use the {norm} norm"):
        ConvolutionalDecoder(13, 2, shape, memory_size=8)
    for first in (False, True):
        model = make(encoder_shape=replace(shape, norm_first=first))
        together = model.encode(Tokens(torch.randint(0, 13, (2, 6)), torch.tensor([4, 0])))
        more = Tokens(torch.randint(0, 13, (2, 9)), torch.tensor([4, 0]))
        more.ids[:, :4] = 7
        alone = model.encode(Tokens(more.ids[:1, :4], torch.tensor([4]))).states
        assert together.states.isfinite().all()
        assert_close(model.encode(more).states[:1, :4], alone, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.no_grad()
def test_selected_rows_go_on(name: str) -> None:
    model = make(replace(SMALL, convolution=name))
    memory, ids, rows = model.encode(Tokens.of(SOURCE)), torch.randint(4, 13, (3, 5)), torch.tensor([2, 0, 0])
    _, state = run_steps(model, memory, ids[:, :4])
    kept = [block.window.clone() for block in state.blocks]
    chosen, _ = model.decoder.step(ids[rows, 4], state.select(rows))
    always, _ = run_steps(model, memory, ids)
    assert_close(chosen, always[rows, 4], atol=1e-10, rtol=0)
    once, again = (model.decoder.step(ids[:, 4], state)[0] for _ in range(2))
    assert torch.equal(once, again)
    assert all(torch.equal(block.window, before) for block, before in zip(state.blocks, kept, strict=True))
    none, _ = model.decoder.step(ids[:0, 0], state.select(rows[:0]))
    assert none.shape == (0, 13)


@torch.no_grad()
def test_n18_each_layer_looks_at_the_source() -> None:
    model, source = make(), Tokens.of(SOURCE)
    with recorded(model) as weights:
        model(source, Tokens.of(TARGET))
    assert sorted(weights) == ["decoder.blocks.0.look", "decoder.blocks.1.look"]
    for one in weights.values():
        assert one.shape == (3, 2, 6, 5)
        assert_close(one.sum(-1), torch.tensor([1.0, 1.0, 0.0]).double()[:, None, None].expand(3, 2, 6))
        assert one[1, :, :, 2:].count_nonzero() == 0


def test_a_memory_of_another_size_and_a_table_of_its_own() -> None:
    decoder = ConvolutionalDecoder(13, 2, SMALL, memory_size=6, share_output=False)
    logits = decoder(Tokens.of(TARGET), Memory(torch.randn(3, 4, 6), torch.tensor([4, 2, 1])))
    assert logits.shape == (3, 6, 13)
    assert decoder.output.weight is not decoder.embed.table.weight


def test_errors() -> None:
    with pytest.raises(RecipeError, match="3 groups cannot share 8 features evenly"):
        ConvolutionalEncoder(13, 1, replace(SMALL, convolution="grouped", groups=3))
    with pytest.raises(RecipeError, match="positions=rotary act inside self-attention"):
        ConvolutionalEncoder(13, 1, replace(SMALL, positions="rotary"))
    with pytest.raises(UsageError, match="this model learned 12 positions"):
        ConvolutionalEncoder(13, 1, replace(SMALL, positions="learned"))(Tokens.of([[4] * 13]))
