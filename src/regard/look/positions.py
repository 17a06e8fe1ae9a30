"""The positions of a model as a heat map (claim N9): what is added to embeddings, or what distances mean inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.attention.relative import Relative, RelativeBias, RelativeKeys, Rotary
from regard.errors import UsageError
from regard.layers.embedding import Embedding
from regard.layers.positions import NoPositions, sinusoids
from regard.look.heat_map import new_figure, save_figure


@dataclass(frozen=True)
class PositionMap:
    """`values` [rows, columns]; the first row stands for `first`."""

    title: str
    values: Tensor
    first: int
    row_name: str
    column_name: str


@torch.no_grad()
def position_map(part: nn.Module, count: int = 60) -> PositionMap:
    """Of an encoder or a decoder. UsageError if it knows no positions, or some of the user's own inside attention."""
    embed = next((module for module in part.modules() if isinstance(module, Embedding)), None)
    if embed is not None and not isinstance(embed.positions, NoPositions):
        count = min(count, embed.longest or count)
        codes = embed.positions(torch.zeros(1, count, embed.table.embedding_dim))[0]
        return PositionMap(f"{type(embed.positions).__name__} positions", codes, 0, "position", "feature")
    relative = next((module for module in part.modules() if isinstance(module, Relative)), None)
    if isinstance(relative, Rotary):
        angles = sinusoids(0, count, relative.head_size)
        return PositionMap(
            "Rotary positions: sine and cosine of the angles", angles, 0, "position", "feature of a head"
        )
    if isinstance(relative, RelativeKeys):
        vectors = relative.table.detach()
        return PositionMap(
            "Vectors of distances, first layer", vectors, -relative.REACH, "distance", "feature of a head"
        )
    if isinstance(relative, RelativeBias):
        half = count // 2
        query = torch.zeros(1, relative.table.shape[1], 1, 1)
        bias = relative.bias(query, half, 1 if half == 0 else half + (1 if relative.causal else half))
        assert bias is not None
        return PositionMap("Bias of distances, first layer", bias[0, :, 0].T, -half, "distance", "head")
    raise UsageError(f"this {type(part).__name__} knows no positions that can be drawn")


def save_positions(shown: PositionMap, path: Path) -> None:
    """A PNG or SVG, by its suffix: blue below 0, red above."""
    figure, values = new_figure(8, 6), shown.values
    axis = figure.subplots()
    most = max(values.abs().max().item(), 1e-9)
    rows, columns = values.shape
    extent = (-0.5, columns - 0.5, shown.first + rows - 0.5, shown.first - 0.5)
    image = axis.imshow(
        values.tolist(), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest", extent=extent
    )
    axis.set(title=shown.title, xlabel=shown.column_name, ylabel=shown.row_name)
    figure.colorbar(image, ax=axis)
    save_figure(figure, path)
