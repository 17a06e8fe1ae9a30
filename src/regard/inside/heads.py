"""The names of a model's heads, and where in the model they are.

`encoder.2.5` is head 5 of layer 2 of the encoder's attentions, `encoder.2` all heads of that layer; `decoder` is a
decoder's attention to what it wrote, `cross` the one to the source. All count from 0, in the order in which the
attentions happen, as in inside/result.py. Any model with attentions has such names: they are found by running it once,
not by what kind of model it is. Recurrent and convolutional models have `cross` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from regard.attention.attend import Attend
from regard.attention.record import observed
from regard.data.tokens import Tokens
from regard.errors import UsageError
from regard.inside.result import PARTS, Part
from regard.models.interface import EncoderDecoder
from regard.text.tokenizer import BOS, EOS, PAD


@dataclass(frozen=True)
class Site:
    """Where an attention stands: the module `path` names holds `attend`, which has `heads` heads.

    A module that a model uses in several places is one site, where it stands first, and changes in all of them.
    """

    part: Part
    layer: int
    path: str
    module: nn.Module
    attend: Attend
    heads: int

    @property
    def name(self) -> str:
        """Such as `encoder.2`."""
        return f"{self.part}.{self.layer}"

    @property
    def output(self) -> nn.Linear | None:
        """The matrix whose columns belong to the heads, in their order; None if the module has no such thing."""
        output = getattr(self.module, "output", None)
        return output if isinstance(output, nn.Linear) and output.in_features % self.heads == 0 else None


@dataclass(frozen=True)
class Head:
    """One head of a site."""

    site: Site
    number: int

    @property
    def name(self) -> str:
        """Such as `encoder.2.5`."""
        return f"{self.site.name}.{self.number}"


@dataclass(frozen=True)
class Heads:
    """All attentions of a model, encoder first, then decoder, then cross."""

    sites: tuple[Site, ...]

    @cached_property
    def all(self) -> tuple[Head, ...]:
        """Every head, in order."""
        return tuple(Head(site, number) for site in self.sites for number in range(site.heads))

    def named(self, name: str) -> tuple[Head, ...]:
        """The head of a name such as `encoder.2.5`, or all of `encoder.2`. UsageError for a name that there is not."""
        found = tuple(head for head in self.all if name in {head.name, head.site.name})
        if not found:
            raise UsageError(f"there is no head {name!r}; {self._what_there_is()}", fix=self._example())
        return found

    def _what_there_is(self) -> str:
        """In one line: of each part, layers and heads."""
        said = []
        for part in PARTS:
            counts = [site.heads for site in self.sites if site.part == part]
            if counts:
                layers = f"layer 0 to {len(counts) - 1}" if len(counts) > 1 else "layer 0"
                most = f"heads 0 to {min(counts) - 1}" if min(counts) > 1 else "head 0"
                said.append(f"{part} has {layers}, {most}")
        return "; ".join(said) if said else "this model has no attention"

    def _example(self) -> str:
        if not self.sites:
            return "ask a model that has attention"
        last = self.sites[-1]
        return f"name one as {last.name}.{last.heads - 1}, or all heads of a layer as {last.name}"


def heads(model: EncoderDecoder) -> Heads:
    """The heads of a model, found by one tiny run in evaluation mode. The model is as it was after it."""
    device = next(model.parameters()).device
    # Three wide and one long: no other attention has as many keys, so the ones to the source are known by their shape.
    source = Tokens(torch.tensor([[EOS, PAD, PAD]], device=device), torch.ones(1, dtype=torch.int64, device=device))
    previous = Tokens.of([[BOS]]).to(device)
    found: dict[tuple[Part, str], int] = {}

    def see(path: str, weights: Tensor, value: Tensor) -> None:
        found.setdefault((part_of(path, weights, source.ids.shape[1]), path), weights.shape[1])

    with torch.no_grad(), evaluating(model), observed(model, see):
        model(source, previous)
    return Heads(tuple(_sites(model, found)))


def part_of(path: str, weights: Tensor, width: int) -> Part:
    """Which attention weights [B, H, Q, K] are, by the path of their module; `width` is that of the padded source,
    which no attention of a decoder to itself has."""
    if path.startswith("encoder."):
        return "encoder"
    return "cross" if weights.shape[3] == width else "decoder"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; each module's own mode is back afterwards, whatever happens."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _sites(model: EncoderDecoder, found: dict[tuple[Part, str], int]) -> Iterator[Site]:
    modules = dict(model.named_modules())
    for part in PARTS:
        paths = [path for where, path in found if where == part]
        for layer, path in enumerate(paths):
            attend = modules.get(f"{path}.attend", modules[path])
            assert isinstance(attend, Attend)
            yield Site(part, layer, path, modules[path], attend, found[part, path])
