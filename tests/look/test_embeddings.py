"""Neighbours and the plane of symbols (claim N20)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from regard.errors import UsageError
from regard.look.embeddings import Symbols, plane, save_plane
from small import untrained


def test_n20_nearest_neighbours_by_cosine() -> None:
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [-1.0, 0.0]])
    symbols = Symbols(("a", "b", "c", "d"), vectors)
    found = symbols.nearest("a", 3)
    assert [name for name, _ in found] == ["b", "c", "d"]
    assert [cosine for _, cosine in found] == pytest.approx([2 / (4.01**0.5), 0, -1])
    assert symbols.nearest("a", 99) == found
    with pytest.raises(UsageError, match="no symbol 'z'") as caught:
        symbols.nearest("z")
    assert "a, b, c, d" in caught.value.fix


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_symbols_of_a_model(side: str) -> None:
    translator = untrained()
    symbols = Symbols.of(translator, "source" if side == "source" else "target")
    tokenizer = translator.tokenizers.source if side == "source" else translator.tokenizers.target
    part = translator.model.encoder if side == "source" else translator.model.decoder
    assert len(symbols.names) == len(tokenizer) - 4
    assert "<eos>" not in symbols.names
    [token] = tokenizer.encode(symbols.names[3])
    assert torch.equal(symbols.vectors[3], part.get_parameter("embed.table.weight")[token])


def test_plane_is_the_principal_components() -> None:
    vectors = (torch.randn(30, 2) @ torch.randn(2, 8) + torch.randn(8)).double()  # all of it lies in a plane
    points, share = plane(vectors)
    assert share == pytest.approx(1, abs=1e-5)
    assert_close(torch.cdist(points, points), torch.cdist(vectors, vectors), atol=1e-6, rtol=1e-6)
    assert points[:, 0].var() >= points[:, 1].var()
    again, _ = plane(vectors.clone())
    assert torch.equal(again, points)


@pytest.mark.parametrize("count", [1, 2])
def test_a_plane_of_hardly_any_symbols(count: int) -> None:
    points, _ = plane(torch.randn(count, 5))
    assert points.shape == (count, 2)
    assert points.isfinite().all()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_takes_any_names(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"plane{suffix}"
    save_plane(("$a$", "字", "ʃ", "<b>"), torch.randn(4, 6), path, "$title_")
    assert path.stat().st_size > 1000
