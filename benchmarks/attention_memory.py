"""How much memory attention takes as sequences grow: fused beside materialised, each in a process of its own.

    python benchmarks/attention_memory.py [LENGTH ...]

Two sequences, 8 heads of 64, the mask of a decoder; forward and backward. Printed is the most memory a process held
beyond what it held before the first call.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

LENGTHS = (512, 1024, 2048, 4096)
ROWS, HEADS, HEAD = 2, 8, 64


def most() -> float:
    """MiB, since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def attend(way: str, length: int) -> dict[str, float]:
    """Of one process: MiB and seconds. Its first call is a short one, for what is made once."""
    import torch

    from regard.attention.attend import Attend
    from regard.attention.scores import ScaledDot

    attention = Attend(ScaledDot(HEAD))
    attention.plain = way == "materialised"

    def run(count: int) -> None:
        query, key, value = (torch.randn(ROWS, HEADS, count, HEAD, requires_grad=True) for _ in range(3))
        attention(query, key, value, is_causal=True)[0].sum().backward()

    run(300)  # more keys than the short path takes
    before, started = most(), time.perf_counter()
    run(length)
    return {"mebibytes": most() - before, "seconds": time.perf_counter() - started}


def measure(lengths: tuple[int, ...] = LENGTHS) -> dict[str, object]:
    """A line a length."""
    print(f"\nattention, forward and backward\n  {'keys':>6} {'fused':>16} {'materialised':>16}   share", flush=True)
    found: dict[str, object] = {}
    for length in lengths:
        ways = {way: _alone(way, length) for way in ("fused", "materialised")}
        shown = " ".join(f"{each['mebibytes']:6.0f} MiB {each['seconds']:4.1f} s" for each in ways.values())
        share = ways["fused"]["mebibytes"] / ways["materialised"]["mebibytes"]
        print(f"  {length:6} {shown}   1/{1 / share:.1f}", flush=True)
        found[str(length)] = {**ways, "share": share}
    return found


def _alone(way: str, length: int) -> dict[str, float]:
    command = [sys.executable, __file__, way, str(length)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] and not sys.argv[1].isdigit():
        print(json.dumps(attend(sys.argv[1], int(sys.argv[2]))))
    else:
        measure(tuple(map(int, sys.argv[1:])) or LENGTHS)
