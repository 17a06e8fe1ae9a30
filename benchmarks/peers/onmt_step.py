"""OpenNMT-py: its Transformer, with its own loss and statistics. It wants torch < 2.3, but trains with newer ones."""

from __future__ import annotations

import argparse

import onmt.opts
from onmt.constants import DefaultTokens
from onmt.model_builder import build_model
from onmt.utils.loss import LossCompute
from onmt.utils.parse import ArgumentParser
from torch import Tensor

from peers.steps import DROPOUT, SMOOTHING, Case, Step, step_of
from peers.subject import Shape
from regard.data.tokens import Batch
from regard.text.tokenizer import BOS, EOS, PAD, UNK


def step(case: Case) -> Step:
    """A training step: forward, the sum of its smoothed loss over the tokens, the statistics it keeps of each batch."""
    options, vocabulary = _options(case.shape), _vocabulary(case.shape.vocabulary)
    model = build_model(options, options, {"src": vocabulary, "tgt": vocabulary}, None, -1)
    loss_of = LossCompute.from_opts(options, model, vocabulary)

    def loss(batch: Batch) -> Tensor:
        its = _batch(batch)
        states, attention = model(its["src"], its["tgt"], its["srclen"])
        total, _ = loss_of(its, states, attention)
        mean: Tensor = total / batch.real_targets
        return mean

    return step_of(model, loss)


def _batch(batch: Batch) -> dict[str, object]:
    """As its iterator gives it: ids with one feature each; the corpus and the line of each pair, for the statistics."""
    count = len(batch.source.ids)
    ids = {"src": batch.source.ids.unsqueeze(-1), "tgt": batch.target.ids.unsqueeze(-1), "srclen": batch.source.lengths}
    return ids | {"cid": ["corpus"] * count, "cid_line_number": list(range(count))}


def _vocabulary(size: int) -> dict[str, int]:
    """A token to its id."""
    special = {DefaultTokens.PAD: PAD, DefaultTokens.BOS: BOS, DefaultTokens.EOS: EOS, DefaultTokens.UNK: UNK}
    return special | {str(number): number for number in range(len(special), size)}


def _options(shape: Shape) -> argparse.Namespace:
    """Its Transformer (pre-norm, relu); sinusoids, biases in the feed-forward network and attention, tied tables."""
    parser = ArgumentParser()
    onmt.opts.train_opts(parser)
    both = {"layers": shape.layers, "hidden_size": shape.size, "word_vec_size": shape.size, "heads": shape.heads}
    both |= {"encoder_type": "transformer", "decoder_type": "transformer", "transformer_ff": shape.inner}
    both |= {"dropout": DROPOUT, "attention_dropout": DROPOUT, "label_smoothing": SMOOTHING}
    flags = ["position_encoding", "share_embeddings", "share_decoder_embeddings", "share_vocab"]
    flags += ["add_qkvbias", "add_ffnbias", "param_init_glorot"]
    words = [word for name, value in both.items() for word in (f"--{name}", str(value))]
    words += [*(f"--{flag}" for flag in flags), "--param_init", "0", "--data", "unread", "--src_vocab", "unread"]
    options = parser.parse_args(words)
    ArgumentParser.update_model_opts(options)
    return options
