"""How much of a whole `regard train`, from reading to the model folder, is steps.

    python benchmarks/whole_run.py [ARGUMENT OF regard train ...]

Without arguments: the built-in pronunciations with the demo's recipe. The rest is start-up, reading, tokenizers, the
forecast, validation by decoding, checkpoints, and publishing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path

from regard.training.journal import Journal


def main(arguments: list[str]) -> None:
    """Runs it and prints seconds and shares."""
    with tempfile.TemporaryDirectory() as folder, as_file(files("regard") / "recipes" / "demo.toml") as recipe:
        run = Path(folder) / "run"
        chosen = arguments or ["--task", "pronounce", "--config", str(recipe)]
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "regard", "train", *chosen, "--out", str(run)], check=True)
        whole = time.monotonic() - started
        [end] = [event for event in Journal(run).read() if event["event"] == "end"]
    steps = end["seconds"] * end["in_steps"]
    print(f"whole run {whole:.1f} s; steps {steps:.1f} s, {steps / whole:.1%}")
    print(f"checkpoints and validation {end['seconds'] - steps:.1f} s, all else {whole - end['seconds']:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
