"""A training step for each contender of `train.py`: the same sizes, the same ids, dropout 0.1, Adam.

A maker gets a case and gives a function from a batch to one step: forward, loss with label smoothing 0.1, backward,
gradient clipping, optimiser. All use torch's fused Adam. Weights are each library's own fresh ones; their blocks differ
in what dropout is put on (ours and Marian's: on what joins the residual stream; nn.Transformer's, JoeyNMT's, eole's and
OpenNMT-py's: on attention weights and inside the feed-forward network as well).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from peers.subject import SHAPES, Shape
from regard.config import Model, Training
from regard.data.tokens import Batch, Tokens
from regard.layers.positions import sinusoids
from regard.look.flops import flop_counter
from regard.models import build
from regard.training.loss import Loss
from regard.training.step import Stepper

DROPOUT, SMOOTHING, CLIP, RATE = 0.1, 0.1, 1.0, 1e-4
Step = Callable[[Batch], object]

MAKERS: dict[str, str] = {  # a function of a file of this folder
    "regard": "steps:regard",
    "torch.nn.Transformer": "steps:reference",
    "transformers": "marian:step",
    "x-transformers": "xt:step",
    "joeynmt": "joey:step",
    "eole": "eole_step:step",
    "OpenNMT-py": "onmt_step:step",
}
ALONE = {  # those that `regard[peers]` leaves out: why, and what gets them
    "joeynmt": "wants protobuf < 3.21, so an environment of its own: pip install joeynmt importlib-metadata",
    "eole": "wants protobuf 7.36 and some fifty packages, spacy among them; its training alone needs few:"
    " pip install --no-deps eole pyonmttok",
    "OpenNMT-py": "wants torch < 2.3, yet trains with newer ones: pip install --no-deps OpenNMT-py pyonmttok"
    " fasttext-wheel, and pip install spacy configargparse pyahocorasick",
}


@dataclass(frozen=True)
class Case:
    """A size of model and of batch."""

    shape: Shape
    pairs: int
    source: int
    target: int

    def batch(self, pairs: int | None = None) -> Batch:
        """Random ids without padding; the target with one more, for bos."""
        torch.manual_seed(0)
        count = pairs or self.pairs
        sides = [torch.randint(4, self.shape.vocabulary, (count, n)) for n in (self.source, self.target + 1)]
        return Batch(*(Tokens(ids, torch.full((count,), ids.shape[1])) for ids in sides))


CASES = {
    "tiny": Case(SHAPES["tiny"], 256, 16, 16),
    "small": Case(Shape("small", 256, 4, 1024, 3, 50), 512, 8, 10),
    "base": Case(SHAPES["base"], 64, 32, 32),
}


def maker(name: str) -> Callable[[Case], Step]:
    """The maker of that name; ImportError where its library is missing."""
    file, _, function = MAKERS[name].partition(":")
    found: Callable[[Case], Step] = getattr(importlib.import_module(f"peers.{file}"), function)
    return found


def regard(case: Case, precision: torch.dtype = torch.float32) -> Step:
    """Our step, as `regard train` takes it."""
    shape = case.shape
    sizes = {"layers": shape.layers, "size": shape.size, "heads": shape.heads, "inner": shape.inner}
    model = Model.model_validate({**sizes, "dropout": DROPOUT, "share_embeddings": "all"})
    training = Training(
        steps=1000,
        optimiser="adam",
        learning_rate=RATE,
        warmup=1,
        checkpoint_every=1000,
        metric="loss",
        clip=CLIP,
        label_smoothing=SMOOTHING,
    )
    stepper = Stepper(build(model, shape.vocabulary, shape.vocabulary), training, precision=precision)
    return lambda batch: stepper.step([batch], 0, RATE)


def operations(case: Case) -> int:
    """Multiplications and additions of the products of one step of our model, counted by torch."""
    shape = case.shape
    model = Model(layers=shape.layers, size=shape.size, heads=shape.heads, inner=shape.inner, dropout=0.0)
    loss = Loss(build(model, shape.vocabulary, shape.vocabulary))
    with flop_counter() as counter:
        loss(case.batch(8)).backward()
    return int(counter.get_total_flops()) * case.pairs // 8


def product(case: Case) -> tuple[Callable[[], object], int]:
    """A matrix product of the size that a step of the case mostly consists of, and its operations: the ceiling."""
    rows, shape = case.pairs * case.target, case.shape
    x, weight = torch.randn(rows, shape.size), torch.randn(shape.size, shape.inner)
    room = torch.empty(rows, shape.inner)
    return lambda: torch.mm(x, weight, out=room), 2 * rows * shape.size * shape.inner


def step_of(model: nn.Module, loss_of: Callable[[Batch], Tensor]) -> Step:
    """A step as a loop around a model of torch has it."""
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-9, fused=True)
    model.train()

    def step(batch: Batch) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss_of(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()

    return step


def mean_loss(logits: Tensor, gold: Tensor) -> Tensor:
    """Of full batches: a mean over all positions."""
    return functional.cross_entropy(logits.flatten(0, 1), gold.flatten(), label_smoothing=SMOOTHING)


def reference(case: Case) -> Step:
    """torch.nn.Transformer."""
    model = Reference(case.shape)
    return step_of(model, lambda batch: mean_loss(model(batch.source.ids, batch.previous.ids), batch.gold.ids))


class Reference(nn.Module):
    """torch.nn.Transformer with one table of embeddings, as its tutorial uses it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Embedding(shape.vocabulary, shape.size)
        nn.init.normal_(self.embed.weight, std=shape.size**-0.5)
        self.transformer = nn.Transformer(
            shape.size, shape.heads, shape.layers, shape.layers, shape.inner, dropout=DROPOUT, batch_first=True
        )
        self.output = nn.Linear(shape.size, shape.vocabulary, bias=False)
        self.output.weight = self.embed.weight

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        """Logits [B, T, V]."""
        mask = nn.Transformer.generate_square_subsequent_mask(previous.shape[1])
        states = self.transformer(self._embed(source), self._embed(previous), tgt_mask=mask, tgt_is_causal=True)
        logits: Tensor = self.output(states)
        return logits

    def _embed(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) * self.embed.embedding_dim**0.5
        return functional.dropout(x + sinusoids(0, x.shape[1], x.shape[2]), DROPOUT, self.training)
