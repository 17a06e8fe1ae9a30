"""One paper a file. `build` turns the model section of a recipe into an encoder and a decoder.

To add an architecture: write its file against interface.py, add a builder and a line to ENCODERS and DECODERS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from regard.config import Model
from regard.errors import RecipeError
from regard.layers.embedding import Embedding
from regard.models.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from regard.models.hybrid import HybridEncoder
from regard.models.interface import Decoder, Encoder, EncoderDecoder
from regard.models.recurrent import RecurrentDecoder, RecurrentEncoder
from regard.models.shapes import convolutional_shape, recurrent_shape, transformer_shape
from regard.models.transformer import TransformerDecoder, TransformerEncoder


def _transformer_encoder(model: Model, vocabulary: int) -> Encoder:
    return TransformerEncoder(vocabulary, model.layers, transformer_shape(model))


def _transformer_decoder(model: Model, vocabulary: int, memory_size: int) -> Decoder:
    shape = transformer_shape(model, decoder=True)
    return TransformerDecoder(vocabulary, _depth(model), shape, memory_size=memory_size, share_output=_shares(model))


def _recurrent_encoder(model: Model, vocabulary: int) -> Encoder:
    return RecurrentEncoder(vocabulary, model.layers, recurrent_shape(model))


def _recurrent_decoder(model: Model, vocabulary: int, memory_size: int) -> Decoder:
    shape = recurrent_shape(model, decoder=True)
    return RecurrentDecoder(vocabulary, _depth(model), shape, memory_size=memory_size, share_output=_shares(model))


def _convolutional_encoder(model: Model, vocabulary: int) -> Encoder:
    return ConvolutionalEncoder(vocabulary, model.layers, convolutional_shape(model))


def _convolutional_decoder(model: Model, vocabulary: int, memory_size: int) -> Decoder:
    shape = convolutional_shape(model, decoder=True)
    return ConvolutionalDecoder(vocabulary, _depth(model), shape, memory_size=memory_size, share_output=_shares(model))


def _hybrid_encoder(model: Model, vocabulary: int) -> Encoder:
    return HybridEncoder(vocabulary, model.layers, convolutional_shape(model), transformer_shape(model))


ENCODERS: dict[str, Callable[[Model, int], Encoder]] = {
    "transformer": _transformer_encoder,
    "recurrent": _recurrent_encoder,
    "convolutional": _convolutional_encoder,
    "hybrid": _hybrid_encoder,
}
DECODERS: dict[str, Callable[[Model, int, int], Decoder]] = {
    "transformer": _transformer_decoder,
    "recurrent": _recurrent_decoder,
    "convolutional": _convolutional_decoder,
}


def build(model: Model, source_vocabulary: int, target_vocabulary: int) -> EncoderDecoder:
    """The model a recipe asks for, with fresh weights from torch's random state.

    RecipeError for parts that do not go together, and where one table of embeddings is asked for and the vocabularies
    differ in size.
    """
    if model.share_embeddings == "all" and source_vocabulary != target_vocabulary:
        raise RecipeError(
            f"model.share_embeddings=all shares one table of embeddings, "
            f"the vocabularies have {source_vocabulary} and {target_vocabulary} tokens",
            fix="set tokenizer.joint=true, or model.share_embeddings=output",
        )
    encoder = ENCODERS[model.encoder_name](model, source_vocabulary)
    decoder = DECODERS[model.decoder_name](model, target_vocabulary, encoder.size)
    if model.share_embeddings == "all":
        _share(encoder, decoder)
    return EncoderDecoder(encoder, decoder)


def outline(model: Model, source_vocabulary: int, target_vocabulary: int) -> EncoderDecoder:
    """The model as `build` makes it, but for numbers: it takes no memory and draws nothing (torch's meta device)."""
    with torch.device("meta"), _NothingFilled():
        return build(model, source_vocabulary, target_vocabulary)


class _NothingFilled(TorchFunctionMode):
    """Leaves out what works in place, for there are no numbers: on the meta device torch imports its compiler to draw
    them, which takes a second."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, named = getattr(func, "__name__", ""), kwargs or {}
        if name.endswith("_") and not name.endswith("__"):
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _share(encoder: Encoder, decoder: Decoder) -> None:
    """One table for both; RecipeError where one of them, a part of the user's own, has none."""
    for part in (encoder, decoder):
        if not isinstance(getattr(part, "embed", None), Embedding):
            raise RecipeError(
                f"model.share_embeddings=all needs an Embedding named `embed`, {type(part).__name__} has none",
                fix="set model.share_embeddings=output or none",
            )
    encoder.embed.table.weight = decoder.embed.table.weight  # type: ignore[union-attr]


def _depth(model: Model) -> int:
    return model.decoder_layers or model.layers


def _shares(model: Model) -> bool:
    return model.share_embeddings != "none"
