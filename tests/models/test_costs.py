"""What encoders say they cost (claim N10), against torch's counter and against what really reaches what."""

from __future__ import annotations

import pytest
import torch

from regard.config import Model
from regard.data.tokens import Tokens
from regard.look.flops import flop_counter
from regard.models import ENCODERS
from regard.models.interface import Costs, Encoder

SETTINGS = {"layers": 3, "size": 16, "heads": 4, "inner": 24, "dropout": 0.0}


def encoder(name: str, **options: object) -> Encoder:
    return ENCODERS[name](Model.model_validate({**SETTINGS, **options}), 11).eval()


def costs(made: Encoder, length: int) -> Costs:
    found = made.costs(length)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("length", [1, 7, 40])
@torch.no_grad()
def test_n10_operations_are_those_that_torch_counts(name: str, length: int) -> None:
    made = encoder(name)
    with flop_counter() as counter:
        made(Tokens.of([[4] * length]))
    assert 2 * costs(made, length).operations == counter.get_total_flops()


@pytest.mark.parametrize("name", ENCODERS)
def test_n10_they_grow_as_the_notes_say(name: str) -> None:
    made = encoder(name)
    small, large = costs(made, 1000), costs(made, 2000)
    growth = large.operations / small.operations
    assert growth > 3 if name in ("transformer", "hybrid") else growth == 2
    waits = {"transformer": (3, 3), "recurrent": (3000, 6000), "convolutional": (3, 3), "hybrid": (3, 3)}
    assert (small.sequential_steps, large.sequential_steps) == waits[name]
    assert (small.longest_path, large.longest_path) == {
        "transformer": (1, 1),
        "recurrent": (999, 1999),
        "convolutional": (None, None),  # three layers of kernel 3 reach 3 positions
        "hybrid": (1, 1),
    }[name]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("convolution", ["plain", "dilated"])
@torch.no_grad()
def test_n10_a_path_is_there_where_the_first_symbol_reaches_the_last_state(name: str, convolution: str) -> None:
    made = encoder(name, convolution=convolution, kernel=5, bidirectional=False)
    for length in (2, 5, 7, 8, 13, 14, 15, 16):
        ids = torch.full((2, length), 4)
        ids[1, 0] = 5
        first, second = made(Tokens(ids, torch.tensor([length, length]))).states[:, -1]
        assert torch.equal(first, second) == (costs(made, length).longest_path is None)


def test_n10_a_convolution_needs_n_over_k_layers() -> None:
    made = encoder("convolutional", kernel=5)  # two positions a layer
    assert [costs(made, length).longest_path for length in (1, 2, 3, 4, 5, 7, 8)] == [0, 1, 1, 2, 2, 3, None]
