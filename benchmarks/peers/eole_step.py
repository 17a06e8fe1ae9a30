"""eole, the successor of OpenNMT-py: its encoder-decoder Transformer, with its own loss and statistics."""

from __future__ import annotations

from eole.config.data import Dataset
from eole.config.models import TransformerModelConfig
from eole.config.run import TrainConfig
from eole.config.training import TrainingConfig
from eole.constants import DefaultTokens, PositionEncodingType
from eole.models.model import EncoderDecoderModel
from eole.utils.loss import LossCompute
from torch import Tensor

from peers.steps import DROPOUT, SMOOTHING, Case, Step, step_of
from peers.subject import Shape
from regard.data.tokens import Batch
from regard.text.tokenizer import BOS, EOS, PAD, UNK


def step(case: Case) -> Step:
    """A training step: forward, the sum of its smoothed loss over the tokens, the statistics it keeps of each batch."""
    config, vocabularies = _config(case.shape), _vocabularies(case.shape.vocabulary)
    model = EncoderDecoderModel.for_training(config.model, vocabularies, config.training)
    loss_of = LossCompute.from_config(config, model, vocabularies)

    def loss(batch: Batch) -> Tensor:
        its = _batch(batch)
        states, attention, _ = model(its["src"], its["tgt"], its["srclen"])
        total, _, _ = loss_of(its, states, attention)
        mean: Tensor = total / batch.real_targets
        return mean

    return step_of(model, loss)


def _batch(batch: Batch) -> dict[str, object]:
    """As its iterator gives it: the corpus of each pair and its line there are for the statistics."""
    count = len(batch.source.ids)
    ids = {"src": batch.source.ids, "tgt": batch.target.ids, "srclen": batch.source.lengths}
    return ids | {"cid": ["corpus"] * count, "cid_line_number": list(range(count))}


def _vocabularies(size: int) -> dict[str, dict[str, int]]:
    """Of both sides, one; a token to its id."""
    special = {DefaultTokens.PAD: PAD, DefaultTokens.BOS: BOS, DefaultTokens.EOS: EOS, DefaultTokens.UNK: UNK}
    shared = special | {str(number): number for number in range(len(special), size)}
    return {"src": shared, "tgt": shared, "specials": {"pad_token": DefaultTokens.PAD}}


def _config(shape: Shape) -> TrainConfig:
    """Its Transformer (pre-norm, relu); sinusoids, biases in the feed-forward network and attention, tied tables."""
    model = TransformerModelConfig(
        layers=shape.layers,
        hidden_size=shape.size,
        heads=shape.heads,
        transformer_ff=shape.inner,
        embeddings={"word_vec_size": shape.size, "position_encoding_type": PositionEncodingType.SinusoidalInterleaved},
        share_embeddings=True,
        share_decoder_embeddings=True,
        add_qkvbias=True,
        add_final_linear_bias=True,
        add_ffnbias=True,
        generator_bias=False,
    )
    training = TrainingConfig(
        dropout=[DROPOUT],
        attention_dropout=[DROPOUT],
        label_smoothing=SMOOTHING,
        compute_dtype="fp32",
        self_attn_backend="pytorch",
        param_init_method="xavier_uniform",
        world_size=1,
        gpu_ranks=[],
    )
    unread = {"unread": Dataset(path_src=__file__)}  # it insists on a text
    return TrainConfig(model=model, training=training, data=unread, src_vocab="unread", share_vocab=True)
