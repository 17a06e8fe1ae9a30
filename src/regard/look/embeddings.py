"""Which symbols a model takes for alike (claim N20): nearest neighbours, and a plane that shows them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from regard.errors import UsageError
from regard.look.heat_map import new_figure, save_figure, shown
from regard.text.tokenizer import BOS, EOS, PAD, UNK
from regard.translator import Translator

Side = Literal["source", "target"]


@dataclass(frozen=True)
class Symbols:
    """The symbols of one side's vocabulary, the special ones left out, and their embeddings [N, D]."""

    names: tuple[str, ...]
    vectors: Float[Tensor, "N D"]

    @staticmethod
    def of(translator: Translator, side: Side = "source") -> Symbols:
        """From a model. UsageError if its encoder or decoder has no table of embeddings."""
        tokenizer = translator.tokenizers.source if side == "source" else translator.tokenizers.target
        part = translator.model.encoder if side == "source" else translator.model.decoder
        table = getattr(getattr(part, "embed", None), "table", None)
        if table is None:
            raise UsageError(f"a {type(part).__name__} has no table of embeddings")
        ids = [token for token in range(len(tokenizer)) if token not in (PAD, BOS, EOS, UNK)]
        return Symbols(tuple(tokenizer.symbols(ids)), table.weight.detach()[ids])

    def nearest(self, name: str, count: int = 10) -> list[tuple[str, float]]:
        """The `count` other symbols with the greatest cosine to it, greatest first. UsageError for one not there."""
        if name not in self.names:
            known = ", ".join(self.names[:20])
            raise UsageError(
                f"the vocabulary has no symbol {name!r}", fix=f"name one as the model knows it: {known}..."
            )
        place = self.names.index(name)
        cosines = functional.cosine_similarity(self.vectors[place], self.vectors)
        order = [other for other in cosines.argsort(descending=True, stable=True).tolist() if other != place]
        return [(self.names[other], cosines[other].item()) for other in order[:count]]


def plane(vectors: Float[Tensor, "N D"]) -> tuple[Float[Tensor, "N 2"], float]:
    """The two directions in which the vectors differ most (principal components), and the share of variance in them.

    The sign of a direction means nothing; the largest coordinate is made positive, so a picture comes out the same.
    """
    centred = (vectors - vectors.mean(0)).double()
    left, size, _ = torch.linalg.svd(centred, full_matrices=False)
    points = functional.pad(left[:, :2] * size[:2], (0, max(0, 2 - len(size))))
    largest = points.gather(0, points.abs().argmax(0, keepdim=True))
    share = size[:2].square().sum() / size.square().sum().clamp(min=1e-30)
    return (points * torch.where(largest < 0, -1.0, 1.0)).to(vectors.dtype), share.item()


def save_plane(names: Sequence[str], vectors: Float[Tensor, "N D"], path: Path, title: str) -> None:
    """A picture (PNG or SVG by its suffix): each name at its place in the plane of `vectors`."""
    points, share = plane(vectors)
    figure = new_figure(9, 8)
    axis = figure.subplots()
    axis.scatter(points[:, 0].tolist(), points[:, 1].tolist(), s=6, color="#bbbbbb")
    for name, (x, y) in zip(names, points.tolist(), strict=True):
        axis.annotate(shown(name), (x, y), fontsize=9, color="#224488", ha="center", va="center", parse_math=False)
    axis.set_title(f"{title}: {share:.0%} of the variance", parse_math=False)
    axis.set(xlabel="first principal component", ylabel="second")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    save_figure(figure, path)
