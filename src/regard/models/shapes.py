"""The settings of a recipe as the sizes and choices that each architecture takes."""

from __future__ import annotations

from regard.config import Model
from regard.models.convolutional import Convolution
from regard.models.recurrent import Recurrence
from regard.models.transformer import Shape


def transformer_shape(model: Model, decoder: bool = False) -> Shape:
    """For the encoder, or for the decoder."""
    return Shape(
        size=model.size,
        heads=model.heads,
        inner=model.inner,
        norm=_norm(model, decoder),
        norm_first=model.norm_first,
        groups=model.groups,
        activation=model.activation,
        gated=model.gated,
        positions=_positions(model, decoder),
        longest=model.longest,
        score=model.score,
        bias=model.bias,
        dropout=model.dropout,
        attention_dropout=model.attention_dropout,
        inner_dropout=model.inner_dropout,
    )


def recurrent_shape(model: Model, decoder: bool = False) -> Recurrence:
    """For the encoder, or for the decoder."""
    return Recurrence(
        size=model.size,
        heads=model.heads,
        cell=model.cell,
        bidirectional=model.bidirectional,
        look=model.look,
        input_feeding=model.input_feeding,
        score=model.score,
        norm=_norm(model, decoder),
        norm_first=model.norm_first,
        groups=model.groups,
        positions=_positions(model, decoder),
        longest=model.longest,
        bias=model.bias,
        dropout=model.dropout,
        attention_dropout=model.attention_dropout,
        inner_dropout=model.inner_dropout,
    )


def convolutional_shape(model: Model, decoder: bool = False) -> Convolution:
    """For the encoder, or for the decoder."""
    return Convolution(
        size=model.size,
        heads=model.heads,
        kernel=model.kernel,
        convolution=model.convolution,
        norm=_norm(model, decoder),
        norm_first=model.norm_first,
        groups=model.groups,
        positions=_positions(model, decoder),
        longest=model.longest,
        score=model.score,
        bias=model.bias,
        dropout=model.dropout,
        attention_dropout=model.attention_dropout,
        inner_dropout=model.inner_dropout,
    )


def _norm(model: Model, decoder: bool) -> str:
    return (decoder and model.decoder_norm) or model.norm


def _positions(model: Model, decoder: bool) -> str:
    return (decoder and model.decoder_positions) or model.positions
