"""German to English on Multi30k, ten epochs, lowercased and tokenised as published; BLEU on test 2016, beam 5.

    python benchmarks/multi30k.py FOLDER transformer RUN         # or recurrent, convolutional; goes on with an old RUN

FOLDER holds {train,val,test_2016_flickr}.lc.norm.tok.{de,en}. The published values are those of a tutorial series.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import sacrebleu

PUBLISHED = {"recurrent": 28.11, "convolutional": 34.14, "transformer": 36.52}
OWN = {  # steps: up to ten epochs, each of 258 batches
    "transformer": [
        "model.layers=3",
        "model.heads=6",
        "model.inner=512",
        "training.steps=2500",
        "training.checkpoint_every=250",
    ],
    "recurrent": ["model.layers=1", "model.look=before", "training.steps=1500", "training.checkpoint_every=250"],
    "convolutional": ["model.layers=4", "model.kernel=3", "training.steps=1600", "training.checkpoint_every=200"],
}
SETTINGS = [
    "model.size=192",
    "model.dropout=0.15",
    "model.attention_dropout=0.0",
    "model.inner_dropout=0.0",
    "model.share_embeddings=all",
    "tokenizer.joint=true",
    "tokenizer.source.kind=bpe",
    "tokenizer.target.kind=bpe",
    "tokenizer.source.vocabulary=4000",
    "tokenizer.target.vocabulary=4000",
    "data.tokens_per_batch=4000",
    "training.optimiser=adamw",
    "training.learning_rate=1.5e-3",
    "training.valid_pairs=200",
    "training.metric=bleu",
]


def sides(data: Path, part: str) -> tuple[Path, Path]:
    """The files of one part, German and English."""
    return data / f"{part}.lc.norm.tok.de", data / f"{part}.lc.norm.tok.en"


def train(data: Path, architecture: str, run: Path) -> None:
    """A new run, or the rest of one that was stopped."""
    command: list[str | Path] = [sys.executable, "-m", "regard", "train"]
    if (run / "recipe.toml").exists():
        command += ["--resume", run]
    else:
        source, target = sides(data, "val")
        command += [*sides(data, "train"), "--valid", source, "--valid", target, "--out", run]
        for setting in [f"model.architecture={architecture}", *OWN[architecture], *SETTINGS]:
            command += ["--set", setting]
    subprocess.run(command, check=True)


def main(data: str, architecture: str, run: str) -> None:
    """Trains and prints one line."""
    folder = Path(run)
    if not (folder / "MANIFEST.json").exists():
        train(Path(data), architecture, folder)
    source, target = sides(Path(data), "test_2016_flickr")
    command: list[str | Path] = [sys.executable, "-m", "regard", "translate", folder, source, "--beam", "5"]
    answers = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode("utf-8").split("\n")[:-1]
    references = target.read_text(encoding="utf-8").split("\n")[:-1]
    bleu = sacrebleu.corpus_bleu(answers, [references], tokenize="none", force=True)
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n") if line]
    epochs = max(event.get("epoch", 0) for event in events)
    parameters = next(event["parameters"] for event in events if event["event"] == "start")
    minutes = events[-1]["seconds"] / 60
    print(
        f"{architecture}: BLEU {bleu.score:.2f} (published {PUBLISHED[architecture]}), {parameters:,} parameters, "
        f"{epochs} whole epochs, {minutes:.1f} minutes"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
