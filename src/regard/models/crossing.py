"""Which attentions of a decoder look at the source, found by watching it for one step: whatever the decoder is."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.attention.record import observed
from regard.data.tokens import Tokens
from regard.models.interface import EncoderDecoder
from regard.text.tokenizer import BOS, EOS

SEEN = 3  # source tokens: another number than the one step that the decoder takes


def cross_attentions(model: EncoderDecoder) -> tuple[str, ...]:
    """The names of the modules, in the order of the layers; none in a decoder that has no attention to the source.

    The model is as before when this returns, and nothing was drawn at random.
    """
    found: dict[str, None] = {}

    def see(name: str, weights: Tensor, value: Tensor) -> None:
        if weights.shape[3] == SEEN:
            found[f"decoder.{name}"] = None

    device, trains = next(model.parameters()).device, model.training
    source, previous = Tokens.of([[EOS] * SEEN]).to(device), Tokens.of([[BOS]]).to(device)
    try:
        model.eval()
        with torch.no_grad(), observed(model.decoder, see):
            model.decoder(previous, model.encode(source))
    finally:
        model.train(trains)
    return tuple(found)
