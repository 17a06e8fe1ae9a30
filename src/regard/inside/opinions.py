"""Second opinions beside attention: what mattered among the source for each step, by methods that do not agree.

Each is a tensor [T, S], float32, on the CPU; a row holds shares of the source tokens, its end among them, that sum to
1, or nothing but 0 where the method found nothing. To add one: a function and a line in OPINIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from regard.inside.influence import gradient_times_input, occlusion, shares, work
from regard.inside.record import Answered
from regard.inside.result import Attention, Part
from regard.models.interface import EncoderDecoder

MOST_WORK = 5e11  # multiply-adds of all that runs the model again; some ten seconds on a core
CAVEAT = (
    "Attention shows where a model looked, not why it answered as it did: often quite other weights give the same "
    "answer (Jain and Wallace 2019), which does not mean that they say nothing (Wiegreffe and Pinter 2019); so ask "
    "gradients and occlusion as well, and change a head to see what it does."
)
Rows: TypeAlias = Float[Tensor, "T S"]


def opinions(
    model: EncoderDecoder, answered: Answered, attentions: Sequence[Attention], most_work: float = MOST_WORK
) -> dict[str, Rows]:
    """Those of OPINIONS that there are, by name: `attentions` are those that `record` gave.

    What a model does not have is left out, and so is what runs the model again (`runs`) where that would take more
    than `most_work` multiply-adds, as long sentences do.
    """
    affordable = work(model, answered) <= most_work
    asked = {name: each for name, each in OPINIONS.items() if answered.written and (affordable or not each.runs)}
    found = {name: each.give(model, answered, attentions) for name, each in asked.items()}
    return {name: rows for name, rows in found.items() if rows is not None}


def rollout(attentions: Sequence[Attention]) -> Rows | None:
    """Attention followed through the layers (Abnar and Zuidema 2020), carried over to encoder and decoder.

    With W the mean over the heads of a layer: each encoder layer makes E := (W E + E) / 2, from the identity on. A
    decoder's states come of what was written and of the source, R, which is 0 at first; each layer makes
    R := (W R + R) / 2 by its self-attention and R := (W E + R) / 2 by its attention to the source. The halves stand for
    the residual around each attention. What comes of the source is given as shares. None without attention to it.

    Layers without self-attention hand on what they got: of a recurrent encoder nothing is known but its places.
    """
    if not (cross := _means(attentions, "cross")):
        return None
    encoded = torch.eye(cross[0].shape[1], dtype=torch.float64)
    for weights in _means(attentions, "encoder"):
        encoded = (weights @ encoded + encoded) / 2
    source = torch.zeros_like(cross[0])
    for own, weights in zip_longest(_means(attentions, "decoder"), cross):
        source = source if own is None else (own @ source + source) / 2
        source = source if weights is None else (weights @ encoded + source) / 2
    return shares(source).float()


def by_norms(attentions: Sequence[Attention]) -> Rows | None:
    """How long what each source token adds to a step is, instead of its weight alone (Kobayashi et al. 2020).

    Of each layer's attention to the source the lengths summed over heads, as shares; then the mean over layers. None
    where lengths are not known.
    """
    lengths = [each.norms.double().sum(0) for each in attentions if each.part == "cross" and each.norms is not None]
    return shares(torch.stack([shares(each) for each in lengths]).mean(0)).float() if lengths else None


def _means(attentions: Sequence[Attention], part: Part) -> list[Float[Tensor, "Q K"]]:
    """Over the heads of each layer."""
    return [each.weights.double().mean(0) for each in attentions if each.part == part]


@dataclass(frozen=True)
class Opinion:
    """A method: what to tell a reader of it, the function, and whether that `runs` the model again."""

    means: str
    give: Callable[[EncoderDecoder, Answered, Sequence[Attention]], Rows | None]
    runs: bool


OPINIONS: dict[str, Opinion] = {
    "rollout": Opinion(
        "attention followed through all layers, half of each state kept (Abnar and Zuidema 2020)",
        lambda model, answered, attentions: rollout(attentions),
        runs=False,
    ),
    "norms": Opinion(
        "the length of what each token adds, mean of the layers (Kobayashi et al. 2020)",
        lambda model, answered, attentions: by_norms(attentions),
        runs=False,
    ),
    "gradient_times_input": Opinion(
        "how much the probability of the step changes with the token's vector (Shrikumar et al. 2017)",
        lambda model, answered, attentions: gradient_times_input(model, answered),
        runs=True,
    ),
    "occlusion": Opinion(
        "how much less likely the step is with the token replaced by <unk> (Li et al. 2016)",
        lambda model, answered, attentions: occlusion(model, answered),
        runs=True,
    ),
}
