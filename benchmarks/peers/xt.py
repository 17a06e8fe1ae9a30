"""x-transformers: an XTransformer of the same shape. Its blocks differ (pre-norm, no biases), and so do its weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from x_transformers import XTransformer

from peers.steps import DROPOUT, Case, Step, step_of
from peers.subject import SOURCE, STEPS, Contender, Shape, Subject
from regard.data.tokens import Tokens
from regard.text.tokenizer import BOS


def generate(subject: Subject) -> Contender:
    """`generate` with its cache; no beam, for its `beam_search` does not repeat the source for each hypothesis."""
    model = to_xtransformer(subject.shape)

    def search(sources: list[list[int]], beam: int, count: int) -> list[list[int]]:
        tokens = Tokens.of(sources)
        start = torch.full((len(sources), 1), BOS)
        with torch.inference_mode():
            found = model.generate(tokens.ids, start, count, mask=tokens.is_real, temperature=0.0)
        return found.tolist()

    return Contender(search, same=False, beams=False)


def step(case: Case) -> Step:
    """A training step. Dropout is where it has it, inside the feed-forward network; its loss is not smoothed."""
    longest = max(case.source, case.target + 1)
    model = to_xtransformer(case.shape, longest, {"enc_ff_dropout": DROPOUT, "dec_ff_dropout": DROPOUT})
    return step_of(model, lambda batch: model(batch.source.ids, batch.target.ids, mask=batch.source.is_real))


def to_xtransformer(
    shape: Shape, longest: int = max(SOURCE, STEPS + 1), more: Mapping[str, float] = MappingProxyType({})
) -> XTransformer:
    """The same sizes, one table of embeddings, its fused attention."""
    sizes = {"num_tokens": shape.vocabulary, "depth": shape.layers, "heads": shape.heads, "attn_flash": True}
    sizes |= {"attn_dim_head": shape.size // shape.heads, "ff_mult": shape.inner // shape.size}
    encoder = {f"enc_{name}": value for name, value in sizes.items()} | {"enc_max_seq_len": longest}
    decoder = {f"dec_{name}": value for name, value in sizes.items()} | {"dec_max_seq_len": longest}
    return XTransformer(dim=shape.size, tie_token_emb=True, **encoder, **decoder, **more).eval()
