"""The model section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from regard.config.names import (
    ActivationName,
    ArchitectureName,
    CellName,
    ConvolutionName,
    DecoderName,
    EncoderName,
    NormName,
    PositionsName,
    ScoreName,
)
from regard.config.section import Layers, Section, Share, Unset

MOST_WEIGHTS = 10**11  # of a model, about; 400 GB


class Model(Section):
    """What is built. Sizes are numbers of features. What an architecture has no use for, it does not read."""

    architecture: ArchitectureName = Field("transformer", description="of encoder and decoder")
    encoder: EncoderName | None = Field(None, description="the encoder's architecture if another one")
    decoder: DecoderName | None = Field(None, description="the decoder's architecture if another one")
    layers: Layers = Field(description="blocks of the encoder, and of the decoder")
    decoder_layers: Annotated[Layers | None, Unset] = Field(None, description="blocks of the decoder if not as many")
    size: Annotated[int, Field(ge=1, le=65_536)] = Field(description="features of a position (d_model)")
    heads: Annotated[int, Field(ge=1, le=4096)] = Field(description="attention heads; must divide size")
    inner: Annotated[int, Field(ge=1, le=1_048_576)] = Field(
        description="features inside the feed-forward network (transformer)"
    )
    norm: NormName = Field("layer", description="what is normalised")
    decoder_norm: NormName | None = Field(None, description="the decoder's norm if another one")
    norm_first: bool = Field(True, description="norm before each sublayer (pre-norm) or after (post-norm, the paper)")
    groups: Annotated[int, Field(ge=1, le=65_536)] = Field(
        4, description="of features, for the group norm and grouped convolutions; must divide size"
    )
    activation: ActivationName = Field("relu", description="of the feed-forward network (transformer)")
    gated: bool = Field(False, description="gate the feed-forward network (GLU; transformer)")
    positions: PositionsName = Field("sinusoidal", description="how a model knows the order")
    decoder_positions: PositionsName | None = Field(None, description="the decoder's positions if others")
    longest: Annotated[int, Field(ge=2, le=1_000_000)] = Field(1024, description="positions that `learned` has")
    score: ScoreName = Field("scaled_dot", description="how a query and a key are compared")
    bias: bool = Field(True, description="biases in linear layers and convolutions")
    cell: CellName = Field("gru", description="of a recurrent layer")
    bidirectional: bool = Field(True, description="a recurrent encoder reads both ways, half of the features each")
    look: Literal["before", "after"] = Field(
        "before",
        description="a recurrent decoder looks at the source before its cells run (Bahdanau) or after (Luong)",
    )
    input_feeding: bool = Field(False, description="with look=after: the cells also read what the last step saw")
    convolution: ConvolutionName = Field("plain", description="of a convolutional layer")
    kernel: Annotated[int, Field(ge=1, le=1001)] = Field(3, description="positions that a convolution reads; odd")
    share_embeddings: Literal["none", "output", "all"] = Field(
        "output", description="output: target embedding = output layer; all: the source's too (joint tokenizer)"
    )
    dropout: Share = Field(description="after embeddings and sublayers")
    attention_dropout: Share = Field(0.0, description="of attention weights")
    inner_dropout: Share = Field(
        0.0, description="inside the feed-forward network, on the input of a convolution, before a recurrent readout"
    )

    @property
    def encoder_name(self) -> str:
        """The encoder's architecture."""
        return self.encoder or self.architecture

    @property
    def decoder_name(self) -> str:
        """The decoder's architecture."""
        return self.decoder or self.architecture

    @field_validator("heads")
    @classmethod
    def _heads_divide(cls, heads: int, others: ValidationInfo) -> int:
        size = others.data.get("size", 0)  # missing where it is at fault itself
        if size % heads:
            raise ValueError(f"Input should divide model.size, which is {size}")
        return heads

    @field_validator("kernel")
    @classmethod
    def _kernel_has_a_middle(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("Input should be odd, so that a convolution reads as far to the left as to the right")
        return kernel

    @field_validator("input_feeding")
    @classmethod
    def _feeds_what_was_seen_after(cls, input_feeding: bool, others: ValidationInfo) -> bool:
        if input_feeding and others.data.get("look") == "before":
            raise ValueError("Input should be false with look=before, whose cells read what was seen anyway")
        return input_feeding

    @model_validator(mode="after")
    def _can_be_built(self) -> Model:
        blocks = self.layers + (self.decoder_layers or self.layers)
        weights = blocks * self.size * (4 * self.size + 2 * self.inner)
        if weights > MOST_WEIGHTS:
            raise ValueError(f"layers, size and inner make about {weights:.0e} weights, {MOST_WEIGHTS:.0e} at most")
        return self
