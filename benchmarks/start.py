"""How long a command takes from nothing, beside what `import torch` alone takes, in turns.

python benchmarks/start.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(arguments: list[str], stdin: str = "") -> float:
    """One process, from start to end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], input=stdin, text=True, check=True, capture_output=True)
    return time.perf_counter() - started


def main(rounds: int) -> None:
    """Medians; the last line is the difference of same-round times."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        settings = ["model.size=128", "training.steps=20", "training.checkpoint_every=20"]
        options = [part for setting in settings for part in ("--set", setting)]
        seconds(["-m", "regard", "train", "--task", "copy", "--out", run, *options])
        commands = {
            "import torch": (["-c", "import torch"], ""),
            "import regard": (["-c", "import regard"], ""),
            "regard --help": (["-m", "regard", "--help"], ""),
            "translate one line": (["-m", "regard", "translate", run], "3 1 4\n"),
        }
        times = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (arguments, stdin) in commands.items():
                times[name].append(seconds(arguments, stdin))
    for name, taken in times.items():
        print(f"{name:20} {statistics.median(taken):.2f} s")
    more = [a - b for a, b in zip(times["translate one line"], times["import torch"], strict=True)]
    print(f"translate beyond import torch: {statistics.median(more):.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
