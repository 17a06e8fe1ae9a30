"""The recurrent models against papers' equations written out, and what their options promise."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from regard.attention.record import recorded
from regard.attention.scores import SCORES
from regard.data.tokens import Tokens
from regard.errors import RecipeError
from regard.layers.dropout import Dropout
from regard.layers.recurrent import CELLS
from regard.models.interface import Decoder, EncoderDecoder, Memory, State
from regard.models.recurrent import Recurrence, RecurrentDecoder, RecurrentEncoder

VOCABULARY = 13
SIZE = 8
SOURCE = [[4, 5, 6, 7, 8], [9, 10, 11], [12], []]
TARGET = [[1, 4, 5, 6], [1, 7], [1, 8, 9, 10, 11, 12], [1, 6]]
BASE = Recurrence(SIZE, longest=12, dropout=0.0)
LOOKS = {
    "before": BASE,
    "after": replace(BASE, look="after"),
    "feeding": replace(BASE, look="after", input_feeding=True),
}
CHOICES = {  # every way to look with each cell, and each other choice once
    **{f"{name}-{cell}": replace(shape, cell=cell) for name, shape in LOOKS.items() for cell in CELLS},
    **{f"{name}-heads": replace(shape, heads=2, score="dot") for name, shape in LOOKS.items()},
    **{f"{name}-pre-norm": replace(shape, norm="layer", norm_first=True) for name, shape in LOOKS.items()},
    **{f"{name}-no-bias": replace(shape, bias=False) for name, shape in LOOKS.items()},
    **{f"score={score}": replace(BASE, score=score) for score in SCORES},
    **{f"norm={norm}": replace(BASE, norm=norm) for norm in ("layer", "rms", "group")},
    **{f"positions={positions}": replace(BASE, positions=positions) for positions in ("sinusoidal", "learned")},
    "one-way": replace(BASE, bidirectional=False),
    "lstm-no-bias": replace(BASE, cell="lstm", bias=False),
}
every_choice = pytest.mark.parametrize("shape", CHOICES.values(), ids=CHOICES.keys())
every_look_and_cell = pytest.mark.parametrize("shape", list(CHOICES.values())[:6], ids=list(CHOICES)[:6])
every_look = pytest.mark.parametrize("shape", LOOKS.values(), ids=LOOKS.keys())


def make(shape: Recurrence, layers: int = 2, memory_size: int | None = None) -> EncoderDecoder:
    """A model in float64 and evaluation whose biases and scales are not at their special first values."""
    encoder = RecurrentEncoder(VOCABULARY, layers, shape)
    decoder = RecurrentDecoder(VOCABULARY, layers, shape, memory_size=memory_size or encoder.size)
    model = EncoderDecoder(encoder, decoder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.double().eval()


def padded(rows: list[list[int]], more: int) -> Tokens:
    """With `more` columns of padding, all padding being ids of any value."""
    tokens = Tokens.of(rows)
    ids = torch.cat((tokens.ids, torch.zeros(len(rows), more, dtype=torch.int64)), dim=1)
    noise = torch.randint(0, VOCABULARY, ids.shape)
    return Tokens(torch.where(Tokens(ids, tokens.lengths).is_real, ids, noise), tokens.lengths)


def run_steps(decoder: Decoder, state: State, ids: Tensor) -> tuple[Tensor, State]:
    logits = []
    for last in ids.unbind(1):
        one, state = decoder.step(last, state)
        logits.append(one)
    return torch.stack(logits, dim=1), state


# What the papers write, for one sentence, with torch's own cells.


def torch_cells(decoder: RecurrentDecoder) -> list[nn.RNNCellBase]:
    cells = []
    for cell in decoder.cells:
        layer = cell.layer
        kind = nn.GRUCell if isinstance(layer, nn.GRU) else nn.LSTMCell
        copy = kind(layer.input_size, layer.hidden_size).double()
        copy.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
        cells.append(copy)
    return cells


def written_out(
    decoder: RecurrentDecoder, shape: Recurrence, annotations: Tensor, ids: list[int]
) -> tuple[Tensor, Tensor]:
    """Logits [T, V] and weights [T, S] for annotations [S, M] without any padding."""
    keys, values = decoder.look.key(annotations), decoder.look.value(annotations)
    mean = annotations.sum(0) / max(1, len(annotations))
    first = [torch.tanh(linear(mean)) for linear in decoder.initial]
    states = [tuple(first[2 * i : 2 * i + 2]) for i in range(2)] if shape.cell == "lstm" else [(one,) for one in first]
    fed, logits, weights = torch.zeros(SIZE, dtype=torch.float64), [], []

    def look(query: Tensor) -> Tensor:
        scores = torch.tanh(decoder.look.query(query) + keys) @ decoder.look.attend.score.weight
        weights.append(scores.softmax(0))
        return decoder.look.output(weights[-1] @ values)

    for token in ids:
        embedding = decoder.embed.table.weight[token] * math.sqrt(SIZE)
        inputs = embedding
        if shape.look == "before":
            context = look(states[-1][0])
            inputs = torch.cat((embedding, context))
        elif shape.input_feeding:
            inputs = torch.cat((embedding, fed))
        top = torch.zeros(SIZE, dtype=torch.float64)
        for i, cell in enumerate(torch_cells(decoder)):
            after = cell(inputs, states[i][0] if shape.cell == "gru" else states[i])
            states[i] = (after,) if shape.cell == "gru" else after
            top = inputs = top + states[i][0]  # a residual around each layer but the first
        seen = [top, context, embedding] if shape.look == "before" else [top, look(top)]
        fed = torch.tanh(decoder.readout(torch.cat(seen)))
        logits.append(decoder.embed.table.weight @ fed)
    return torch.stack(logits), torch.stack(weights)


@every_look_and_cell
@torch.no_grad()
def test_n17_the_decoder_is_what_the_papers_write(shape: Recurrence) -> None:
    model, previous = make(shape), Tokens.of(TARGET)
    memory = model.encode(Tokens.of(SOURCE))
    with recorded(model) as kept:
        logits = model.decoder(previous, memory)
    weights = kept["decoder.look"]
    assert weights.shape == (4, 1, 6, 5)
    for row, ids in enumerate(TARGET):
        length = len(SOURCE[row])
        wanted, wanted_weights = written_out(model.decoder, shape, memory.states[row, :length], ids)
        assert_close(logits[row, : len(ids)], wanted, atol=1e-12, rtol=0)
        assert_close(weights[row, 0, : len(ids), :length], wanted_weights, atol=1e-12, rtol=0)


@every_look_and_cell
@torch.no_grad()
def test_n17_the_context_changes_at_each_step(shape: Recurrence) -> None:
    model, contexts = make(shape), []
    handle = model.decoder.look.register_forward_hook(lambda module, inputs, output: contexts.append(output))
    source, previous = padded(SOURCE[:2], 2), Tokens.of(TARGET[:1] * 2)
    run_steps(model.decoder, model.decoder.start(model.encode(source)), previous.ids)
    handle.remove()
    assert len(contexts) == 4
    for earlier, later in pairwise(contexts):
        assert ((later - earlier).abs().amax(-1) > 1e-7).all()
    with recorded(model) as kept:
        model(source, previous)
    weights, is_real = kept["decoder.look"], source.is_real[:, None, None, :]
    assert weights.shape == (2, shape.heads, 4, 7)
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert (weights.masked_select(~is_real) == 0).all()
    assert (weights.masked_select(is_real) > 0).all()
    assert ((weights[:, :, 1:] - weights[:, :, :-1]).abs().amax(-1) > 1e-7).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [True, False], ids=["both", "forwards"])
@torch.no_grad()
def test_the_encoder_is_torchs_layer_on_embeddings(cell: str, bidirectional: bool) -> None:
    model = make(replace(BASE, cell=cell, bidirectional=bidirectional), layers=1)
    source, layer = padded(SOURCE[:3], 2), model.encoder.layers[0]
    theirs = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](
        SIZE, SIZE // 2 if bidirectional else SIZE, batch_first=True, bidirectional=bidirectional
    ).double()
    weights = dict(layer.forwards.layer.state_dict())
    if bidirectional:
        weights |= {f"{name}_reverse": value for name, value in layer.backwards.layer.state_dict().items()}
    theirs.load_state_dict(weights)
    memory = model.encode(source)
    assert torch.equal(memory.lengths, source.lengths)
    for row, length in enumerate(source.lengths):
        embedded = model.encoder.embed.table(source.ids[row : row + 1, :length]) * math.sqrt(SIZE)
        assert_close(memory.states[row, :length], theirs(embedded)[0][0], atol=1e-12, rtol=0)


@torch.no_grad()
def test_layers_after_the_first_have_residuals_and_a_norm_closes_a_pre_norm_stack() -> None:
    source = Tokens.of(SOURCE[:1])
    plain = make(replace(BASE, dropout=0.5)).encoder
    one, two = plain.layers
    turned = torch.tensor([[4, 3, 2, 1, 0]])
    first = one(plain.embed(source.ids), turned)
    assert_close(plain(source).states, first + two(first, turned))
    pre = make(replace(BASE, norm="layer", norm_first=True)).encoder
    one, two = pre.layers
    first = one(pre.embed(source.ids), turned)
    assert_close(pre(source).states, pre.norm(first + two(pre.around[0].norm(first), turned)))
    post = make(replace(BASE, norm="layer")).encoder
    one, two = post.layers
    first = one(post.embed(source.ids), turned)
    assert_close(post(source).states, post.around[0].norm(first + two(first, turned)))


@torch.no_grad()
def test_every_layer_starts_from_the_mean_of_what_is_real() -> None:
    shape = replace(BASE, cell="lstm")
    decoder = make(shape, memory_size=5).decoder
    states = torch.randn(3, 4, 5, dtype=torch.float64)
    lengths = torch.tensor([4, 2, 0])
    states[1, 2:] = torch.nan
    states[2] = torch.nan
    start = decoder.start(Memory(states, lengths))
    assert [len(layer) for layer in start.layers] == [2, 2]
    means = torch.stack((states[0].mean(0), states[1, :2].mean(0), torch.zeros(5, dtype=torch.float64)))
    flat = [one for layer in start.layers for one in layer]
    for one, linear in zip(flat, decoder.initial, strict=True):
        assert_close(one, torch.tanh(means @ linear.weight.T + linear.bias), atol=1e-14, rtol=0)
    assert start.readout is None
    feeding = make(LOOKS["feeding"]).decoder.start(Memory(states[:1].repeat(1, 1, 2)[..., :SIZE], lengths[:1]))
    assert feeding.readout is not None
    assert feeding.readout.count_nonzero() == 0


# The contracts, over the options of this family alone.


@every_choice
@torch.no_grad()
def test_n15_step_by_step_is_all_at_once_and_alone_is_in_a_batch(shape: Recurrence) -> None:
    model, source, previous = make(shape), padded(SOURCE, 3), padded(TARGET, 2)
    logits = model(source, previous)
    stepped, _ = run_steps(model.decoder, model.decoder.start(model.encode(source)), previous.ids)
    assert logits.isfinite().all()
    assert_close(stepped, logits, atol=1e-12, rtol=0)
    for row, ids in enumerate(TARGET):
        alone = model(Tokens.of([SOURCE[row]]), Tokens.of([ids]))[0]
        assert_close(logits[row, : len(ids)], alone, atol=1e-12, rtol=0)


@every_look_and_cell
@torch.no_grad()
def test_n14_a_later_id_changes_no_earlier_logit(shape: Recurrence) -> None:
    model, source, ids = make(shape), Tokens.of(SOURCE[:1]), torch.tensor([[1, 4, 5, 6, 7, 8]])
    logits = model(source, Tokens(ids, torch.tensor([6])))
    for t in range(1, 6):
        changed = ids.clone()
        changed[:, t:] += 1
        other = model(source, Tokens(changed, torch.tensor([6])))
        assert torch.equal(other[:, :t], logits[:, :t])
        assert not torch.allclose(other[:, t], logits[:, t])


@every_look_and_cell
@torch.no_grad()
def test_selected_rows_go_on_as_if_always_there(shape: Recurrence) -> None:
    model, rows, ids = make(shape), torch.tensor([3, 0, 0, 2]), torch.randint(4, VOCABULARY, (4, 2))
    next_ids = torch.randint(4, VOCABULARY, (4, 2))
    _, state = run_steps(model.decoder, model.decoder.start(model.encode(Tokens.of(SOURCE))), ids)
    before = [one.clone() for layer in state.layers for one in layer]
    chosen, _ = run_steps(model.decoder, state.select(rows), next_ids)
    start = model.decoder.start(model.encode(Tokens.of([SOURCE[row] for row in rows])))
    always, _ = run_steps(model.decoder, start, torch.cat((ids[rows], next_ids), dim=1))
    assert_close(chosen, always[:, 2:], atol=1e-12, rtol=0)
    assert all(torch.equal(old, one) for old, one in zip(before, sum(state.layers, ()), strict=True))
    none, _ = model.decoder.step(ids[:0, 0], state.select(torch.tensor([], dtype=torch.int64)))
    assert none.shape == (0, VOCABULARY)


@every_choice
def test_every_parameter_gets_a_gradient(shape: Recurrence) -> None:
    model, previous = make(shape), Tokens.of(TARGET)
    model(Tokens.of(SOURCE), previous)[previous.is_real].log_softmax(-1)[:, 4:7].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias of the keys adds the same to all products with a query: the softmax does not see it.
        assert parameter.grad.count_nonzero() > 0 or name.endswith("key.bias"), name
    assert shape.bias or not any("bias" in name for name, _ in model.named_parameters() if "norm" not in name)


@every_look_and_cell
def test_the_gradients_are_those_of_what_the_papers_write(shape: Recurrence) -> None:
    """With respect to the memory and to all weights outside of cells: nothing is cut off from the loss on the way."""
    decoder, source, previous = make(shape).decoder, Tokens.of(SOURCE), Tokens.of(TARGET)
    states = torch.randn(4, 5, SIZE, dtype=torch.float64, requires_grad=True)
    memory = Memory(states, source.lengths)
    leaves = [states, *(value for name, value in decoder.named_parameters() if not name.startswith("cells"))]

    def gradients(logits: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(sum(one.log_softmax(-1)[:, 5].sum() for one in logits), leaves)

    wanted = gradients(
        [
            written_out(decoder, shape, states[row, :length], ids)[0]
            for row, (length, ids) in enumerate(zip(source.lengths, TARGET, strict=True))
        ]
    )
    at_once = decoder(previous, memory)
    stepped, _ = run_steps(decoder, decoder.start(memory), previous.ids)
    for logits in (at_once, stepped):
        found = gradients([one[: len(ids)] for one, ids in zip(logits, TARGET, strict=True)])
        assert_close(found, wanted, atol=1e-12, rtol=0)


@every_look_and_cell
def test_cells_have_the_same_gradients_step_by_step(shape: Recurrence) -> None:
    model, previous = make(shape), Tokens.of(TARGET)
    memory, cells = model.encode(Tokens.of(SOURCE)), list(model.decoder.cells.parameters())
    stepped, _ = run_steps(model.decoder, model.decoder.start(memory), previous.ids)
    at_once = model.decoder(previous, memory)
    wanted = torch.autograd.grad(at_once.log_softmax(-1)[..., 5].sum(), cells, retain_graph=True)
    assert_close(torch.autograd.grad(stepped.log_softmax(-1)[..., 5].sum(), cells), wanted, atol=1e-12, rtol=0)


@every_look
@torch.no_grad()
def test_n18_the_recorder_sees_every_step_and_changes_none(shape: Recurrence) -> None:
    model, source, previous = make(shape), Tokens.of(SOURCE), Tokens.of(TARGET)
    logits = model(source, previous)
    with recorded(model) as kept:
        assert_close(model(source, previous), logits, atol=1e-12, rtol=0)
        at_once, state = kept["decoder.look"], model.decoder.start(model.encode(source))
        for t, last in enumerate(previous.ids.unbind(1)):
            _, state = model.decoder.step(last, state)
            assert_close(kept["decoder.look"], at_once[:, :, t : t + 1], atol=1e-12, rtol=0)
    assert torch.equal(model(source, previous), logits)


@every_look
@torch.no_grad()
def test_n21_each_dropout_acts_in_training_alone(shape: Recurrence) -> None:
    model, source, previous = make(shape), Tokens.of(SOURCE), Tokens.of(TARGET)
    exact = model(source, previous)
    dropouts = {name: module for name, module in model.named_modules() if isinstance(module, Dropout)}
    assert [len([name for name in dropouts if name.startswith(side)]) for side in ("encoder", "decoder")] == [3, 4]
    for name, dropout in dropouts.items():
        dropout.rate = 0.5
        assert torch.equal(model.eval()(source, previous), exact), name
        assert not torch.allclose(model.train()(source, previous), exact), name
        dropout.rate = 0.0
    model.decoder.look.attend.weight_dropout = 0.5
    assert torch.equal(model.eval()(source, previous), exact)
    assert not torch.allclose(model.train()(source, previous), exact)


def test_the_rates_of_dropout_go_where_they_belong() -> None:
    model = make(replace(BASE, dropout=0.1, inner_dropout=0.2, attention_dropout=0.3))
    rates = {name: module.rate for name, module in model.named_modules() if isinstance(module, Dropout)}
    assert rates.pop("decoder.inner_dropout") == 0.2
    assert set(rates.values()) == {0.1}
    assert model.decoder.look.attend.weight_dropout == 0.3


def test_output_and_embeddings_are_one_table_if_shared() -> None:
    shared, own = (RecurrentDecoder(VOCABULARY, 1, BASE, memory_size=5, share_output=share) for share in (True, False))
    assert shared.output.weight is shared.embed.table.weight
    assert own.output.weight is not own.embed.table.weight
    assert own.output.weight.std().item() == pytest.approx(SIZE**-0.5, rel=0.2)


@every_look_and_cell
def test_n23_the_parameters_of_a_decoder(shape: Recurrence) -> None:
    d, m, gates = SIZE, 5, {"gru": 3, "lstm": 4}[shape.cell]
    decoder = RecurrentDecoder(VOCABULARY, 2, shape, memory_size=m)
    inputs, read = (d if decoder.cells[0].layer.input_size == d else 2 * d), (3 if shape.look == "before" else 2) * d
    wanted = {
        "embed": VOCABULARY * d,
        "cells": gates * d * (inputs + d + 2) + gates * d * (d + d + 2),
        "look": 2 * (d * d + d) + 2 * (m * d + d) + d,  # query, output; key, value; the score's own
        "initial": (gates - 2) * 2 * (m * d + d),
        "readout": read * d + d,
    }
    assert (inputs == d) == (shape.look == "after" and not shape.input_feeding)
    found = {name: sum(p.numel() for p in module.parameters()) for name, module in decoder.named_children()}
    assert {name: number for name, number in found.items() if number and name != "output"} == wanted


def test_longest_follows_from_the_positions() -> None:
    for positions, longest in [("none", None), ("sinusoidal", None), ("learned", 12)]:
        model = make(replace(BASE, positions=positions))
        assert (model.encoder.longest, model.decoder.longest) == (longest, longest)


@torch.no_grad()
def test_e1_a_step_has_the_position_it_stands_at() -> None:
    model, source = make(replace(BASE, positions="sinusoidal")), Tokens.of(SOURCE[:1])
    _, state = run_steps(model.decoder, model.decoder.start(model.encode(source)), torch.tensor([[1, 4]]))
    assert state.position == 2
    later, _ = model.decoder.step(torch.tensor([5]), state)
    first, _ = model.decoder.step(torch.tensor([5]), replace(state, position=0))
    assert not torch.allclose(later, first)


def test_what_cannot_be_built_says_why() -> None:
    with pytest.raises(RecipeError, match=r"two directions cannot share 7 features evenly"):
        RecurrentEncoder(VOCABULARY, 1, Recurrence(7))
    with pytest.raises(RecipeError, match=r"with look=before they read it anyway\n.*model.look=after"):
        RecurrentDecoder(VOCABULARY, 1, Recurrence(8, input_feeding=True), memory_size=8)
    with pytest.raises(RecipeError, match=r"a decoder cannot use the batch norm"):
        RecurrentDecoder(VOCABULARY, 2, Recurrence(8, norm="batch"), memory_size=8)
    with pytest.raises(RecipeError, match=r"3 heads cannot share 8 features"):
        RecurrentDecoder(VOCABULARY, 1, Recurrence(8, heads=3), memory_size=8)
    with pytest.raises(RecipeError, match=r"positions=rotary act inside self-attention"):
        RecurrentEncoder(VOCABULARY, 1, Recurrence(8, positions="rotary"))


@every_look_and_cell
def test_a_model_is_drawn_without_memory(shape: Recurrence) -> None:
    with torch.device("meta"):
        encoder = RecurrentEncoder(VOCABULARY, 2, shape)
        decoder = RecurrentDecoder(VOCABULARY, 2, shape, memory_size=encoder.size)
    assert all(parameter.is_meta for parameter in [*encoder.parameters(), *decoder.parameters()])


@pytest.mark.parametrize("norm", ["batch", "instance", "switchable", "group"])
@torch.no_grad()
def test_e4_padding_enters_no_norm_of_the_encoder(norm: str) -> None:
    encoder = RecurrentEncoder(VOCABULARY, 2, replace(BASE, norm=norm)).double().train()
    is_real = padded(SOURCE, 3).is_real
    one, other = (encoder(padded(SOURCE, 3)).states[is_real] for _ in range(2))
    assert torch.equal(one, other)
