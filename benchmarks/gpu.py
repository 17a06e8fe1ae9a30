"""A GPU at work: a training step of the Transformer, base and big, and the base's decoding; `make bench-gpu`.

    python benchmarks/gpu.py [--shape base big] [--part train decode] [--steps 20] [--rounds 5] [--json FILE]
    python benchmarks/gpu.py --toy --device cpu     # all of it on tiny models: whether it runs, not how fast

ceiling   matrix products of several sizes in the precision of training; a step is held against the fastest (MFU).
train     a step as `regard train` takes it (Stepper: forward, loss with label smoothing, backward, clipping, Adam) in
          bfloat16 autocast, with and without torch.compile. A step has about 25,000 source and 25,000 target tokens,
          the batch of the paper, in pairs of 28 to 32 tokens a side; where they do not fit at once they are computed in
          as few parts as do. Its time begins with ids on the CPU and ends with the loss on the CPU. Projected are hours
          for the paper's 100,000 steps (300,000 for big) of 25,000 + 25,000 tokens.
decode    float32 without TF32 and near-ties settled in float64, as `regard translate --device cuda` answers: sentences
          of 30 tokens, 30 steps, greedy and beam 4. Its answers are compared with those of the CPU.

Operations are those of the matrix products of the formula in `operations`: two a multiply-add, backward twice forward,
real tokens only. A base step has 0.381 GFLOP for each source token and its target token, a big one 1.291.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peers.ours import regard_search, translator_of
from peers.report import write
from peers.subject import Shape, Subject, random_model
from torch import Tensor

from regard.config import Model, Training
from regard.data.tokens import Batch, Tokens
from regard.device import choose_device, choose_precision, describe, set_products
from regard.errors import UsageError
from regard.models import build
from regard.text.tokenizer import BOS, EOS
from regard.text.vocabulary import SPECIALS
from regard.training.step import Stepper

TOKENS = 25_000  # of a side of a step (Vaswani et al. 2017, section 5.1)
SHORTEST, LONGEST = 28, 32  # tokens of a sentence, its end among them
BATCHES = 4  # that take turns
WARM = 3  # steps that are not timed: the first ones compile, and find memory
MOST_PARTS = 64
LENGTH = 30  # tokens that are decoded, and of their sources
COMPARED = 16  # answers, with those of a CPU
ENOUGH = 0.3  # seconds that a product is repeated for
PRODUCTS = [(4096, 4096, 4096), (8192, 8192, 8192), (16384, 8192, 8192), (25000, 4096, 1024), (25000, 1024, 4096)]


@dataclass(frozen=True)
class Setting:
    """What is measured: models, how large a step is, how many steps of the paper's, which batches are decoded."""

    shapes: dict[str, Shape]
    steps: dict[str, int]
    tokens: int
    products: list[tuple[int, int, int]]
    batches: tuple[int, ...]


PAPER = Setting(
    {"base": Shape("base", 512, 8, 2048, 6, 37000), "big": Shape("big", 1024, 16, 4096, 6, 37000)},
    {"base": 100_000, "big": 300_000},
    TOKENS,
    PRODUCTS,
    (64, 128),
)
TOY = Setting(
    {"base": Shape("base", 32, 2, 64, 1, 200), "big": Shape("big", 64, 4, 128, 1, 200)},
    {"base": 100_000, "big": 300_000},
    240,
    [(64, 64, 64), (128, 128, 128)],
    (2, 4),
)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shape", nargs="+", choices=list(PAPER.shapes), default=list(PAPER.shapes))
    parser.add_argument("--part", nargs="+", choices=["train", "decode"], default=["train", "decode"])
    parser.add_argument("--compiled", nargs="+", choices=["no", "yes"], help="[default: both; on a CPU no]")
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.add_argument("--rounds", type=int, default=5, help="of decoding")
    parser.add_argument("--toy", action="store_true", help="tiny models and batches")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def operations(shape: Shape, sources: Sequence[int], targets: Sequence[int]) -> int:
    """Multiplications and additions of the products of one training step on pairs of these lengths.

    Forward, in multiply-adds, with d features, f inner ones, V words: a source token costs a layer of the encoder
    4 d^2 + 2 d f + 2 S d, and a layer of the decoder its keys and values, 2 d^2; a target token costs a layer of the
    decoder 6 d^2 + 2 d f + 2 T d + 2 S d, and the output d V. Nothing is left out for what a mask hides.
    """
    d, inner, pairs = shape.size, 2 * shape.size * shape.inner, list(zip(sources, targets, strict=True))
    encoder = sum(s * (4 * d**2 + inner + 2 * s * d) for s in sources)
    decoder = sum(s * 2 * d**2 + t * (6 * d**2 + inner + 2 * t * d + 2 * s * d) for s, t in pairs)
    return 3 * 2 * (shape.layers * (encoder + decoder) + sum(targets) * d * shape.vocabulary)


def drawn_batch(shape: Shape, tokens: int, seed: int, shortest: int = SHORTEST, longest: int = LONGEST) -> Batch:
    """Pairs of random ids with about so many source tokens, and as many target tokens to be predicted."""
    generator = torch.Generator().manual_seed(seed)
    pairs = tokens * 2 // (shortest + longest)
    lengths = torch.randint(shortest, longest + 1, (2, pairs), generator=generator)

    def side(length: Tensor) -> Tensor:
        ids = torch.randint(len(SPECIALS), shape.vocabulary, (pairs, int(length.max())), generator=generator)
        places = torch.arange(ids.shape[1])
        return ids.masked_fill(places == length[:, None] - 1, EOS).masked_fill(places >= length[:, None], 0)

    source, target = side(lengths[0]), torch.cat((torch.full((pairs, 1), BOS), side(lengths[1])), 1)
    return Batch(Tokens(source, lengths[0]), Tokens(target, lengths[1] + 1))


def in_parts(batch: Batch, parts: int) -> list[Batch]:
    """The same pairs in so many batches."""
    rows = -(-len(batch.source.ids) // parts)
    return [batch.rows(slice(start, start + rows)) for start in range(0, len(batch.source.ids), rows)]


def synchronize(device: torch.device) -> None:
    """Waits for all that the device was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Of one call, the device's work done."""
    synchronize(device)
    started = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - started


def repeat(call: Callable[[], object], times: int) -> None:
    """Without waiting in between."""
    for _ in range(times):
        call()


def ceiling(sizes: Sequence[tuple[int, int, int]], precision: torch.dtype, device: torch.device) -> dict[str, float]:
    """FLOP/s of the matrix products [M, K] x [K, N] by their sizes M x K x N."""
    speeds = {}
    for m, k, n in sizes:
        left, right = (torch.randn(shape, device=device).to(precision) for shape in ((m, k), (k, n)))
        room = torch.empty(m, n, dtype=precision, device=device)
        product = partial(torch.mm, left, right, out=room)
        repeat(product, 3)
        times = max(1, int(ENOUGH / 5 / seconds(product, device)))
        taken = [seconds(partial(repeat, product, times), device) / times for _ in range(5)]
        speeds[f"{m} x {k} x {n}"] = 2 * m * k * n / statistics.median(taken)
        print(f"  product {m} x {k} x {n}: {speeds[f'{m} x {k} x {n}'] / 1e12:.4g} TFLOP/s", flush=True)
    return speeds


def settings_of(precision: torch.dtype, compiled: bool) -> Training:
    """The paper's: Adam, label smoothing 0.1. The learning rate is so small that random pairs do no harm."""
    return Training(
        steps=1000,
        optimiser="adam",
        learning_rate=1e-5,
        warmup=1,
        checkpoint_every=1000,
        metric="loss",
        precision=str(precision).removeprefix("torch."),
        compile=compiled,
    )


def stepper_of(shape: Shape, precision: torch.dtype, device: torch.device, compiled: bool) -> Stepper:
    """Post-norm, ReLU, sinusoids, one table of embeddings, dropout 0.1: the paper's base (its big drops 0.3)."""
    torch.manual_seed(1)
    sizes = {"layers": shape.layers, "size": shape.size, "heads": shape.heads, "inner": shape.inner}
    model = Model.model_validate({**sizes, "norm_first": False, "share_embeddings": "all", "dropout": 0.1})
    training = settings_of(precision, compiled)
    return Stepper(build(model, shape.vocabulary, shape.vocabulary).to(device), training, precision=precision)


def take(stepper: Stepper, parts: Sequence[Batch], number: int) -> None:
    """A step; ends the benchmark if it was none."""
    outcome = stepper.step(parts, number, 1e-5)
    if not outcome.applied or outcome.left_out:
        raise SystemExit(f"step {number} was not applied, or not whole: {outcome}")


def failures(device: torch.device) -> int:
    """How often memory has run out; the stepper goes on in smaller pieces by itself, which would be timed as well."""
    return int(torch.cuda.memory_stats(device).get("num_ooms", 0)) if device.type == "cuda" else 0


def fitting(stepper: Stepper, batches: Sequence[Batch], number: int) -> int:
    """Warms up. In how many parts a step fits."""
    parts = 1
    while parts <= MOST_PARTS:
        before = failures(stepper.device)
        for warm in range(WARM):
            take(stepper, in_parts(batches[warm % len(batches)], parts), number + warm)
        if failures(stepper.device) == before:
            return parts
        parts *= 2
    raise SystemExit(f"a {MOST_PARTS}th part of a step does not fit into this device")


def train(
    shape: Shape, setting: Setting, options: argparse.Namespace, device: torch.device, best: float, compiled: bool
) -> dict[str, Any]:
    """One line: a step of a shape, compiled or not."""
    precision = choose_precision("bfloat16", device)
    stepper = stepper_of(shape, precision, device, compiled)
    batches = [drawn_batch(shape, setting.tokens, seed) for seed in range(BATCHES)]
    started = time.perf_counter()
    parts = fitting(stepper, batches, 0)
    warm = time.perf_counter() - started
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    cut = [in_parts(batch, parts) for batch in batches]
    steps = range(options.steps)
    taken = [seconds(partial(take, stepper, cut[step % BATCHES], WARM + step), device) for step in steps]
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return figures(shape, setting, batches, taken, best) | {
        "compiled": compiled,
        "precision": str(precision),
        "parts": parts,
        "warming": warm,
        "peak_bytes": peak,
        "step_seconds": taken,
    }


def figures(
    shape: Shape, setting: Setting, batches: Sequence[Batch], taken: Sequence[float], best: float
) -> dict[str, Any]:
    """What the times of steps, on batches in turn, come to. Medians over steps; of means over the batches."""
    lengths = [(batch.source.lengths.tolist(), batch.gold.lengths.tolist()) for batch in batches]
    flops = sum(operations(shape, *each) for each in lengths) / len(batches)
    sources, targets = (sum(sum(each[side]) for each in lengths) / len(batches) for side in (0, 1))
    step = statistics.median(taken)
    return {
        "shape": shape.name,
        "source_tokens": sources,
        "target_tokens": targets,
        "flops": flops,
        "seconds": step,
        "tokens_per_second": (sources + targets) / step,
        "mfu": flops / step / best,
        "steps_of_the_paper": setting.steps[shape.name],
        "hours": setting.steps[shape.name] * step * 2 * setting.tokens / (sources + targets) / 3600,
    }


def show_training(rows: Sequence[dict[str, Any]]) -> None:
    """The table."""
    print(
        f"\n{'training':9} {'compiled':8} {'parts':>5} {'step ms':>9} {'tokens/s':>11} {'MFU %':>7} {'GiB':>6}  hours"
    )
    for row in rows:
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.1f}"
        compiled = "yes" if row["compiled"] else "no"
        print(
            f"{row['shape']:9} {compiled:8} {row['parts']:5} {1000 * row['seconds']:9.2f} "
            f"{row['tokens_per_second']:11,.0f} {100 * row['mfu']:7.1f} {peak:>6}  "
            f"{row['hours']:.2f} for {row['steps_of_the_paper']:,} steps",
            flush=True,
        )


def decode(shape: Shape, setting: Setting, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """A row each batch and beam."""
    here, there = (translator_of(Subject(shape, random_model(shape).to(place), 1)) for place in ("cpu", device))
    generator = torch.Generator().manual_seed(2)
    drawn = torch.randint(len(SPECIALS), shape.vocabulary, (max(setting.batches), LENGTH - 1), generator=generator)
    sources = [[*row, EOS] for row in drawn.tolist()]
    rows: list[dict[str, Any]] = []
    for beam in (1, 4):
        few = sources[:COMPARED]
        answers = zip(*(regard_search(one, few, beam, LENGTH - 1) for one in (here, there)), strict=True)
        equal = sum(one == other for one, other in answers)
        for batch in setting.batches:
            search = partial(regard_search, there, sources[:batch], beam, LENGTH - 1)
            search()
            taken = [seconds(search, device) for _ in range(rounds)]
            speed = batch / statistics.median(taken)
            rows.append({"beam": beam, "batch": batch, "seconds": taken, "sentences_per_second": speed})
            rows[-1] |= {"equal_to_cpu": equal, "compared": len(few)}
    return rows


def show_decoding(rows: Sequence[dict[str, Any]]) -> None:
    """The table."""
    print(f"\n{'decoding':9} {'batch':>5} {'sentences/s':>12}   answers as on a CPU")
    for row in rows:
        search = "greedy" if row["beam"] == 1 else f"beam {row['beam']}"
        speed, equal = row["sentences_per_second"], f"{row['equal_to_cpu']} of {row['compared']}"
        print(f"{search:9} {row['batch']:5} {speed:12.1f}   {equal}", flush=True)


def main() -> None:
    """All parts asked for; what is done is written as it goes."""
    options = parse()
    try:
        device = choose_device(options.device, asked="--device ", fix="--toy --device cpu shows that all of it runs")
    except UsageError as error:
        raise SystemExit(f"error: {error}") from None
    setting = TOY if options.toy else PAPER
    precision = choose_precision("bfloat16", device)
    set_products(settings_of(precision, compiled=False))
    name = describe(device, precision, settings_of(precision, compiled=False))
    print(f"{name}; torch {torch.__version__}{'; toy sizes: these times mean nothing' if options.toy else ''}")
    speeds = ceiling(setting.products, precision, device)
    results: dict[str, Any] = {"device": name, "torch": torch.__version__, "toy": options.toy, "products": speeds}
    rows: list[dict[str, Any]] = []
    for shape in options.shape if "train" in options.part else []:
        for compiled in options.compiled or ["no", *(["yes"] if device.type == "cuda" else [])]:
            is_compiled = compiled == "yes"
            rows.append(train(setting.shapes[shape], setting, options, device, max(speeds.values()), is_compiled))
            write(options.json, results | {"training": rows})
    if rows:
        show_training(rows)
        results["training"] = rows
    if "decode" in options.part:
        results["decoding"] = decode(setting.shapes["base"], setting, options.rounds, device)
        show_decoding(results["decoding"])
    write(options.json, results)


if __name__ == "__main__":
    main()
