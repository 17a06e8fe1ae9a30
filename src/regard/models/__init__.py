"""One paper a file. `build` turns the model section of a recipe into an encoder and a decoder.

To add an architecture: write its file against interface.py, add a builder and a line to ENCODERS and DECODERS.
"""

from __future__ import annotations

from collections.abc import Callable

from regard.config import Model
from regard.errors import RecipeError
from regard.models.interface import Decoder, Encoder, EncoderDecoder
from regard.models.transformer import Shape, TransformerDecoder, TransformerEncoder


def _shape(model: Model) -> Shape:
    return Shape(
        size=model.size,
        heads=model.heads,
        inner=model.inner,
        norm=model.norm,
        norm_first=model.norm_first,
        activation=model.activation,
        gated=model.gated,
        positions=model.positions,
        longest=model.longest,
        score=model.score,
        bias=model.bias,
        dropout=model.dropout,
        attention_dropout=model.attention_dropout,
        inner_dropout=model.inner_dropout,
    )


def _transformer_encoder(model: Model, vocabulary: int) -> Encoder:
    return TransformerEncoder(vocabulary, model.layers, _shape(model))


def _transformer_decoder(model: Model, vocabulary: int, memory_size: int) -> Decoder:
    layers = model.decoder_layers or model.layers
    share = model.share_embeddings != "none"
    return TransformerDecoder(vocabulary, layers, _shape(model), memory_size=memory_size, share_output=share)


ENCODERS: dict[str, Callable[[Model, int], Encoder]] = {
    "transformer": _transformer_encoder,
}
DECODERS: dict[str, Callable[[Model, int, int], Decoder]] = {
    "transformer": _transformer_decoder,
}


def build(model: Model, source_vocabulary: int, target_vocabulary: int) -> EncoderDecoder:
    """The model a recipe asks for, with fresh weights from torch's random state.

    RecipeError where one table of embeddings is asked for and the vocabularies differ in size.
    """
    if model.share_embeddings == "all" and source_vocabulary != target_vocabulary:
        raise RecipeError(
            f"model.share_embeddings=all shares one table of embeddings, "
            f"the vocabularies have {source_vocabulary} and {target_vocabulary} tokens",
            fix="set tokenizer.joint=true, or model.share_embeddings=output",
        )
    encoder = ENCODERS[model.encoder](model, source_vocabulary)
    decoder = DECODERS[model.decoder](model, target_vocabulary, encoder.size)
    if model.share_embeddings == "all":
        encoder.embed.table.weight = decoder.embed.table.weight  # type: ignore[union-attr]
    return EncoderDecoder(encoder, decoder)
