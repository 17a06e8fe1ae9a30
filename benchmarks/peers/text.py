"""Real text: a trained Transformer of ours beside CTranslate2 with its weights, from file to file, tokenizing included.

    python benchmarks/decode.py text RUN FILE [--beam 5] [--batch 64] [--rounds 7] [--threads 2] [--json FILE]

Both read the file, cut it with our tokenizer, translate, join and write a file. CTranslate2 sorts by length and
batches by itself; it runs once with all threads on a batch, once with a batch for each thread. Its length penalty
divides by the length to the power of alpha, ours by GNMT's term, so with a beam the two rank differently; `--alpha 0`
makes them the same.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import torch

from peers.ct2 import numbered, write_model
from peers.ours import regard_translate
from peers.report import environment, table, write
from peers.rounds import Call, interleave
from regard import Translator
from regard.text.tokenizer import EOS

BRIEF = 8  # lines of a call that only warms


@dataclass(frozen=True)
class Task:
    """What both sides are asked for: `limit` is the most tokens of any answer."""

    translator: Translator
    beam: int
    batch: int
    alpha: float
    limit: int


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="decode.py text", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="a run folder with a trained Transformer")
    parser.add_argument("file", type=Path, help="a sentence a line")
    parser.add_argument("--lines", type=int, default=1000, help="at most, from the file's beginning")
    parser.add_argument("--beam", type=int, help="1 is greedy; without: as the recipe says")
    parser.add_argument("--alpha", type=float, help="of both length penalties; without: as the recipe says")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def lines_of(path: Path) -> list[str]:
    """Split at newlines only."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def make_task(options: argparse.Namespace, lines: Sequence[str]) -> Task:
    """The model with the settings asked for in its recipe."""
    loaded = Translator.load(options.run)
    decoding = loaded.recipe.decoding
    changed = {"length_penalty": decoding.length_penalty if options.alpha is None else options.alpha}
    recipe = loaded.recipe.model_copy(update={"decoding": decoding.model_copy(update=changed)})
    longest = max(map(len, loaded.tokenizers.source.encode_many(lines)))
    limit = int(longest * decoding.limit_factor) + 1 + decoding.limit_extra
    translator = Translator(loaded.model, loaded.tokenizers, recipe)
    return Task(translator, options.beam or decoding.beam, options.batch, changed["length_penalty"], limit)


def ours(task: Task) -> Callable[[Sequence[str]], list[str]]:
    """Lines to lines, by our side."""
    return lambda lines: list(regard_translate(task.translator, lines, task.beam, task.batch))


def theirs(task: Task, converted: Path, workers: int, threads: int) -> Callable[[Sequence[str]], list[str]]:
    """Lines to lines, by CTranslate2 between our tokenizers."""
    peer = ctranslate2.Translator(
        str(converted), device="cpu", compute_type="float32", inter_threads=workers, intra_threads=threads
    )
    source, target = task.translator.tokenizers.source, task.translator.tokenizers.target
    names = numbered(len(source))

    def translate(lines: Sequence[str]) -> list[str]:
        found = peer.translate_batch(
            [[names[number] for number in [*ids, EOS]] for ids in source.encode_many(lines)],
            max_batch_size=task.batch,
            beam_size=task.beam,
            length_penalty=task.alpha,
            min_decoding_length=0,
            max_decoding_length=task.limit,
            disable_unk=True,
        )
        return [target.decode([int(name) for name in answer.hypotheses[0]]) for answer in found]

    return translate


def convert(task: Task, folder: Path) -> Path:
    """The run's weights for CTranslate2."""
    tokenizers = task.translator.tokenizers
    source, target = numbered(len(tokenizers.source)), numbered(len(tokenizers.target))
    write_model(task.translator.model, source, target, folder, task.limit + 1)
    return folder


def from_file_to_file(translate: Callable[[Sequence[str]], list[str]], folder: Path, name: str) -> Call:
    """Both files lie in the folder."""
    answer = folder / f"{name}.answer"

    def run(text: Path) -> None:
        answer.write_text("\n".join([*translate(lines_of(text)), ""]), encoding="utf-8")

    return Call(lambda: run(folder / "text"), lambda: run(folder / "brief"))


def main(arguments: list[str]) -> None:
    """Converts, times, compares the last answers."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    about = environment(options)
    lines = [line for line in lines_of(options.file) if line.strip()][: options.lines]
    task = make_task(options, lines)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, part in (("text", lines), ("brief", lines[:BRIEF])):
            (folder / name).write_text("\n".join([*part, ""]), encoding="utf-8")
        converted = convert(task, folder / "converted")
        sides = {"regard": ours(task), "ctranslate2": theirs(task, converted, 1, options.threads)}
        if options.threads > 1:
            sides["ctranslate2-workers"] = theirs(task, converted, options.threads, 1)
        calls = {name: from_file_to_file(translate, folder, name) for name, translate in sides.items()}
        print(f"\n{options.file.name}, {len(lines)} sentences, beam {task.beam}, batch {task.batch}", flush=True)
        times = interleave(calls, options.rounds, longest=math.inf)
        equal = compare(folder, list(sides))
    write(options.json, {"environment": about, "equal": equal, **table(times, len(lines))})


def compare(folder: Path, names: list[str]) -> dict[str, int]:
    """How many answers are ours."""
    found = {name: lines_of(folder / f"{name}.answer") for name in names}
    ours_first = found["regard"]
    equal = {name: sum(a == b for a, b in zip(ours_first, rest, strict=True)) for name, rest in found.items()}
    for name, count in equal.items():
        if name != "regard":
            print(f"{name} gives {count} of {len(ours_first)} answers as ours", flush=True)
    return equal
