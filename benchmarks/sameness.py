"""Does an answer depend on its sentence and the model alone? And how large is rounding, beside the tolerance?

    python benchmarks/sameness.py RUN FILE [--lines 2000]        a trained model and a text
    python benchmarks/sameness.py random                          an untrained Transformer, 2,000 random sources

Every sentence is answered alone, then in 5 random batchings with 1 to 64 mates, by greedy search, a beam of 5 and
sampling with a seed. Printed: how many answers are equal token for token, how many were settled in float64, the
largest difference between the scores of equal answers, and what settling cost.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from regard import Recipe, Translation, Translator
from regard.config import build_recipe
from regard.models import build
from regard.text.tokenizer import Tokenizer
from regard.translator import Tokenizers

WAYS = {"greedy": {"beam": 1}, "beam 5": {"beam": 5}, "sampling": {"strategy": "sampling", "seed": 7}}


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a model folder, or: random")
    parser.add_argument("file", type=Path, nargs="?", help="a text, a sentence a line")
    parser.add_argument("--lines", type=int, default=2000)
    options = parser.parse_args()
    if options.run == "random":
        translator, lines = untrained(), random_lines(options.lines)
    else:
        translator = Translator.load(options.run)
        lines = options.file.read_text(encoding="utf-8").split("\n")[: options.lines]
    print(f"{len(lines):,} lines; {torch.get_num_threads()} threads")
    for name, way in WAYS.items():
        measure(name, translator, lines, way)


def measure(name: str, translator: Translator, lines: Sequence[str], way: dict[str, object]) -> None:
    """One row of the table."""
    began = time.perf_counter()
    alone = [answer for line in lines for answer in translator.translate([line], options=way)]
    seconds = time.perf_counter() - began
    equal = total = settled = 0
    largest = 0.0
    for seed in range(5):
        for place, answer in batched(translator, lines, way, seed):
            same = [each.symbols for each in answer.answers] == [each.symbols for each in alone[place].answers]
            equal, total, settled = equal + same, total + 1, settled + answer.settled
            if same:
                pairs = zip(answer.answers, alone[place].answers, strict=True)
                largest = max(largest, *(abs(one.log_probability - other.log_probability) for one, other in pairs))
    settled_alone = sum(each.settled for each in alone)
    print(
        f"{name:9} equal {equal:,} of {total:,} ({100 * equal / total:.2f} %); settled in float64 "
        f"{100 * settled / total:.2f} % in batches, {100 * settled_alone / len(alone):.2f} % alone; "
        f"largest difference of a log-probability {largest:.1e}; alone {len(lines) / seconds:.0f} lines/s",
        flush=True,
    )


def batched(
    translator: Translator, lines: Sequence[str], way: dict[str, object], seed: int
) -> Iterator[tuple[int, Translation]]:
    """All lines in random order, in batches of 1 to 64."""
    draw = random.Random(seed)
    order = draw.sample(range(len(lines)), len(lines))
    while order:
        places, order = order[: (count := draw.randint(1, 64))], order[count:]
        yield from zip(places, translator.translate([lines[place] for place in places], options=way), strict=True)


def untrained() -> Translator:
    """Near-ties abound: nothing was learned, 1,000 symbols are about equally likely."""
    torch.manual_seed(3)
    words = [f"w{number}" for number in range(1000)]
    tokenizer = Tokenizer.train([" ".join(words)], "symbols", vocabulary=2000)
    side = {"kind": "symbols", "vocabulary": 2000}
    settings = {
        "data": {"pairs": ["none"]},
        "tokenizer": {"source": side, "target": side, "joint": True},
        "model": {"layers": 4, "size": 128, "heads": 4, "inner": 512, "dropout": 0.0},
        "training": {"steps": 1, "learning_rate": 1e-3, "warmup": 0, "checkpoint_every": 1, "metric": "loss"},
        "decoding": {"limit_factor": 1.0, "limit_extra": 5},
    }
    recipe: Recipe = build_recipe(settings)
    model = build(recipe.model, len(tokenizer), len(tokenizer))
    return Translator(model.eval(), Tokenizers(tokenizer, tokenizer), recipe)


def random_lines(count: int) -> list[str]:
    """Sources of 1 to 20 symbols."""
    draw = random.Random(5)
    return [" ".join(f"w{draw.randrange(1000)}" for _ in range(draw.randint(1, 20))) for _ in range(count)]


if __name__ == "__main__":
    main()
