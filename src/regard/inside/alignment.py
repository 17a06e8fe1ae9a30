"""From attention to links: which source token each token of an answer comes from.

A `Choice` says where that is read: in one head to the source, the mean of a layer's, or of all; by weights, or by the
lengths of what is really added (Kobayashi et al. 2020); at the step that writes a token, or at the one after it, which
has just read it (Chen et al. 2020, "Accurate word alignment induction from neural machine translation").

Each token of an answer is linked to its highest source token; of several that have the same one, some give way to
source tokens that would have none (twins.py). The ends are never linked. Two words are linked if any of their tokens
are (as Zenkel et al. 2019 and Garg et al. 2019 count).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.errors import UsageError
from regard.inside.crossing import Crossing
from regard.inside.result import Alignment, Attention, Side
from regard.inside.twins import shared_out, spread
from regard.text.words import Spans

NAME = re.compile(r"cross(?:\.(\d+)(?:\.(\d+))?)?(:norms)?(:next)?")
Links = tuple[tuple[int, int], ...]
"""(source, answer), counted from 0, in the order of the answer."""


@dataclass(frozen=True)
class Choice:
    """`layer` None: the mean over all layers and heads; `head` None: over the layer's heads."""

    layer: int | None = None
    head: int | None = None
    norms: bool = False
    after: bool = False

    @property
    def name(self) -> str:
        """`cross.1.3`, `cross.1`, `cross`; with `:norms`, with `:next` for the step after the one that writes."""
        place = "".join(f".{number}" for number in (self.layer, self.head) if number is not None)
        return f"cross{place}{':norms' * self.norms}{':next' * self.after}"

    @staticmethod
    def parse(name: str) -> Choice:
        """From such a name; UsageError for any other."""
        found = NAME.fullmatch(name)
        if not found:
            fix = "name a head as cross.1.3 (layer and head count from 0), or cross.1, or cross; then :norms, :next"
            raise UsageError(f"{name!r} is no place to read an alignment from", fix=fix)
        layer, head = (None if number is None else int(number) for number in found.groups()[:2])
        return Choice(layer, head, norms=bool(found[3]), after=bool(found[4]))

    @property
    def layers(self) -> tuple[int, ...] | None:
        """What it reads; None: all."""
        return None if self.layer is None else (self.layer,)


def candidates(layers: Mapping[int, Crossing]) -> Iterator[Choice]:
    """All there are in these layers; of equals, means of one thing, the simplest alone."""
    for norms in (False, True):
        for after in (False, True):
            for layer, crossing in layers.items():
                if norms and crossing.norms is None:
                    continue
                heads = crossing.weights.shape[-3]
                yield from (Choice(layer, head, norms, after) for head in range(heads))
                if heads > 1:
                    yield Choice(layer, None, norms, after)
            if len(layers) > 1 and not (norms and any(each.norms is None for each in layers.values())):
                yield Choice(None, None, norms, after)


def grid(layers: Mapping[int, Crossing], choice: Choice) -> Float[Tensor, "*B T S"]:
    """What a choice reads. UsageError if there is no such layer or head, or no norms."""
    chosen = list(layers.values()) if choice.layer is None else [layers[choice.layer]] if choice.layer in layers else []
    if not chosen:
        has = f"this model has {len(layers)} layers of attention to the source" if layers else "this model has none"
        raise UsageError(f"{choice.name}: {has}, counted from 0", fix="name another layer")
    values = [each.norms if choice.norms else each.weights for each in chosen]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise UsageError(f"{choice.name}: this model has no norms of attention", fix="leave :norms out")
    if choice.head is None:
        return torch.stack([value.mean(-3) for value in known]).mean(0)
    if choice.head >= known[0].shape[-3]:
        message = f"{choice.name}: this layer has {known[0].shape[-3]} heads, counted from 0"
        raise UsageError(message, fix="name another head")
    return known[0][..., choice.head, :, :]


def highest(values: Float[Tensor, "*B T S"], sources: Int[Tensor, "*B"], *, after: bool) -> Int[Tensor, "*B T"]:
    """For each token of an answer, the source token with the highest value among the first `sources`.

    `after` reads the row after its own; the last, which has none, its own.
    """
    may_link = torch.arange(values.shape[-1], device=values.device) < sources[..., None, None]
    best = values.masked_fill(~may_link, -torch.inf).argmax(-1)
    return torch.cat((best[..., 1:], best[..., -1:]), -1) if after else best


def of_tokens(values: Float[Tensor, "Q K"], sources: int, targets: int, *, after: bool) -> Float[Tensor, "T S"]:
    """The rows that tell of each token of an answer, without the ends. `after` as in `highest`."""
    steps = [min(step + after, len(values) - 1) for step in range(targets)]
    return values[steps][:, :sources]


def token_links(values: Float[Tensor, "T S"], source: Sequence[Hashable], target: Sequence[Hashable]) -> list[int]:
    """The source token of each token of an answer: its highest, unless several have the same (see twins.py).

    `source` and `target` are the tokens, or what tells them apart. No links without a source.
    """
    if not (source and target):
        return []
    return spread(shared_out(values.argmax(-1).tolist(), values, source, target), values)


def align(attentions: Sequence[Attention], source: Side, target: Side, choice: Choice) -> Alignment:
    """The links between the words of a `Look`'s sides. UsageError if the choice is none of these attentions."""
    layers = {each.layer: Crossing(each.weights, each.norms) for each in attentions if each.part == "cross"}
    tokens = [side.tokens[: len(side.tokens) - side.ends] for side in (source, target)]
    values = of_tokens(grid(layers, choice), *map(len, tokens), after=choice.after)
    links = token_links(values, *tokens)
    return Alignment(
        between_words(enumerate(links), word_of_each(source.words), word_of_each(target.words)), choice.name
    )


def between_words(links: Iterable[tuple[int, int]], source: Sequence[int], target: Sequence[int]) -> Links:
    """Links (answer token, source token) as links between words; `source` and `target` have the word of each token."""
    found = {(target[token], source[place]) for token, place in links}
    return tuple((left, right) for right, left in sorted(found))


def word_of_each(words: Spans) -> list[int]:
    """The number of the word of each token."""
    return [number for number, (first, past) in enumerate(words) for _ in range(first, past)]
