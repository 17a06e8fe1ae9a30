"""Weights as text in a page: one or two bytes a number, only what may be attended to, within a stated size.

Two bytes are float16 (three significant digits). One byte holds the square root of a number's share of the largest, so
that small weights stay apart: a weight w is off by at most sqrt(w) / 255 + 1 / 260100. In both a 0 is exactly 0. Norms
are weights times a length of each key; where that is so, only the lengths are packed.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regard.errors import UsageError
from regard.inside.result import Attention, Look

FINE = 1_450_000  # characters of a page up to which its numbers take two bytes
NORMS = 13_000_000  # characters up to which norms are kept beside the weights
STEPS = 255  # above 0, of a byte
CHARACTERS = 4 / 3  # of base64 for a byte


@dataclass
class Pack:
    """What goes into a page: the plain facts, and the numbers as base64, which the facts name by their place."""

    bits: int
    blocks: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, content: bytes) -> int:
        """The place of some bytes."""
        self.blocks.append(base64.b64encode(content).decode())
        return len(self.blocks) - 1


@dataclass(frozen=True)
class Kept:
    """The heads of a layer that go into the page, and whether their norms do: as `lengths` of keys, or one a cell."""

    layer: Attention
    heads: tuple[int, ...]
    norms: bool
    lengths: Float[Tensor, "H K"] | None = None

    @property
    def numbers(self) -> int:
        """How many there are to pack."""
        cells = self.layer.weights[0].numel()
        if is_triangle(self.layer):
            rows = self.layer.weights.shape[1]
            cells = rows * (rows + 1) // 2
        return len(self.heads) * cells * (1 + (self.norms and self.lengths is None))

    def __str__(self) -> str:
        every = len(self.heads) == len(self.layer.weights)
        return self.layer.name if every else ", ".join(f"{self.layer.name}.{head}" for head in self.heads)


def packed(
    looks: Sequence[Look], keep: Sequence[str], most: float, beside: int = 0
) -> tuple[Pack, list[dict[str, Any]]]:
    """The numbers of looks in at most `most` characters, and per look what its attentions and opinions are.

    `beside`: characters of the page that are no numbers. UsageError if `keep` names what no look has.
    """
    wanted = [chosen(look, keep) for look in looks]
    if missing := [name for name in keep if not any(_holds(each, name) for layers in wanted for each in layers)]:
        raise UsageError(
            f"wanted attentions of the look, found none named {', '.join(missing)}",
            fix="name parts (cross), layers (encoder.2) or heads (decoder.1.3)",
        )
    kept, left_out = _fitting(wanted, most)
    total = sum(each.numbers for layers in kept for each in layers) * CHARACTERS
    pack = Pack(16 if total * 2 + beside <= FINE else 8, left_out=left_out)
    return pack, [
        {
            "attentions": [_attention(each, pack) for each in layers],
            "opinions": {name: _opinion(values, pack) for name, values in look.opinions.items()},
        }
        for look, layers in zip(looks, kept, strict=True)
    ]


def chosen(look: Look, keep: Sequence[str]) -> list[Kept]:
    """The layers of a look with the heads that `keep` names; all if it names none."""
    found = []
    for layer in look.attentions:
        heads = range(len(layer.weights))
        names = {layer.part, layer.name}
        some = [head for head in heads if not keep or names & set(keep) or f"{layer.name}.{head}" in keep]
        if some and layer.weights.numel():
            found.append(Kept(layer, tuple(some), layer.norms is not None, key_lengths(layer)))
    return found


def key_lengths(layer: Attention) -> Float[Tensor, "H K"] | None:
    """What each key's weights are to be multiplied with to give the norms; None if no such numbers do."""
    if layer.norms is None or not layer.weights.numel():
        return None
    at = layer.weights.argmax(1, keepdim=True)
    lengths = (layer.norms.gather(1, at) / layer.weights.gather(1, at)).nan_to_num(0.0, 0.0, 0.0)
    fits = torch.allclose(layer.weights * lengths, layer.norms, rtol=1e-3, atol=1e-6 * float(layer.norms.max()))
    return lengths[:, 0] if fits else None


def is_triangle(layer: Attention) -> bool:
    """Whether no query attends to a later key."""
    weights = layer.weights
    return layer.part == "decoder" and weights.shape[1] == weights.shape[2] and not weights.triu(1).any()


def bytes_of(values: Float[Tensor, "*S"], bits: int, least: float = 0.0) -> tuple[bytes, float]:
    """Numbers that are not negative, as bytes, and the number that they are shares of: a power of two, `least` or more.

    So equal numbers of two looks stay equal, whatever else is packed with them.
    """
    finite = values.detach().float().nan_to_num(0.0, 0.0, 0.0).clamp_min(0.0).flatten()
    largest = max(least, float(finite.max())) if len(finite) else least
    top = 2.0 ** math.ceil(math.log2(largest)) if largest > 0 else 1.0
    shares = finite / top
    if bits == 16:
        return shares.half().numpy().astype("<f2").tobytes(), top
    steps: UInt8[Tensor, " N"] = (shares.sqrt() * STEPS).round().to(torch.uint8)
    return steps.numpy().tobytes(), top


def _holds(each: Kept, name: str) -> bool:
    return name in {each.layer.part, each.layer.name, *(f"{each.layer.name}.{head}" for head in each.heads)}


def _fitting(wanted: list[list[Kept]], most: float) -> tuple[list[list[Kept]], list[str]]:
    """What fits at a byte a number: norms go first, then layers, the lowest first and the cross-attentions last."""
    kept, left_out = wanted, []

    def size() -> float:
        return sum(each.numbers for layers in kept for each in layers) * CHARACTERS

    if size() > min(NORMS, most) and any(each.norms and each.lengths is None for layers in kept for each in layers):
        kept = [[replace(each, norms=each.norms and each.lengths is not None) for each in one] for one in kept]
        left_out.append("norms")
    queue = sorted({(each.layer.part == "cross", each.layer.layer, each.layer.name) for one in kept for each in one})
    for *_, name in queue:
        if size() <= most:
            break
        left_out += sorted({str(each) for layers in kept for each in layers if each.layer.name == name})
        kept = [[each for each in layers if each.layer.name != name] for layers in kept]
    return kept, left_out


def _attention(kept: Kept, pack: Pack) -> dict[str, Any]:
    layer, triangle = kept.layer, is_triangle(kept.layer)
    _, rows, columns = layer.weights.shape
    return {
        "part": layer.part,
        "layer": layer.layer,
        "heads": list(kept.heads),
        "rows": rows,
        "columns": columns,
        "triangle": triangle,
        "weights": _block(layer.weights, kept.heads, triangle, pack),
        "norms": _norms(kept, triangle, pack),
    }


def _norms(kept: Kept, triangle: bool, pack: Pack) -> dict[str, Any] | None:
    if not kept.norms or kept.layer.norms is None:
        return None
    if kept.lengths is None:
        return _block(kept.layer.norms, kept.heads, triangle, pack)
    content, top = bytes_of(kept.lengths[list(kept.heads)], 16)
    return {"lengths": pack.add(content), "top": top}


def _block(values: Float[Tensor, "H Q K"], heads: Sequence[int], triangle: bool, pack: Pack) -> dict[str, Any]:
    some = values[list(heads)]
    if triangle:
        row, column = torch.tril_indices(values.shape[1], values.shape[2])
        some = some[:, row, column]
    content, top = bytes_of(some, pack.bits, least=1.0)
    return {"block": pack.add(content), "top": top}


def _opinion(values: Float[Tensor, "T S"], pack: Pack) -> dict[str, Any]:
    """May be negative, and is small: float16 whatever the rest is."""
    finite = values.detach().float().nan_to_num(0.0, 0.0, 0.0)
    top = float(finite.abs().max()) if finite.numel() else 0.0
    shares = (finite / (top or 1.0)).half().numpy().astype("<f2").tobytes()
    return {"block": pack.add(shares), "top": top, "rows": values.shape[0], "columns": values.shape[1]}
