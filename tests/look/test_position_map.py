"""The heat map of positions (claim N9) for every kind there is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from regard.config import Model
from regard.errors import UsageError
from regard.layers.positions import sinusoids
from regard.look.positions import position_map, save_positions
from regard.models import build
from regard.models.interface import EncoderDecoder

SETTINGS = {"layers": 1, "size": 16, "heads": 2, "inner": 8, "dropout": 0.5, "longest": 30}


def model(positions: str) -> EncoderDecoder:
    return build(Model.model_validate({**SETTINGS, "positions": positions}), 9, 9)


def test_n09_the_map_holds_what_the_model_adds() -> None:
    shown = position_map(model("sinusoidal").encoder, 50)
    assert_close(shown.values, sinusoids(0, 50, 16))
    assert (shown.row_name, shown.column_name) == ("position", "feature")
    learned = model("learned")
    assert_close(
        position_map(learned.encoder, 50).values, learned.encoder.get_parameter("embed.positions.table.weight")
    )


def test_what_distances_mean_inside() -> None:
    made = model("relative_bias")
    for part, last in ((made.encoder, 19), (made.decoder, 0)):
        shown = position_map(part, 40)
        table = part.get_parameter("blocks.0.attention.relative.table")
        assert (shown.first, shown.values.shape) == (-20, (20 + last + 1, 2))
        assert torch.equal(shown.values[20], table[0])  # distance 0
        assert torch.equal(shown.values[19], table[1])
    assert position_map(model("relative").encoder).first == -16
    assert_close(position_map(model("rotary").encoder, 7).values, sinusoids(0, 7, 8))


def test_a_model_without_positions_says_so() -> None:
    with pytest.raises(UsageError, match="knows no positions"):
        position_map(model("none").encoder)


@pytest.mark.parametrize("positions", ["sinusoidal", "relative_bias"])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture(positions: str, suffix: str, tmp_path: Path) -> None:
    save_positions(position_map(model(positions).encoder), tmp_path / f"map{suffix}")
    assert (tmp_path / f"map{suffix}").stat().st_size > 2000
