"""What is timed: a size of model, random weights for it, sentences, and what a contender is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch

from regard.config import Model
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.text.tokenizer import EOS
from regard.text.vocabulary import SPECIALS

SOURCE = 20  # tokens of a source, the eos among them
STEPS = 20  # of the decoder, for every contender
Search = Callable[[list[list[int]], int, int], list[list[int]]]
"""Sources that end in eos, a beam (1: greedy) and how many ids to say, to those ids."""


@dataclass(frozen=True)
class Shape:
    """A size of model."""

    name: str
    size: int
    heads: int
    inner: int
    layers: int
    vocabulary: int


SHAPES = {shape.name: shape for shape in (Shape("tiny", 128, 4, 512, 4, 8000), Shape("base", 512, 8, 2048, 6, 32000))}


@dataclass(frozen=True)
class Subject:
    """One model, for all contenders; those whose format cannot hold its weights take the shape alone."""

    shape: Shape
    model: EncoderDecoder
    threads: int


@dataclass(frozen=True)
class Contender:
    """A search.

    `same`: it has the subject's weights, so its answers are compared; at the same precision (`exact`) they have to be
    equal. `spare` is how many ids fewer it has to say for the decoder to run `STEPS` times.
    """

    search: Search
    same: bool = True
    exact: bool = True
    beams: bool = True
    spare: int = 0


def random_model(shape: Shape) -> EncoderDecoder:
    """The Transformer as the paper has it (post-norm, relu, sinusoidal, one table of embeddings), weights drawn.

    Fresh weights say one token for ever, whatever they read. So attention is made to choose, what the blocks add is
    made smaller than what the last token brings, and half of the features turn their sign at the end, for a token is
    else most like itself. Padding, bos, eos and unknown get an embedding of zeros: their logit is 0, far below the
    best. So no search ends early or says one of them, whether it forbids them or not, and nobody pays for forbidding.
    """
    torch.manual_seed(1)
    settings = Model(
        layers=shape.layers,
        size=shape.size,
        heads=shape.heads,
        inner=shape.inner,
        norm_first=False,
        share_embeddings="all",
        dropout=0.0,
    )
    model = build(settings, shape.vocabulary, shape.vocabulary)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "blocks" in name and weight.dim() == 2:
                weight.mul_(2.0 if "query" in name or "key" in name else 0.5)
        sign = torch.randint(2, (shape.size,)) * 2.0 - 1.0
        model.get_parameter(f"decoder.blocks.{shape.layers - 1}.around_feed_forward.norm.weight").copy_(3.0 * sign)
        model.get_parameter("decoder.embed.table.weight")[: len(SPECIALS)] = 0.0
    return model.eval()


def random_sources(shape: Shape, count: int, shortest: int = SOURCE, seed: int = 1) -> list[list[int]]:
    """Sentences of `shortest` to `SOURCE` tokens, the eos among them."""
    draw = random.Random(seed)
    lengths = [draw.randint(shortest, SOURCE) for _ in range(count)]
    return [[*(draw.randrange(len(SPECIALS), shape.vocabulary) for _ in range(n - 1)), EOS] for n in lengths]
