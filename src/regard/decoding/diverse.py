"""Diverse beam search (Vijayakumar et al. 2018): groups of a beam that choose one after another, each shunning the
tokens that the groups before it have just taken."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regard.decoding.choose import Chosen, continuations


def diverse(
    values: Float[Tensor, "R V"], total: Float[Tensor, "A W"], size: int, groups: int, strength: float
) -> Chosen:
    """`size` / `groups` continuations from the places of each group.

    A token costs `strength` for each time that an earlier group has chosen it at this step (the paper's Hamming
    diversity). The cost stays in the totals, as in the paper, and never enters the reported scores.
    """
    sentences, width = total.shape
    share, table = size // groups, values.view(sentences, width, -1)
    taken = values.new_zeros(sentences, 1, table.shape[2])
    chosen = []
    for group in range(groups):
        own = slice(None) if width == 1 else slice(group * share, (group + 1) * share)
        mine = continuations((table[:, own] - strength * taken).flatten(0, 1), total[:, own], share)
        chosen.append(mine._replace(parent=mine.parent + (own.start or 0)))
        taken = taken.scatter_add(2, mine.token[:, None], (mine.total[:, None] > -torch.inf).to(taken.dtype))
    parent, token, together, margin = zip(*chosen, strict=True)
    return Chosen(torch.cat(parent, 1), torch.cat(token, 1), torch.cat(together, 1), torch.stack(margin).amin(0))
