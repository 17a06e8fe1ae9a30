"""Corpora larger than memory, and what 8, 64 and 1,000 processes would do, without starting them: docs/scale.md.

python benchmarks/scale.py balance   every process's rows of every batch of an epoch: nothing lost, who waits for whom
python benchmarks/scale.py models    sizes of checkpoints, memory of a process, bytes on the network
python benchmarks/scale.py corpus    10 million pairs in the files of the cache: first batch, batches a second, memory
python benchmarks/scale.py encode    text to these files: pairs a second, memory
python benchmarks/scale.py sums      processes of this machine: what a sum over all takes, how many files it opens

`--pairs N` for another number of pairs, `--json` for figures instead of a table.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path

import torch
from check import write_pairs
from torch import Tensor

from regard.config import Model
from regard.data.batches import Order, epoch_batches, real_share
from regard.data.corpus import EncodedPairs, FileCorpus, PairEncoder, Side
from regard.models import build
from regard.text.pairs import PairFormat, PairReader
from regard.text.tokenizer import Tokenizer
from regard.training.checkpoint import Checkpoint, save_checkpoint
from regard.training.feed import feed
from regard.training.world import World, joined

Row = dict[str, float | int | str]
SIZES = (1, 8, 64, 1000)
TOKENS = (1000, 4000, 16_000)  # of a batch, padding included, for each process
BUSY = 0.95
BUDGET, STEADY = 25_000, 5000  # tokens a batch, and batches that are timed, where one process is measured
MODELS = {  # Vaswani et al. 2017, and one of a thousand million parameters
    "base": Model(layers=6, size=512, heads=8, inner=2048, dropout=0.1, share_embeddings="all"),
    "big": Model(layers=6, size=1024, heads=16, inner=4096, dropout=0.3, share_embeddings="all"),
    "1B": Model(layers=8, size=2048, heads=16, inner=8192, dropout=0.1, share_embeddings="all"),
}
VOCABULARY = 37_000
SECONDS_OF_VALIDATION, STEPS_BETWEEN, SECONDS_OF_STEP = 30.0, 1000, 0.5  # for the share of time that others wait
TEXT_TOKENS = 8000  # of a vocabulary that is learnt to measure encoding


def sentence_lengths(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Tokens of source and target, eos and bos included, made up to be like WMT's: lognormal, median 22, mean 27."""
    generator = torch.Generator().manual_seed(seed)
    common, own = torch.randn(2, count, generator=generator)
    source, target = (3.1 + 0.65 * common).exp(), (3.1 + 0.65 * (0.95 * common + 0.31 * own)).exp()
    return source.clamp(1, 248).int() + 1, target.clamp(1, 248).int() + 2


def only_lengths(count: int) -> EncodedPairs:
    """Pairs whose ids nobody asks for."""
    return EncodedPairs(*(Side.of(torch.zeros(1, dtype=torch.int32), each) for each in sentence_lengths(count)))


@lru_cache(maxsize=100_000)
def shares(count: int, size: int) -> tuple[int, ...]:
    """Rows of each process, in their order."""
    slices = [World(rank, size).rows(count) for rank in range(size)]
    return tuple(each.stop - each.start for each in slices)


def busy_share(order: Order, size: int) -> float:
    """Padded tokens of all processes / what they had computed if nobody waited for who has most rows of a batch."""
    rows, widths = order.shapes().unbind(1)
    return float((rows * widths).sum() / (-(-rows // size) * size * widths).sum())


def tokens_needed(pairs: EncodedPairs, size: int) -> int:
    """Tokens a process, in hundreds, from which on processes are busy for `BUSY` of their time."""
    low, high = 0, 160
    while high - low > 1:
        middle = (low + high) // 2
        is_enough = busy_share(epoch_batches(pairs, middle * 100 * size, 1, 0), size) >= BUSY
        low, high = (low, middle) if is_enough else (middle, high)
    return high * 100


def simulated(pairs: EncodedPairs, size: int, tokens: int) -> Row:
    """An epoch as every process of `size` would go through it: each one's rows of each batch, as World deals them."""
    order = epoch_batches(pairs, tokens * size, 1, 0)
    worlds = [World(rank, size) for rank in range(size)]
    taken, mine = torch.zeros(len(pairs), dtype=torch.int16), torch.zeros(size, dtype=torch.int64)
    without, batches = 0, 0
    for rows in order:
        width = int(pairs.source.lengths[rows].max() + pairs.target.lengths[rows].max())
        for world in worlds:
            taken[rows[world.rows(len(rows))]] += 1
        mine += width * torch.tensor(shares(len(rows), size))
        without += len(rows) < size
        batches += 1
    real, busy = real_share(pairs, order), busy_share(order, size)
    return {
        "processes": size,
        "tokens a process": tokens,
        "batches": batches,
        "pairs lost": int((taken == 0).sum()),
        "pairs doubled": int((taken > 1).sum()),
        "real tokens": round(real, 3),
        "busy": round(busy, 3),
        "both": round(real * busy, 3),
        "busiest / mean": round(float(mine.max() / mine.double().mean()), 3),
        "batches with an idle process": without,
    }


def balance(count: int) -> tuple[list[Row], list[Row]]:
    """Each number of processes with each size of batch; and the size of batch that each number needs."""
    pairs = only_lengths(count)
    rows = [simulated(pairs, size, tokens) for size in SIZES for tokens in (TOKENS if size > 1 else TOKENS[-1:])]
    needed: list[Row] = []
    for size in SIZES[1:]:
        tokens = tokens_needed(pairs, size)
        needed.append({"processes": size, "tokens a process": tokens, "data.tokens_per_batch": tokens * size})
    return rows, needed


def parameters(model: Model) -> int:
    """Counted on a model without memory."""
    with torch.device("meta"):
        return sum(each.numel() for each in build(model, VOCABULARY, VOCABULARY).parameters())


def model_row(name: str, model: Model) -> Row:
    """Gigabytes. A checkpoint is weights and two moments of Adam, 4 bytes each, and 4 more with moving averages. To
    write one, the first process holds it twice (tensors, and bytes to be written) and the model that is judged.
    """
    count = parameters(model)
    row: Row = {"model": name, "parameters, millions": round(count / 1e6)}
    gigabytes = {"checkpoint": 12, "with training.ema": 16, "memory, process 0": 28, "memory, others": 16, "resume": 12}
    row |= {what: round(each * count / 1e9, 1) for what, each in gigabytes.items()}
    for size in SIZES[1:]:
        row[f"gradients, {size:,}"] = round(2 * (size - 1) / size * 4 * count / 1e9, 2)
    return row


def saving() -> tuple[float, list[Row]]:
    """Bytes a second of a checkpoint on this disk, synced and read back; the share of time that others wait for it."""
    tensors = {"a": torch.randn(25_000_000)}
    content = Checkpoint(1, tensors, {"b": torch.randn(25_000_000), "c": torch.randn(25_000_000)})
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        save_checkpoint(Path(folder), content, {})
        rate = 300e6 / (time.perf_counter() - started)
    rows: list[Row] = []
    for name, model in MODELS.items():
        seconds = 12 * parameters(model) / rate
        wait = SECONDS_OF_VALIDATION + seconds
        share = wait / (wait + STEPS_BETWEEN * SECONDS_OF_STEP)
        rows.append({"model": name, "seconds to write": round(seconds, 1), "others wait, share": round(share, 3)})
    return rate, rows


def write_corpus(folder: Path, count: int) -> None:
    """Made-up ids, as the files of the cache."""
    generator = torch.Generator().manual_seed(1)
    for name, lengths in zip(("source", "target"), sentence_lengths(count), strict=True):
        offsets = lengths.cumsum(0, dtype=torch.int64) - lengths
        for part, numbers in (("lengths", lengths), ("offsets", offsets)):
            with open(folder / f"{name}.{part}", "wb") as file:
                numbers.numpy().tofile(file)
        with open(folder / f"{name}.ids", "wb") as file:
            for piece in lengths.split(100_000):
                torch.randint(4, 32_000, (int(piece.sum()),), generator=generator, dtype=torch.int32).numpy().tofile(
                    file
                )


def own_memory() -> int:
    """Bytes of this process that are not pages of files (Linux)."""
    lines = Path("/proc/self/status").read_text("utf-8").split("\n")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@contextmanager
def most_memory() -> Iterator[list[int]]:
    """The most bytes of its own that the process held meanwhile, beyond what it had, looked at 200 times a second."""
    before, most, stop = own_memory(), [0], threading.Event()

    def look() -> None:
        while not stop.wait(0.005):
            most[0] = max(most[0], own_memory() - before)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def read_corpus(folder: Path) -> Row:
    """What the loop would be fed from a corpus on the disk."""
    with most_memory() as most:
        started = time.perf_counter()
        corpus = FileCorpus(EncodedPairs.mapped(folder))
        food = feed(corpus, BUDGET, 1, 1, 0, 0)
        next(food)
        first = time.perf_counter() - started
        started = time.perf_counter()
        taken = sum(1 for _ in islice(food, STEADY))
        speed = taken / (time.perf_counter() - started)
        started = time.perf_counter()
        batches = len(epoch_batches(corpus.pairs, BUDGET, 1, 0))
        counting = time.perf_counter() - started
        started = time.perf_counter()
        next(feed(corpus, BUDGET, 1, 1, 0, batches // 2))
        resumed = time.perf_counter() - started
    return {
        "pairs": len(corpus.pairs),
        "GB on disk": round(sum(path.stat().st_size for path in folder.iterdir()) / 1e9, 2),
        "first batch, s": round(first, 2),
        "batches a second": round(speed),
        "counting all, s": round(counting, 2),
        "first batch after half an epoch, s": round(resumed, 2),
        "memory of its own, MB": round(most[0] / 1e6),
    }


def corpus_row(count: int) -> Row:
    """Written here, read by a process that has nothing else in its memory."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), count)
        command = [sys.executable, __file__, "read", "--folder", folder]
        found: Row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def encode_row(kind: str, count: int) -> Row:
    """Random text through a tokenizer to the files of the cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REGARD_CACHE"] = str(Path(folder) / "cache")
        path = Path(folder) / "pairs.tsv"
        write_pairs(path, count)
        reader = PairReader((str(path),), PairFormat())
        sample = [text for pair in islice(reader, 50_000) for text in (pair.source, pair.target)]
        tokenizer = Tokenizer.train(sample, kind, vocabulary=TEXT_TOKENS)
        with most_memory() as most:
            started = time.perf_counter()
            pairs, _ = PairEncoder(tokenizer, tokenizer, 250).on_disk(reader, "benchmark", lambda: 0)
            seconds = time.perf_counter() - started
        tokens = len(pairs.source.ids) + len(pairs.target.ids)
    return {
        "tokens": kind,
        "pairs": len(pairs),
        "tokens a pair": round(tokens / len(pairs), 1),
        "pairs a second": round(len(pairs) / seconds),
        "memory of its own, MB": round(most[0] / 1e6),
    }


def sum_row(size: int) -> Row:
    """Of so many processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "member"]
    started = [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(size)
    ]
    first, *_ = [process.communicate()[0] for process in started]
    found: Row = json.loads(first)
    return found


def member() -> Row:
    """One of the processes that add five numbers up."""
    with joined() as world:
        world.wait()
        seconds = []
        for _ in range(200):
            before = time.perf_counter()
            world.sum([0.0] * 5)
            seconds.append(time.perf_counter() - before)
        opened = len(list(Path("/proc/self/fd").iterdir()))
        world.wait()
    middle = sorted(seconds)[100]
    return {"processes": world.size, "milliseconds a sum": round(1000 * middle, 2), "open files": opened}


def as_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Markdown, as docs/scale.md has it."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_text(row[name]) for name in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def tables(part: str, count: int) -> list[list[Row]]:
    """What a part finds."""
    if part == "balance":
        return list(balance(count or 4_500_000))
    if part == "models":
        return [[model_row(name, model) for name, model in MODELS.items()], saving()[1]]
    if part == "corpus":
        return [[corpus_row(count or 10_000_000)]]
    if part == "encode":
        return [[encode_row(kind, count or 1_000_000) for kind in ("words", "bpe")]]
    return [[sum_row(size) for size in (2, 4, 8)]]


def main() -> None:
    """Prints what a part finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("balance", "models", "corpus", "encode", "sums", "read", "member"))
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.part in ("read", "member"):  # what other parts start
        print(json.dumps(read_corpus(asked.folder) if asked.part == "read" else member()), flush=True)
        return
    found = tables(asked.part, asked.pairs)
    print(json.dumps(found, indent=1) if asked.json else "\n".join(map(as_table, found)))


if __name__ == "__main__":
    main()
