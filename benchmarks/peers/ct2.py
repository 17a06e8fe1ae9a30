"""CTranslate2 with the weights of one of our Transformers: the conversion, and the search."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec
from ctranslate2.specs.attention_spec import MultiHeadAttentionSpec
from ctranslate2.specs.common_spec import Activation, LayerNormSpec, LinearSpec
from ctranslate2.specs.transformer_spec import (
    FeedForwardSpec,
    PositionEncoderSpec,
    TransformerDecoderSpec,
    TransformerEncoderSpec,
)
from torch import Tensor, nn

from peers.subject import Contender, Subject
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.scores import ScaledDot
from regard.layers.embedding import Embedding
from regard.layers.feed_forward import FeedForward
from regard.layers.norms import EPSILON, LayerNorm, Norm
from regard.layers.positions import Sinusoidal, sinusoids
from regard.models.interface import EncoderDecoder
from regard.models.transformer import DecoderBlock, EncoderBlock, TransformerDecoder, TransformerEncoder
from regard.text.tokenizer import BOS, EOS, UNK

ACTIVATIONS = {"relu": Activation.RELU, "gelu": Activation.GELU, "swish": Activation.SWISH}
LONGEST = 1024  # positions in the table


class CannotConvert(Exception):
    """The format has no place for a part of the model."""


# The conversion.


def write_model(
    model: EncoderDecoder, source: Sequence[str], target: Sequence[str], folder: Path, longest: int
) -> None:
    """A model folder of CTranslate2 for texts of up to `longest` tokens; `source` and `target` are names of the ids.

    Sources have to end in the eos. CannotConvert names the part that has no place there.
    """
    spec = to_spec(model, longest)
    spec.register_source_vocabulary(list(source))
    spec.register_target_vocabulary(list(target))
    spec.config.bos_token = spec.config.decoder_start_token = target[BOS]
    spec.config.eos_token, spec.config.unk_token = target[EOS], target[UNK]
    spec.config.layer_norm_epsilon = EPSILON
    spec.validate()
    spec.optimize()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


def to_spec(model: EncoderDecoder, longest: int = LONGEST) -> TransformerSpec:
    """Each weight in its place. CTranslate2 counts positions from 1, so it gets a table of ours."""
    encoder, decoder = model.encoder, model.decoder
    if not (isinstance(encoder, TransformerEncoder) and isinstance(decoder, TransformerDecoder)):
        raise CannotConvert("only the Transformer has a place in this format")
    return TransformerSpec(_encoder(encoder, longest), _decoder(decoder, longest))


def _encoder(encoder: TransformerEncoder, longest: int) -> TransformerEncoderSpec:
    first = encoder.blocks[0]
    spec = TransformerEncoderSpec(
        len(encoder.blocks),
        first.attention.heads,
        pre_norm=first.around_attention.norm_first,
        activation=_activation(first.feed_forward),
    )
    spec.embeddings[0].weight = _numbers(encoder.embed.table.weight)
    _set_positions(spec.position_encodings, encoder.embed, longest)
    for into, block in zip(spec.layer, encoder.blocks, strict=True):
        _set_self_attention(into.self_attention, block)
        _set_feed_forward(into.ffn, block)
    if first.around_attention.norm_first:
        _set_norm(spec.layer_norm, encoder.norm)
    return spec


def _decoder(decoder: TransformerDecoder, longest: int) -> TransformerDecoderSpec:
    first = decoder.blocks[0]
    spec = TransformerDecoderSpec(
        len(decoder.blocks),
        first.attention.heads,
        pre_norm=first.around_attention.norm_first,
        activation=_activation(first.feed_forward),
    )
    spec.embeddings.weight = _numbers(decoder.embed.table.weight)
    _set_positions(spec.position_encodings, decoder.embed, longest)
    for into, block in zip(spec.layer, decoder.blocks, strict=True):
        _set_self_attention(into.self_attention, block)
        _set_look(into.attention, block)
        _set_feed_forward(into.ffn, block)
    if first.around_attention.norm_first:
        _set_norm(spec.layer_norm, decoder.norm)
    _set_linear(spec.projection, decoder.output)
    return spec


def _activation(feed_forward: FeedForward) -> Activation:
    if feed_forward.gate is not None:
        raise CannotConvert("model.gated=true is not converted")
    if feed_forward.activation not in ACTIVATIONS:
        raise CannotConvert(f"model.activation={feed_forward.activation} has no place in this format")
    return ACTIVATIONS[feed_forward.activation]


def _set_positions(spec: PositionEncoderSpec, embedding: Embedding, longest: int) -> None:
    if not isinstance(embedding.positions, Sinusoidal):
        raise CannotConvert("only model.positions=sinusoidal is converted")
    spec.encodings = _numbers(sinusoids(0, longest, embedding.table.embedding_dim))


def _set_self_attention(spec: MultiHeadAttentionSpec, block: EncoderBlock | DecoderBlock) -> None:
    """Queries, keys and values come from the same states: one matrix for the three."""
    attention = _checked(block.attention)
    _set_linear(spec.linear[0], attention.query, attention.key, attention.value)
    _set_linear(spec.linear[1], attention.output)
    _set_norm(spec.layer_norm, block.around_attention.norm)


def _set_look(spec: MultiHeadAttentionSpec, block: DecoderBlock) -> None:
    """Keys and values come from the source: one matrix for the two."""
    look = _checked(block.look)
    _set_linear(spec.linear[0], look.query)
    _set_linear(spec.linear[1], look.key, look.value)
    _set_linear(spec.linear[2], look.output)
    _set_norm(spec.layer_norm, block.around_look.norm)


def _checked(attention: MultiHeadAttention) -> MultiHeadAttention:
    if attention.relative is not None:
        raise CannotConvert("positions inside attention are not converted")
    if not isinstance(attention.attend.score, ScaledDot):
        raise CannotConvert("only model.score=scaled_dot has a place in this format")
    return attention


def _set_feed_forward(spec: FeedForwardSpec, block: EncoderBlock | DecoderBlock) -> None:
    _set_linear(spec.linear_0, block.feed_forward.widen)
    _set_linear(spec.linear_1, block.feed_forward.narrow)
    _set_norm(spec.layer_norm, block.around_feed_forward.norm)


def _set_norm(spec: LayerNormSpec, norm: Norm) -> None:
    if not isinstance(norm, LayerNorm):
        raise CannotConvert("only model.norm=layer is converted")
    spec.gamma, spec.beta = _numbers(norm.weight), _numbers(norm.bias)


def _set_linear(spec: LinearSpec, *linears: nn.Linear) -> None:
    """One matrix, or several on top of each other."""
    spec.weight = np.concatenate([_numbers(linear.weight) for linear in linears])
    if linears[0].bias is not None:
        spec.bias = np.concatenate([_numbers(linear.bias) for linear in linears])


def _numbers(weight: Tensor) -> np.ndarray:
    return weight.detach().float().cpu().numpy()


# The search.


def float32(subject: Subject) -> Contender:
    """At our precision."""
    return _contender(subject, "float32")


def int8(subject: Subject) -> Contender:
    """Matrices of eight bits: faster, and not the same answers."""
    return _contender(subject, "int8")


def numbered(count: int) -> list[str]:
    """Names of ids: CTranslate2 reads and says strings."""
    return [str(number) for number in range(count)]


def _contender(subject: Subject, precision: str) -> Contender:
    names = numbered(subject.shape.vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        write_model(subject.model, names, names, Path(folder), LONGEST)
        translator = ctranslate2.Translator(
            folder, device="cpu", compute_type=precision, inter_threads=1, intra_threads=subject.threads
        )

    def search(sources: list[list[int]], beam: int, count: int) -> list[list[int]]:
        found = translator.translate_batch(
            [[names[number] for number in source] for source in sources],
            beam_size=beam,
            min_decoding_length=count,
            max_decoding_length=count,
        )
        return [[int(name) for name in answer.hypotheses[0]] for answer in found]

    return Contender(search, exact=precision == "float32")
