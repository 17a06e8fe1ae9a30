"""Trains on letter-to-phone languages, with no settings unless some are given, and scores the tests with beam 5.

    python benchmarks/g2p.py FOLDER fre hun gre hin        # FOLDER holds fre_train.tsv, fre_dev.tsv, fre_test.tsv, ...
    python benchmarks/g2p.py FOLDER fre hun model.architecture=recurrent model.layers=2

The published scores are those of the SIGMORPHON 2020 shared task on multilingual grapheme-to-phoneme conversion.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PUBLISHED = {"fre": (6.22, 6.89), "hun": (5.33, 5.33), "gre": (18.89, 18.89), "hin": (6.67, 9.56)}  # LSTM, Transformer


def regard(*arguments: str | Path) -> str:
    """Runs a command in a process of its own; returns its standard output."""
    command = [sys.executable, "-m", "regard", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def measure(data: Path, language: str, folder: Path, settings: list[str]) -> dict[str, float]:
    """WER, PER and minutes of one language."""
    train, valid, test = (data / f"{language}_{part}.tsv" for part in ("train", "dev", "test"))
    run, started = folder / language, time.monotonic()
    options = [word for setting in settings for word in ("--set", setting)]
    regard("train", train, "--valid", valid, "--out", run, *options)
    minutes = (time.monotonic() - started) / 60
    score = json.loads(regard("score", run, test, "--beam", "5", "--json"))
    return {"wer": score["wer"], "per": score["per"], "minutes": minutes}


def main(data: str, *words: str) -> None:
    """Prints a line a language as it is done, and the mean. A word with an equals sign is a setting."""
    languages, settings = ([word for word in words if ("=" in word) == is_setting] for is_setting in (False, True))
    rows = []
    print(f"{'':6} {'WER':>6} {'PER':>6} {'minutes':>8}   published WER: LSTM, Transformer")
    with tempfile.TemporaryDirectory() as folder:
        for language in languages:
            row = measure(Path(data), language, Path(folder), settings)
            rows.append(row)
            published = ", ".join(f"{value:.2f}" for value in PUBLISHED.get(language, ()))
            print(f"{language:6} {row['wer']:6.2f} {row['per']:6.2f} {row['minutes']:8.1f}   {published}", flush=True)
    wer, per, minutes = (sum(row[key] for row in rows) / len(rows) for key in ("wer", "per", "minutes"))
    print(f"{'mean':6} {wer:6.2f} {per:6.2f} {minutes:8.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
