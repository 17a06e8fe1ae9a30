"""What was tried and did not stay: `regard` with one thing more, so that what benchmarks/results/README.md says of it
can be repeated.

    python benchmarks/tries.py r-drop train pairs.tsv
    python benchmarks/tries.py quiet-start compare pairs.tsv --seeds 3

r-drop       every batch goes twice through the model, with other dropout, and the two shall agree (Liang et al. 2021)
quiet-start  the last product of every attention and feed-forward network begins as 0: so do all residual branches of a
             Transformer (as in Zhang, Dauphin and Ma 2019, Fixup)
old-neighbours  with --from and tokenizer.neighbours: the neighbours are those of the model alone, no new pair is one
"""

from __future__ import annotations

import sys
from importlib import import_module

from torch import Tensor, nn
from torch.nn import functional

import regard
from regard import models
from regard.config import Model
from regard.data.tokens import Batch
from regard.models.interface import EncoderDecoder
from regard.training import loss

LAST = ("output.weight", "output.bias", "narrow.weight", "narrow.bias")  # of a residual branch
AGREEMENT = 4.0  # weight of the divergence; the paper has 1 to 5
plain_build = models.build


class RDrop(loss.Loss):
    """Half the losses of two passes, and `AGREEMENT` quarters of the divergences between them, each way."""

    def forward(self, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """As `Loss`, and the same where nothing is dropped."""
        if not self.model.training:
            return super().forward(batch, smoothing)
        gold = batch.gold
        one, two = (self.model(batch.source, batch.previous) for _ in range(2))
        losses = [loss.cross_entropy(logits, gold.ids, gold.is_real, smoothing) for logits in (one, two)]
        one, two = (logits[gold.is_real].log_softmax(-1) for logits in (one, two))
        apart = _divergence(one, two) + _divergence(two, one)
        return sum(losses) / 2 + AGREEMENT / 4 * apart


def _divergence(one: Tensor, two: Tensor) -> Tensor:
    return functional.kl_div(one, two, reduction="sum", log_target=True)


def quiet(model: Model, source_vocabulary: int, target_vocabulary: int) -> EncoderDecoder:
    """As `build`, with branches that add nothing yet."""
    built = plain_build(model, source_vocabulary, target_vocabulary)
    for name, parameter in built.named_parameters():
        if ".blocks." in name and name.endswith(LAST):
            nn.init.zeros_(parameter)
    return built


def none(pairs: object) -> tuple[()]:
    """Of the pairs those that shall be neighbours."""
    return ()


# What is replaced where, and by what: the modules that use it import it from there later, or it is their own.
TRIES: dict[str, tuple[str, str, object]] = {
    "r-drop": ("regard.training.loss", "Loss", RDrop),
    "quiet-start": ("regard.models", "build", quiet),
    "old-neighbours": ("regard.trainer.job", "_to_be_read", none),
}


def main(arguments: list[str]) -> None:
    """`regard` with what the first argument names."""
    if not arguments or arguments[0] not in TRIES:
        raise SystemExit(f"wanted one of {', '.join(TRIES)}, and then what `regard` shall do")
    name, *sys.argv[1:] = arguments
    module, replaced, by = TRIES[name]
    setattr(import_module(module), replaced, by)
    regard.main()


if __name__ == "__main__":
    main(sys.argv[1:])
