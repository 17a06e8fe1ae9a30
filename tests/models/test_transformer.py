"""The Transformer against torch's own layers, and the numbers of the notes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from regard.attention.memory import KeyValues
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.record import recorded
from regard.config import Model
from regard.data.tokens import Tokens
from regard.errors import RecipeError, UsageError
from regard.layers.norms import RMSNorm
from regard.layers.positions import sinusoids
from regard.models import build
from regard.models.interface import EncoderDecoder, Memory
from regard.models.transformer import (
    DecoderBlock,
    EncoderBlock,
    Shape,
    TransformerDecoder,
    TransformerEncoder,
    TransformerState,
)

NOTES = Shape(size=24, heads=8, inner=48)  # the example of the notes: vocabulary 200, two blocks


def small(size: int = 16, heads: int = 4, norm_first: bool = False) -> Shape:
    return Shape(size, heads, 24, norm_first=norm_first, dropout=0.0)


def transformer(vocabulary: int = 13, **options: object) -> EncoderDecoder:
    settings = {"layers": 2, "size": 16, "heads": 4, "inner": 24, "dropout": 0.0, **options}
    return build(Model.model_validate(settings), vocabulary, vocabulary).eval()


def shaken(module: nn.Module) -> nn.Module:
    """No bias 0, no scale 1: a forgotten one shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module


# --- against torch.nn -------------------------------------------------------------------------------------------------


def copy_attention(theirs: nn.MultiheadAttention, ours: MultiHeadAttention) -> None:
    weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
    with torch.no_grad():
        for linear, weight, bias in zip((ours.query, ours.key, ours.value), weights, biases, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
    ours.output.load_state_dict(theirs.out_proj.state_dict())


def copy_encoder(theirs: nn.TransformerEncoderLayer, ours: EncoderBlock) -> None:
    copy_attention(theirs.self_attn, ours.attention)
    for one, two in [
        (theirs.linear1, ours.feed_forward.widen),
        (theirs.linear2, ours.feed_forward.narrow),
        (theirs.norm1, ours.around_attention.norm),
        (theirs.norm2, ours.around_feed_forward.norm),
    ]:
        two.load_state_dict(one.state_dict())


def copy_decoder(theirs: nn.TransformerDecoderLayer, ours: DecoderBlock) -> None:
    copy_attention(theirs.self_attn, ours.attention)
    copy_attention(theirs.multihead_attn, ours.look)
    for one, two in [
        (theirs.linear1, ours.feed_forward.widen),
        (theirs.linear2, ours.feed_forward.narrow),
        (theirs.norm1, ours.around_attention.norm),
        (theirs.norm2, ours.around_look.norm),
        (theirs.norm3, ours.around_feed_forward.norm),
    ]:
        two.load_state_dict(one.state_dict())


norms = pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])


@norms
def test_n12_n13_encoder_equal_to_torch(norm_first: bool) -> None:
    encoder = TransformerEncoder(13, 2, small(norm_first=norm_first))
    theirs = [shaken(nn.TransformerEncoderLayer(16, 4, 24, 0.0, batch_first=True, norm_first=norm_first))] * 2
    for layer, block in zip(theirs, encoder.blocks, strict=True):
        copy_encoder(layer, block)
    source = Tokens.of([[4, 5, 6, 7], [8, 9], [10]])
    x = encoder.embed(source.ids)
    for layer in theirs:  # in training mode: torch's fast path of evaluation blanks the padding
        x = layer(x, src_key_padding_mask=~source.is_real)
    wanted = functional.layer_norm(x, (16,)) if norm_first else x
    memory = encoder(source)
    assert_close(memory.states[source.is_real], wanted[source.is_real], atol=1e-5, rtol=1e-5)
    assert torch.equal(memory.lengths, source.lengths)


@norms
def test_n12_n14_decoder_equal_to_torch(norm_first: bool) -> None:
    decoder = TransformerDecoder(13, 2, small(norm_first=norm_first), memory_size=16)
    theirs = [shaken(nn.TransformerDecoderLayer(16, 4, 24, 0.0, batch_first=True, norm_first=norm_first))] * 2
    for layer, block in zip(theirs, decoder.blocks, strict=True):
        copy_decoder(layer, block)
    previous, memory = Tokens.of([[1, 4, 5], [1, 6], [1]]), Memory(torch.randn(3, 5, 16), torch.tensor([5, 3, 1]))
    x = decoder.embed(previous.ids)
    late = nn.Transformer.generate_square_subsequent_mask(3) < 0
    unread = torch.arange(5) >= memory.lengths[:, None]
    for layer in theirs:
        x = layer(x, memory.states, tgt_mask=late, memory_key_padding_mask=unread)
    states = functional.layer_norm(x, (16,)) if norm_first else x
    wanted = states @ decoder.embed.table.weight.T
    assert_close(decoder(previous, memory)[previous.is_real], wanted[previous.is_real], atol=1e-5, rtol=1e-5)


# --- the rows of the notes --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_n08_without_positions_the_encoder_is_equivariant_to_permutation() -> None:
    order = torch.randperm(7)
    ids, lengths = torch.randint(4, 13, (2, 7)), torch.tensor([7, 7])
    for positions, equal in [("none", True), ("sinusoidal", False), ("learned", False)]:
        encoder = transformer(positions=positions).encoder
        states = encoder(Tokens(ids, lengths)).states
        assert states.shape == (2, 7, 16)
        turned = encoder(Tokens(ids[:, order], lengths)).states
        assert torch.allclose(turned, states[:, order], atol=1e-5) == equal


@torch.no_grad()
def test_n13_encoder_keeps_the_shape() -> None:
    encoder = TransformerEncoder(200, 2, NOTES).eval()
    source = Tokens(torch.randint(4, 200, (2, 100)), torch.tensor([100, 60]))
    assert encoder(source).states.shape == (2, 100, 24)
    x = encoder.embed(source.ids)
    for block in encoder.blocks:
        x = block(x, torch.ones(2, 1, 1, 100, dtype=torch.bool), source.is_real)
        assert x.shape == (2, 100, 24)


@torch.no_grad()
def test_n13_embedding_times_sqrt_d_plus_positions() -> None:
    embed = TransformerEncoder(200, 2, NOTES).eval().embed
    ids = torch.randint(4, 200, (2, 100))
    assert_close(embed(ids), embed.table.weight[ids] * math.sqrt(24) + sinusoids(0, 100, 24))
    assert (embed.table.weight[ids] * math.sqrt(24)).std().item() == pytest.approx(1, rel=0.1)


@torch.no_grad()
def test_n14_decoder_keeps_the_shape_and_sees_neither_future_nor_padding() -> None:
    decoder = TransformerDecoder(200, 2, NOTES, memory_size=24).eval()
    previous = Tokens(torch.randint(4, 200, (2, 100)), torch.tensor([100, 100]))
    memory = Memory(torch.randn(2, 100, 24), torch.tensor([100, 37]))
    shapes: list[torch.Size] = []
    for block in decoder.blocks:
        block.register_forward_hook(lambda block, inputs, output: shapes.extend((inputs[0].shape, output.shape)))
    with recorded(decoder) as weights:
        assert decoder(previous, memory).shape == (2, 100, 200)
    assert shapes == [(2, 100, 24)] * 4
    for number in range(2):
        own, look = weights[f"blocks.{number}.attention"], weights[f"blocks.{number}.look"]
        assert own.shape == look.shape == (2, 8, 100, 100)
        assert own.triu(1).count_nonzero() == 0
        assert (own.tril().flatten(2)[..., 0] > 0).all()
        assert look[1, :, :, 37:].count_nonzero() == 0
        assert (look[1, :, :, :37] > 0).all()
        assert_close(look.sum(-1), torch.ones(2, 8, 100))


@torch.no_grad()
def test_n15_the_notes_example_step_by_step() -> None:
    model = EncoderDecoder(TransformerEncoder(200, 2, NOTES), TransformerDecoder(200, 2, NOTES, memory_size=24)).eval()
    source = Tokens(torch.randint(4, 200, (2, 100)), torch.tensor([100, 60]))
    previous = Tokens(torch.randint(4, 200, (2, 30)), torch.tensor([30, 30]))
    state, logits = model.decoder.start(model.encode(source)), []
    for last in previous.ids.unbind(1):
        one, state = model.decoder.step(last, state)
        logits.append(one)
    assert_close(torch.stack(logits, 1), model(source, previous), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_n16_the_wrapper_encodes_starts_and_decodes() -> None:
    model = transformer()
    source, previous = Tokens.of([[4, 5, 6], [7]]), Tokens.of([[1, 8], [1, 9]])
    memory = model.encode(source)
    assert torch.equal(model(source, previous), model.decoder(previous, memory))
    state = model.decoder.start(memory)
    logits, after = model.decoder.step(previous.ids[:, 0], state)
    assert logits.shape == (2, 13)
    assert isinstance(state, TransformerState)
    assert isinstance(after, TransformerState)
    assert (state.position, after.position) == (0, 1)


def test_n16_the_sizes_of_encoder_and_decoder_may_differ() -> None:
    model = EncoderDecoder(
        TransformerEncoder(13, 1, small(8, 2)), TransformerDecoder(17, 2, small(), memory_size=8)
    ).eval()
    assert model(Tokens.of([[4, 5]]), Tokens.of([[1, 6, 7]])).shape == (1, 3, 17)


def test_n19_the_base_size_of_the_paper() -> None:
    paper = Shape(512, 8, 2048)
    with torch.device("meta"):
        encoder = TransformerEncoder(1000, 6, paper)
        decoder = TransformerDecoder(1000, 6, paper, memory_size=512)
        theirs = nn.Transformer(512, 8, 6, 6, 2048, batch_first=True)
    last_norms = 2 * 2 * 512  # torch closes both stacks with a norm, the paper does not
    ours = sum(one.numel() for part in (encoder, decoder) for one in part.blocks.parameters())
    assert ours == sum(one.numel() for one in theirs.parameters()) - last_norms == 44_138_496
    assert (len(encoder.blocks), len(decoder.blocks)) == (6, 6)
    assert encoder.blocks[0].attention.heads == 8
    assert encoder.blocks[0].attention.attend.score.factor == 64**-0.5
    assert encoder.size == 512


def test_n20_tokens_used_alike_end_up_close() -> None:
    model = transformer(layers=1, size=8, heads=2, inner=16).train()
    first, second = range(4, 8), range(8, 12)  # 4 and 8 are answered alike, 5 and 9, ...
    source = Tokens.of([[a, b] for a in (*first, *second) for b in (*first, *second)])
    previous = Tokens.of([[1, 4 + (a % 4)] for a, _ in source.ids.tolist()])
    gold = torch.tensor([[4 + a % 4, 4 + b % 4] for a, b in source.ids.tolist()])
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    for _ in range(120):
        loss = functional.cross_entropy(model(source, previous).flatten(0, 1), gold.flatten())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    table: Tensor = dict(model.named_parameters())["encoder.embed.table.weight"].detach()[4:12]
    near = functional.cosine_similarity(table[:, None], table[None], dim=-1).fill_diagonal_(-1).argmax(-1)
    assert near.tolist() == [4, 5, 6, 7, 0, 1, 2, 3]


@torch.no_grad()
def test_n20_encode_gives_a_latent_vector_a_token() -> None:
    memory = transformer().encode(Tokens.of([[4, 5, 6], [7]]))
    assert memory.states.shape == (2, 3, 16)
    assert memory.lengths.tolist() == [3, 1]


# --- faults of the notes ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_e1_each_step_adds_the_code_of_its_own_position() -> None:
    model = transformer()
    decoder = model.decoder
    assert isinstance(decoder, TransformerDecoder)
    seen: list[Tensor] = []
    decoder.embed.register_forward_hook(lambda module, inputs, output: seen.append(output[:, 0]))
    state = decoder.start(model.encode(Tokens.of([[4, 5]])))
    for _ in range(6):  # the same token six times: only its position tells the embeddings apart
        _, state = decoder.step(torch.tensor([7]), state)
    token = decoder.embed.table.weight[7] * 4
    assert_close(torch.cat(seen), token + sinusoids(0, 6, 16))


@torch.no_grad()
def test_e2_a_step_computes_one_position_only() -> None:
    model = transformer()
    computed: list[int] = []
    for module in model.decoder.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: computed.append(inputs[0].shape[1]))
    state = model.decoder.start(model.encode(Tokens.of([[4, 5, 6, 7, 8]])))
    assert set(computed) == {5}  # the source is projected once
    computed.clear()
    for step in range(1, 5):
        _, state = model.decoder.step(torch.tensor([7]), state)
        assert isinstance(state, TransformerState)
        own = state.blocks[0].own
        assert isinstance(own, KeyValues)
        assert own.key.shape[2] == step
    assert set(computed) == {1}


@torch.no_grad()
def test_e8_texts_longer_than_a_table_of_1000() -> None:
    model = transformer(layers=1)
    source = Tokens.of([[4 + i % 9 for i in range(1100)]])
    assert model(source, Tokens.of([[1] * 1050])).isfinite().all()
    assert (model.encoder.longest, model.decoder.longest) == (None, None)


def test_e8_learned_positions_say_where_they_end() -> None:
    model = transformer(positions="learned", longest=3)
    assert (model.encoder.longest, model.decoder.longest) == (3, 3)
    with pytest.raises(UsageError, match="position 4 was asked for, this model learned 3 positions"):
        model.encode(Tokens.of([[4, 5, 6, 7]]))
    state = model.decoder.start(model.encode(Tokens.of([[4, 5, 6]])))
    for _ in range(3):
        _, state = model.decoder.step(torch.tensor([1]), state)
    with pytest.raises(UsageError, match="position 4 was asked for"):
        model.decoder.step(torch.tensor([1]), state)


def test_e8_an_odd_size_works() -> None:
    model = transformer(size=15, heads=3)
    assert model(Tokens.of([[4, 5]]), Tokens.of([[1, 6, 7]])).shape == (1, 3, 13)


def test_e9_heads_that_do_not_divide_are_an_error() -> None:
    with pytest.raises(RecipeError, match="3 heads cannot share 16 features"):
        TransformerEncoder(13, 1, small(16, 3))


# --- building ---------------------------------------------------------------------------------------------------------


def tables(share: str) -> tuple[Tensor, Tensor, Tensor]:
    """Source embedding, target embedding, output layer."""
    found = dict(transformer(share_embeddings=share).named_parameters(remove_duplicate=False))
    source, target, output = ("encoder.embed.table.weight", "decoder.embed.table.weight", "decoder.output.weight")
    return found[source], found[target], found[output]


def test_embeddings_are_shared_as_asked() -> None:
    source, target, output = tables("none")
    assert len({id(source), id(target), id(output)}) == 3
    source, target, output = tables("output")
    assert target is output
    assert source is not target
    source, target, output = tables("all")
    assert source is target
    assert target is output


def test_sharing_all_embeddings_needs_equal_vocabularies() -> None:
    settings = {"layers": 1, "size": 8, "heads": 2, "inner": 8, "dropout": 0.0, "share_embeddings": "all"}
    with pytest.raises(RecipeError, match=r"vocabularies have 13 and 14 tokens\n  fix: set tokenizer.joint=true"):
        build(Model.model_validate(settings), 13, 14)


def test_every_option_of_the_recipe_reaches_the_model() -> None:
    model = transformer(
        layers=3,
        decoder_layers=1,
        norm="rms",
        norm_first=True,
        activation="swish",
        gated=True,
        positions="learned",
        longest=9,
        score="dot",
        bias=False,
        attention_dropout=0.2,
        inner_dropout=0.3,
    )
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, TransformerEncoder)
    assert isinstance(decoder, TransformerDecoder)
    assert (len(encoder.blocks), len(decoder.blocks)) == (3, 1)
    for block in (*encoder.blocks, *decoder.blocks):
        assert isinstance(block, EncoderBlock | DecoderBlock)
        assert block.attention.attend.weight_dropout == 0.2
        assert block.attention.attend.score.factor == 1
        assert block.feed_forward.dropout.rate == 0.3
        assert block.feed_forward.activation == "swish"
        assert block.feed_forward.gate is not None
        assert isinstance(block.around_attention.norm, RMSNorm)
        assert block.around_attention.norm_first
    assert isinstance(encoder.norm, RMSNorm)
    assert encoder.longest == 9
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
