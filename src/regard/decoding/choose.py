"""The parts of a step that strategies share: logits to log-probabilities, forbid, choose the best.

All of it works row by row: what a row gets does not depend on the rows beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.errors import RegardError

_BLOCK = 64  # columns looked at as one, in long rows
_LONG_ROW = 1024  # columns from which on two stages were measured to be faster than one
_FEW = 2**15  # numbers below which one stage was measured to be faster however long the rows are


class LogSoftmax:
    """`log_probabilities` into a tensor that is kept: finding the pages of a new one costs more than the numbers."""

    def __init__(self) -> None:
        self.room: Tensor | None = None

    def __call__(self, logits: Float[Tensor, "R V"]) -> Float[Tensor, "R V"]:
        """Overwritten by the next call."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        if self.room is None or len(self.room) < len(logits) or self.room.dtype != dtype:
            self.room = torch.empty(logits.shape, dtype=dtype, device=logits.device)
        return log_probabilities(logits, self.room[: len(logits)])


def log_probabilities(logits: Float[Tensor, "R V"], out: Float[Tensor, "R V"] | None = None) -> Float[Tensor, "R V"]:
    """Log-softmax over the whole vocabulary, in a new tensor of float32 or wider, or in `out`.

    A row of nothing but -inf allows no id and stays so. Raises RegardError for NaN and +inf.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    normalised = torch.log_softmax(wide, -1) if out is None else torch.log_softmax(wide, -1, out=out)
    broken = normalised[:, 0].isnan()  # one such logit makes the whole row NaN, so the first column tells
    if bool(broken.any()):
        if not bool((logits[broken] == -torch.inf).all()):
            raise RegardError(
                "the model's scores for the next token are not numbers",
                fix="train again with a smaller learning rate, or use an earlier checkpoint",
            )
        normalised[broken] = -torch.inf
    return normalised


def forbid(log_probabilities: Float[Tensor, "R V"], ids: Int[Tensor, " N"]) -> Float[Tensor, "R V"]:
    """The ids get -inf, in place. The others keep their probability, so a search reports what forced scoring gives."""
    return log_probabilities.index_fill_(1, ids, -torch.inf)


def best(values: Float[Tensor, "R V"], count: int) -> tuple[Float[Tensor, "R N"], Int[Tensor, "R N"]]:
    """The `count` greatest of each row, or all, and their columns: greatest first, of equals the lower column first."""
    count = min(count, values.shape[1])
    top, columns = _topk(values, min(count + 1, values.shape[1]))  # one more shows a tie across the edge
    tied = ((top[:, 1:] == top[:, :-1]) & (top[:, 1:] > -torch.inf)).any(dim=1)
    top, columns = top[:, :count], columns[:, :count]
    if bool(tied.any()):
        rows = tied.nonzero().view(-1)
        columns = columns.index_copy(0, rows, _settle_ties(values[rows], top[rows, -1:], count))
        top = values.gather(1, columns)
    return top, columns


def _topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`torch.topk`; for long rows the same values in two stages: only the best blocks can hold the best columns."""
    rows, width = values.shape
    blocks = width // _BLOCK
    if width < _LONG_ROW or values.numel() < _FEW or 4 * count > blocks:
        top, columns = values.topk(count, dim=1)
        return top, columns
    body = values[:, : blocks * _BLOCK].view(rows, blocks, _BLOCK)
    kept = body.amax(dim=2).topk(count, dim=1).indices  # [R, N]
    rest = torch.arange(blocks * _BLOCK, width, device=values.device).expand(rows, -1)
    places = torch.arange(_BLOCK, device=values.device)
    columns = torch.cat(((kept[:, :, None] * _BLOCK + places).flatten(1), rest), dim=1)
    top, where = values.gather(1, columns).topk(count, dim=1)
    return top, columns.gather(1, where)


def _settle_ties(values: Tensor, edge: Tensor, count: int) -> Tensor:
    """The columns [R, count] of the greatest values, ties by lower column; `edge` [R, 1] is the least that gets in.

    `topk` leaves the order of equals open, and a full sort of long rows is slow: sort only what is not below the edge.
    """
    inside = values >= edge
    row, column = inside.nonzero().unbind(1)  # in order of row, then column: stable sorts keep it
    order = values[row, column].sort(descending=True, stable=True).indices
    order = order[row[order].sort(stable=True).indices]
    sizes = inside.sum(dim=1)
    first = sizes.cumsum(0) - sizes
    return column[order][first[:, None] + torch.arange(count, device=values.device)]


class Chosen(NamedTuple):
    """The next hypotheses of each sentence, the best first: where each grows from, its id, its total (-inf: none).

    `margin` [A]: by how much the last one that got in beats the first one that did not.
    """

    parent: Int[Tensor, "A K"]
    token: Int[Tensor, "A K"]
    total: Float[Tensor, "A K"]
    margin: Float[Tensor, " A"]


def continuations(values: Float[Tensor, "R V"], total: Float[Tensor, "A W"], count: int) -> Chosen:
    """The `count` best continuations of each sentence; of equals, the earlier parent wins, then the lower id."""
    sentences, width = total.shape
    top, ids = best(values, count + 1)  # no more than that can come from one row
    candidates = (total[:, :, None] + top.reshape(sentences, width, -1)).flatten(1)
    if candidates.shape[1] <= count:
        candidates = nn.functional.pad(candidates, (0, count + 1 - candidates.shape[1]), value=-torch.inf)
    found, where = best(candidates, count + 1)
    margin = found[:, count - 1] - found[:, count]
    where = where[:, :count].clamp(max=width * top.shape[1] - 1)
    token = ids.reshape(sentences, -1).gather(1, where)
    return Chosen(where // top.shape[1], token, found[:, :count], margin.nan_to_num(torch.inf))
