"""The hybrid encoder is the two it is made of: each alone where the other adds nothing."""

from __future__ import annotations

import re

import torch
from torch import nn
from torch.testing import assert_close

from regard.data.tokens import Tokens
from regard.models.convolutional import Convolution, ConvolutionalEncoder
from regard.models.hybrid import HybridEncoder
from regard.models.transformer import Shape, TransformerEncoder

NEAR = Convolution(size=8, kernel=5, norm_first=True, dropout=0.0)
FAR = Shape(size=8, heads=2, inner=12, norm_first=True, dropout=0.0)
SOURCE = Tokens.of([[4, 5, 6, 7, 8], [9, 10], []])


def silent(blocks: nn.Module, *last: str) -> None:
    """Branches that add nothing to what they are given."""
    with torch.no_grad():
        for name, parameter in blocks.named_parameters():
            if any(f"{part}." in name for part in last):
                parameter.zero_()


def same_weights(to: nn.Module, own: nn.Module, blocks: str) -> None:
    """`to` gets those of `own`, and as its blocks those that `own` has under that name."""
    weights = own.state_dict()
    to.load_state_dict({name: weights[re.sub("^blocks", blocks, name)] for name in to.state_dict()})


def test_where_convolutions_add_nothing_it_is_a_transformer() -> None:
    hybrid, plain = HybridEncoder(12, 4, NEAR, FAR), TransformerEncoder(12, 2, FAR)
    silent(hybrid.near_blocks, "convolution")
    same_weights(plain, hybrid, "blocks")
    assert_close(hybrid(SOURCE).states, plain(SOURCE).states)


def test_where_attention_adds_nothing_it_is_convolutional() -> None:
    hybrid, plain = HybridEncoder(12, 4, NEAR, FAR), ConvolutionalEncoder(12, 2, NEAR)
    silent(hybrid.blocks, "output", "narrow")
    same_weights(plain, hybrid, "near_blocks")
    assert_close(hybrid(SOURCE).states, plain(SOURCE).states)


def test_half_of_the_blocks_rounded_down_are_convolutions() -> None:
    made = [HybridEncoder(12, layers, NEAR, FAR) for layers in (1, 2, 3, 4, 5)]
    assert [len(each.near_blocks) for each in made] == [0, 1, 1, 2, 2]
    assert [len(each.blocks) for each in made] == [1, 1, 2, 2, 3]
