"""Hugging Face: `generate` with the weights of one of our Transformers in a MarianMTModel, and its training step."""

from __future__ import annotations

import re

import torch
from torch import Tensor
from transformers import MarianConfig, MarianMTModel

from peers.steps import DROPOUT, Case, Step, mean_loss, step_of
from peers.subject import Contender, Shape, Subject
from regard.data.tokens import Batch, Tokens
from regard.layers.positions import sinusoids
from regard.models.interface import EncoderDecoder
from regard.text.tokenizer import BOS, EOS, PAD

POSITIONS = 64
RENAMED = (  # of our names, in this order
    (r"^", "model."),
    (r"(encoder|decoder)\.embed\.table", "shared"),
    (r"model\.decoder\.output\.", "lm_head."),
    (r"\.blocks\.", ".layers."),
    (r"around_attention\.norm", "self_attn_layer_norm"),
    (r"around_look\.norm", "encoder_attn_layer_norm"),
    (r"around_feed_forward\.norm", "final_layer_norm"),
    (r"\.attention\.", ".self_attn."),
    (r"\.look\.", ".encoder_attn."),
    (r"\.(query|key|value)\.", lambda found: f".{found[1][0]}_proj."),
    (r"_attn\.output", "_attn.out_proj"),
    (r"feed_forward\.widen", "fc1"),
    (r"feed_forward\.narrow", "fc2"),
)


def to_marian(model: EncoderDecoder, shape: Shape) -> MarianMTModel:
    """The same numbers: post-norm, relu, tied embeddings, no bias at the end.

    Marian's table has the sines in its first half and the cosines in its second, ours has them by turns; the table is a
    weight as any other, so ours is put in its place.
    """
    peer = MarianMTModel(_config(shape)).eval()
    weights = {_renamed(name): weight for name, weight in model.state_dict().items()}
    for side in ("encoder", "decoder"):
        weights[f"model.{side}.embed_positions.weight"] = sinusoids(0, POSITIONS, shape.size)
    found = peer.load_state_dict(weights, strict=False)
    tied = {"final_logits_bias", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"}
    if found.unexpected_keys or set(found.missing_keys) - tied:
        raise ValueError(f"weights without a place: {found}")
    return peer


def generate(subject: Subject) -> Contender:
    """`generate` with its cache, as it comes."""
    peer = to_marian(subject.model, subject.shape)

    def search(sources: list[list[int]], beam: int, count: int) -> list[list[int]]:
        tokens = Tokens.of(sources)
        with torch.inference_mode():
            found = peer.generate(
                tokens.ids,
                attention_mask=tokens.is_real.long(),
                num_beams=beam,
                max_new_tokens=count,
                do_sample=False,
            )
        return found[:, 1:].tolist()

    return Contender(search)


def step(case: Case) -> Step:
    """A training step. It is told that nothing is padded, as a collator tells it."""
    model = MarianMTModel(_config(case.shape, DROPOUT))

    def loss(batch: Batch) -> Tensor:
        source, mask = batch.source.ids, batch.source.is_real.long()
        found = model(input_ids=source, attention_mask=mask, decoder_input_ids=batch.previous.ids, use_cache=False)
        return mean_loss(found.logits, batch.gold.ids)

    return step_of(model, loss)


def _renamed(name: str) -> str:
    for pattern, new in RENAMED:
        name = re.sub(pattern, new, name)
    return name


def _config(shape: Shape, dropout: float = 0.0) -> MarianConfig:
    return MarianConfig(
        vocab_size=shape.vocabulary,
        d_model=shape.size,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.inner,
        decoder_ffn_dim=shape.inner,
        activation_function="relu",
        max_position_embeddings=POSITIONS,
        scale_embedding=True,
        dropout=dropout,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=BOS,
        forced_eos_token_id=None,
    )
