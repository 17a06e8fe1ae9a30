"""Tiny trained and untrained models that several tests use."""

from __future__ import annotations

from pathlib import Path

import torch

from regard.config import Recipe, Settings, build_recipe, merge
from regard.folder import seal, write_file
from regard.models import build
from regard.models.weights import save_weights
from regard.text.tokenizer import Tokenizer
from regard.translator import Tokenizers, Translator

SETTINGS: Settings = {
    "data": {"tokens_per_batch": 1000},
    "tokenizer": {
        "source": {"kind": "characters", "vocabulary": 1000},
        "target": {"kind": "symbols", "vocabulary": 1000},
    },
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.1},
    "training": {"steps": 1, "learning_rate": 1e-3, "warmup": 1, "checkpoint_every": 1, "metric": "wer"},
    "decoding": {"limit_factor": 1.5, "limit_extra": 5, "beam": 3},
}


def untrained(changes: Settings | None = None, seed: int = 0) -> Translator:
    """Random weights, sharpened so that answers differ and end: near-ties and long answers are what tests want."""
    recipe: Recipe = build_recipe(merge(SETTINGS, changes or {}))
    source = Tokenizer.train(
        ["the quick brown fox jumps over lazy dogs"], recipe.tokenizer.source.kind, vocabulary=1000
    )
    target = Tokenizer.train(["A B C D E F G"], recipe.tokenizer.target.kind, vocabulary=1000)
    torch.manual_seed(seed)
    model = build(recipe.model, len(source), len(target))
    return Translator(model.eval(), Tokenizers(source, target), recipe)


def saved(folder: Path, translator: Translator) -> Path:
    """A model folder as training leaves it."""
    files = {
        "recipe.toml": translator.recipe.to_toml().encode(),
        "model.safetensors": save_weights(translator.model),
        **translator.tokenizers.files(),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, content)
    seal(folder, list(files))
    return folder
