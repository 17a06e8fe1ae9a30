"""How long `regard check` takes on a million generated pairs, and the most memory it held.

python benchmarks/check.py [PAIRS]
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def write_pairs(path: Path, count: int) -> None:
    """Random words, about 40 characters a side, the target about as long as its source."""
    choose = random.Random(1)
    words = ["".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randint(2, 9))) for _ in range(20_000)]
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(count):
            length = choose.randint(3, 10)
            file.write(
                " ".join(choose.choices(words, k=length)) + "\t" + " ".join(choose.choices(words, k=length)) + "\n"
            )


def main(count: int) -> None:
    """Prints seconds and mebibytes of the command as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.tsv"
        write_pairs(path, count)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "regard", "check", str(path)], stdout=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{count:,} pairs: {seconds:.1f} s, {most:.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
