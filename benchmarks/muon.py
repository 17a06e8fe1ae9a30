"""Muon as it is here and as torch has it beside the passes that make the gradients, on this CPU and on an older one.

    python benchmarks/muon.py [ROUNDS]

The model is that of the preset for 20,000 short pairs, a batch has about 4,000 tokens, in float32 on one thread. The
older one is this CPU again, where torch and oneDNN are told to use no more than AVX2. Printed are medians, and how many
times as long as ours torch's Muon takes in the same round.
"""

from __future__ import annotations

import os
import subprocess
import sys

OLDER = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
TOKENS, SHORTEST, LONGEST = 2000, 5, 10  # of a side of a batch; of a word
ROUNDS = 5


def measure(rounds: int) -> None:
    """In this process: the passes, and a step of each optimiser on the same gradients."""
    import torch
    from gpu import Shape, drawn_batch
    from peers.rounds import Call, interleave, ratios, spread

    from regard.config import Model
    from regard.device import has_bfloat16
    from regard.models import build
    from regard.training.loss import Loss
    from regard.training.muon import Muon
    from regard.training.optimiser import hidden_matrices

    torch.set_num_threads(1)
    torch.manual_seed(1)
    shape = Shape("short", size=160, heads=4, inner=640, layers=3, vocabulary=40)
    sizes = {"layers": shape.layers, "size": shape.size, "heads": shape.heads, "inner": shape.inner}
    kind = {"encoder": "convolutional", "kernel": 5, "dropout": 0.15}
    model = build(Model.model_validate(sizes | kind), shape.vocabulary, shape.vocabulary)
    loss, matrices = Loss(model), hidden_matrices(model)
    batch = drawn_batch(shape, TOKENS, 1, SHORTEST, LONGEST)
    has_units = has_bfloat16(torch.device("cpu")) and not OLDER.items() <= os.environ.items()
    products = torch.bfloat16 if has_units else torch.float32
    steps = {
        f"Muon here, products in {products}": Muon(matrices, 1e-9, 0.0, products=products).step,
        "Muon of torch": torch.optim.Muon(matrices, lr=1e-9, adjust_lr_fn="match_rms_adamw").step,
    }
    calls = {"forward and backward": lambda: loss(batch, 0.1).backward(), **steps}
    calls["forward and backward"]()
    found = interleave({name: Call(call, call) for name, call in calls.items()}, rounds).seconds
    for name, seconds in found.items():
        print(f"  {name:40} {1000 * spread(seconds).median:8.1f} ms")
    ours, theirs = (found[name] for name in steps)
    print("  torch's takes {:.1f} times as long ({:.1f} to {:.1f})".format(*ratios(ours, theirs)), flush=True)


def main(rounds: int) -> None:
    """A process for each CPU."""
    for name, settings in {"this CPU": {}, "as with AVX2": OLDER}.items():
        print(name, flush=True)
        command = [sys.executable, __file__, "--here", str(rounds)]
        subprocess.run(command, check=True, env={**os.environ, **settings})


if __name__ == "__main__":
    *here, rounds = sys.argv[1:] or [str(ROUNDS)]
    (measure if here else main)(int(rounds))
