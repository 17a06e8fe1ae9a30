"""A training step of ours beside torch.nn.Transformer's, Hugging Face's, x-transformers', JoeyNMT's, eole's and
OpenNMT-py's; ragged text; attention's memory.

    python benchmarks/train.py [--shape tiny small base] [--peers NAME ...] [--rounds 7] [--threads 2] [--json FILE]
    python benchmarks/train.py --part steps --threads 1 --clock processor    # on a machine that others use as well
    python benchmarks/train.py --part steps                  # or ragged, memory, precision

steps      forward, loss, backward, clipping, Adam; float32, dropout 0.1, full batches of the same ids, A B C, C B A.
           Printed are medians over the rounds and the median of same-round ratios with its ends; above 1 ours is
           faster. `product` is a matrix product of the step's own size, the ceiling: its speed against ours.
ragged     log-normal lengths (median 20, sigma 0.5): our batches beside batches of as many pairs in random order.
memory     attention forward and backward over long sequences: benchmarks/attention_memory.py.
precision  the step in bfloat16 (autocast) beside float32.

Peers need `pip install 'regard[peers]'`; JoeyNMT, eole and OpenNMT-py what the table says where they are missing.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import torch
from attention_memory import measure as measure_memory
from peers.report import environment, write
from peers.rounds import CLOCKS, Call, Times, interleave, ratios, spread
from peers.steps import ALONE, CASES, MAKERS, Case, Step, maker, operations, product, regard

from regard.data.batches import epoch_batches, real_share
from regard.data.corpus import EncodedPairs, Side
from regard.heap import keep_heap

PARTS = ("steps", "ragged", "memory", "precision")
FEW = 8  # pairs of a call that only warms
MEDIAN, SIGMA, LONGEST = 20.0, 0.5, 120  # tokens of ragged text
PAIRS, BUDGET, AT_ONCE = 8000, 4000, 4  # of ragged text: pairs, tokens a batch, batches a call


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS[:3])
    parser.add_argument("--shape", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--peers", nargs="*", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def steps(case: Case, names: list[str], rounds: int, clock: str) -> dict[str, object]:
    """The table of one shape; ours first, whoever else is asked for."""
    found: dict[str, Step] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(["regard", *names]):
        try:
            found[name] = maker(name)(case)
        except ImportError as error:
            missing[name] = "; it ".join(filter(None, [str(error), ALONE.get(name)]))
    calls = {name: step_call(step, case) for name, step in found.items()}
    multiply, flops = product(case)
    calls["product"] = Call(multiply, multiply)
    times = interleave(calls, rounds, longest=math.inf, clock=clock)
    total = operations(case)
    print(f"\n{case.shape.name}: {case.pairs} x ({case.source}, {case.target}), {total / 1e9:.1f} GFLOP a step")
    return {"missing": missing, "operations": total, "contenders": table(times, case, total, flops, missing)}


def step_call(step: Step, case: Case) -> Call:
    """A step on the case's batch, and one on a small batch."""
    batch, small = case.batch(), case.batch(FEW)
    return Call(lambda: step(batch), lambda: step(small))


def table(times: Times, case: Case, total: int, flops: int, missing: dict[str, str]) -> dict[str, object]:
    """Prints a line a contender."""
    print(f"  {'':22} {'ms':>8} {'target tokens/s':>16} {'GFLOP/s':>8}   theirs/ours", flush=True)
    rows: dict[str, object] = {}
    ours = times.seconds["regard"]
    for name, seconds in times.seconds.items():
        middle, is_product = statistics.median(seconds), name == "product"
        speed = (flops if is_product else total) / middle / 1e9
        tokens = "" if is_product else f"{case.pairs * case.target / middle:.0f}"
        rows[name] = {"seconds": seconds, "gflops": speed}
        compared = ""
        if is_product:
            share = spread([(total / a) / (flops / b) for a, b in zip(ours, seconds, strict=True)])
            compared, rows["share_of_product"] = f"ours is at {100 * share.median:.0f} % of it", share._asdict()
        elif name != "regard":
            ratio = ratios(ours, seconds)
            compared = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            rows[name] |= {"ratio": ratio._asdict()}
        print(f"  {name:22} {1000 * middle:8.1f} {tokens:>16} {speed:8.1f}   {compared}".rstrip(), flush=True)
    for name, reason in missing.items():
        print(f"  {name:22} not installed: {reason}", flush=True)
    return rows


def ragged_pairs(seed: int = 1) -> EncodedPairs:
    """Pairs whose two lengths are close to each other, as a sentence and its translation are."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(PAIRS, generator=generator)
    sides = []
    for _ in range(2):
        noise = 0.95 * shared + 0.3 * torch.randn(PAIRS, generator=generator)
        lengths = (MEDIAN * torch.exp(SIGMA * noise)).round().clamp(2, LONGEST).long()
        sides.append(Side.of(torch.randint(4, 8000, (int(lengths.sum()),), generator=generator), lengths))
    return EncodedPairs(*sides)


def ragged(rounds: int) -> dict[str, object]:
    """Real tokens a second of the tiny model, by our batches and by random ones of as many pairs."""
    pairs = ragged_pairs()
    ours = epoch_batches(pairs, BUDGET, seed=1, epoch=0)
    order = torch.randperm(PAIRS, generator=torch.Generator().manual_seed(1))
    plain = list(order.split(round(PAIRS / len(ours))))
    step = regard(CASES["tiny"])
    shares = {"buckets": real_share(pairs, ours), "random": real_share(pairs, plain)}
    speeds: dict[str, list[float]] = {"buckets": [], "random": []}
    calls = {"buckets": ours, "random": plain}
    for number in range(rounds):
        place = slice(number * AT_ONCE, (number + 1) * AT_ONCE)
        chosen = {name: [pairs.batch(rows) for rows in batches[place]] for name, batches in calls.items()}
        tokens = {n: sum(int(b.source.lengths.sum()) + b.real_targets for b in each) for n, each in chosen.items()}
        todo = {n: Call(lambda each=each: [step(b) for b in each], lambda: None) for n, each in chosen.items()}
        times = interleave(dict(todo.items() if number % 2 else reversed(todo.items())), 1)
        for name in speeds:
            speeds[name].append(tokens[name] / times.seconds[name][0])
    ratio = ratios(speeds["random"], speeds["buckets"])
    print(f"\nragged text, tiny model, {PAIRS} pairs, {BUDGET} tokens a batch")
    for name, values in speeds.items():
        print(f"  {name:10} {statistics.median(values):8.0f} real tokens/s, {100 * shares[name]:.0f} % of tokens real")
    print(f"  buckets / random {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})", flush=True)
    return {"real_share": shares, "tokens_per_second": speeds, "ratio": ratio._asdict()}


def precision(case: Case, rounds: int) -> dict[str, object]:
    """bfloat16 beside float32."""
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    times = interleave({name: step_call(regard(case, kind), case) for name, kind in kinds.items()}, rounds)
    ratio = ratios(times.seconds["bfloat16"], times.seconds["float32"])
    middle = {name: 1000 * statistics.median(taken) for name, taken in times.seconds.items()}
    shown = ", ".join(f"{name} {taken:.0f} ms" for name, taken in middle.items())
    print(f"\n{case.shape.name}: {shown}; bfloat16 is {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) as fast")
    return {"seconds": times.seconds, "ratio": ratio._asdict()}


def main() -> None:
    """All parts asked for; what is done is written as it goes."""
    options = parse()
    torch.set_num_threads(options.threads)
    keep_heap()  # as `regard train` does; it holds for all contenders of this process
    results: dict[str, object] = {"environment": environment(options)}
    cases = [CASES[name] for name in options.shape]
    for case in cases if "steps" in options.part else []:
        results[case.shape.name] = steps(case, options.peers, options.rounds, options.clock)
        write(options.json, results)
    if "ragged" in options.part:
        results["ragged"] = ragged(options.rounds)
    if "memory" in options.part:
        results["memory"] = measure_memory()
    for case in cases if "precision" in options.part else []:
        results[f"precision, {case.shape.name}"] = precision(case, options.rounds)
    write(options.json, results)


if __name__ == "__main__":
    main()
