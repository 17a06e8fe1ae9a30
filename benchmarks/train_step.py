"""One training step of ours beside torch.nn.Transformer's: same shapes, same tokens, interleaved in one run.

    python benchmarks/train_step.py [ROUNDS]

Prints medians and the median of same-round ratios. Forward, loss, backward and the optimiser are timed; float32.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.config import Model, Training
from regard.data.tokens import Batch, Tokens
from regard.layers.positions import sinusoids
from regard.models import build
from regard.training.loop import train_step
from regard.training.optimiser import OPTIMISERS


@dataclass(frozen=True)
class Case:
    """A size of model and of batch."""

    name: str
    size: int
    heads: int
    inner: int
    layers: int
    vocabulary: int
    pairs: int
    source: int
    target: int


CASES = (
    Case("tiny", 128, 4, 512, 4, 8000, 256, 16, 16),
    Case("small", 256, 4, 1024, 3, 50, 512, 8, 10),
)


class Reference(nn.Module):
    """torch.nn.Transformer with tied embeddings, as its tutorial uses it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.embed = nn.Embedding(case.vocabulary, case.size)
        self.transformer = nn.Transformer(
            case.size, case.heads, case.layers, case.layers, case.inner, dropout=0.1, batch_first=True, norm_first=True
        )
        self.output = nn.Linear(case.size, case.vocabulary, bias=False)
        self.output.weight = self.embed.weight

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        """Logits [B, T, V]."""
        mask = nn.Transformer.generate_square_subsequent_mask(previous.shape[1])
        states = self.transformer(self._embed(source), self._embed(previous), tgt_mask=mask, tgt_is_causal=True)
        return self.output(states)

    def _embed(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) * self.embed.embedding_dim**0.5
        return functional.dropout(x + sinusoids(0, x.shape[1], x.shape[2]), 0.1, self.training)


def ours(case: Case, batch: Batch) -> Callable[[], None]:
    """A step of this package."""
    model = Model(layers=case.layers, size=case.size, heads=case.heads, inner=case.inner, dropout=0.1)
    training = Training(steps=1000, learning_rate=1e-4, warmup=1, checkpoint_every=1000, metric="loss", clip=None)
    net = build(model, case.vocabulary, case.vocabulary)
    optimiser = OPTIMISERS["adam"](net, training)
    return lambda: [train_step(net, [batch], optimiser, training, 0), None][1]


def theirs(case: Case, batch: Batch) -> Callable[[], None]:
    """The same step with torch.nn.Transformer."""
    net = Reference(case).train()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        logits = net(batch.source.ids, batch.previous.ids)
        functional.cross_entropy(logits.flatten(0, 1), batch.gold.ids.flatten(), label_smoothing=0.1).backward()
        optimiser.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """One call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def measure(case: Case, rounds: int) -> None:
    """A B, B A, A B, ... and their ratios."""
    ids = torch.randint(4, case.vocabulary, (case.pairs, max(case.source, case.target) + 1))
    full = (torch.full((case.pairs,), case.source), torch.full((case.pairs,), case.target + 1))
    batch = Batch(Tokens(ids[:, : case.source], full[0]), Tokens(ids[:, : case.target + 1], full[1]))
    steps = {"regard": ours(case, batch), "torch.nn.Transformer": theirs(case, batch)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(rounds + 1):
        order = list(steps.items())
        for name, step in order if round_number % 2 else reversed(order):
            taken = seconds(step)
            if round_number:  # the first warms up
                times[name].append(taken)
    ratios = [b / a for a, b in zip(*times.values(), strict=True)]
    shown = "  ".join(f"{name} {1000 * statistics.median(taken):.0f} ms" for name, taken in times.items())
    print(
        f"{case.name:6} {shown}  ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


if __name__ == "__main__":
    for each in CASES:
        measure(each, int(sys.argv[1]) if len(sys.argv) > 1 else 7)
