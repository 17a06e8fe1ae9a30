"""JoeyNMT: its Transformer, its batch object and its loss (a divergence from a dense table of smoothed targets)."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from joeynmt.batch import Batch as JoeyBatch
from joeynmt.model import Model, build_model
from joeynmt.vocabulary import Vocabulary
from torch import Tensor

from peers.steps import DROPOUT, SMOOTHING, Case, Step, step_of
from peers.subject import Shape
from regard.data.tokens import Batch

SPECIALS = ("unk", "pad", "bos", "eos")  # its order; no id of a case's batch is one of them


def step(case: Case) -> Step:
    """A training step as its `_train_step` takes it: sorted by length, the correct tokens counted."""
    model = _model(case.shape)

    def loss(batch: Batch) -> Tensor:
        its = _batch(batch, model)
        its.sort_by_src_length()
        total, _, _, correct = model(return_type="loss", **vars(its))
        correct.item()
        mean: Tensor = its.normalize(total, "tokens")
        return mean

    return step_of(model, loss)


def _batch(batch: Batch, model: Model) -> JoeyBatch:
    """The last id of each target becomes eos: it knows by that one that a batch is for training."""
    target = batch.target.ids.clone()
    target[:, -1] = model.eos_index
    count = len(target)
    return JoeyBatch(
        src=batch.source.ids,
        src_length=batch.source.lengths,
        src_prompt_mask=None,
        trg=target,
        trg_prompt_mask=None,
        indices=torch.arange(count),
        device=torch.device("cpu"),
        pad_index=model.pad_index,
        eos_index=model.eos_index,
    )


def _model(shape: Shape) -> Model:
    """Pre-norm and relu, as its configurations for a Transformer are; one table of embeddings."""
    named = {f"{name}_token": f"<{name}>" for name in SPECIALS} | {f"{name}_id": n for n, name in enumerate(SPECIALS)}
    settings = SimpleNamespace(**named, sep_token=None, lang_tags=[])
    vocabulary = Vocabulary([str(number) for number in range(len(SPECIALS), shape.vocabulary)], settings)
    side = {
        "type": "transformer",
        "num_layers": shape.layers,
        "num_heads": shape.heads,
        "hidden_size": shape.size,
        "ff_size": shape.inner,
        "dropout": DROPOUT,
        "layer_norm": "pre",
        "embeddings": {"embedding_dim": shape.size, "scale": True, "dropout": DROPOUT},
    }
    model = build_model(
        {"encoder": side, "decoder": side, "tied_embeddings": True, "tied_softmax": True}, vocabulary, vocabulary
    )
    model.loss_function = ("crossentropy", SMOOTHING)
    return model
