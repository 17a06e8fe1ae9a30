"""Decoding: ours beside CTranslate2, Hugging Face `generate`, x-transformers and a loop without a cache.

    python benchmarks/decode.py [--shape tiny] [--batch 64] [--beam 5] [--peers NAME ...] [--rounds 7] [--json FILE]
    python benchmarks/decode.py text RUN FILE       # a trained Transformer, from file to file: benchmarks/peers/text.py

Sentences of 20 tokens, encoded, then exactly 20 steps of the decoder for each contender; one model with random weights
for all whose format can hold them. Before a shape is timed, its answers are compared with ours; fewer than 90 % equal
stop the run. Printed are medians over the rounds and the median of same-round ratios with its ends; above 1 ours is
faster. Peers need `pip install 'regard[peers]'`; those missing are named.

Not here: JoeyNMT (it has no cache, as `rerun`), OpenNMT-py and eole. They train beside ours in train.py, each installed
in its own way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch
from peers import MAKERS, maker
from peers.report import agreed, cell, environment, write
from peers.rounds import Call, interleave
from peers.subject import SHAPES, STEPS, Contender, Shape, Subject, random_model, random_sources

from regard.heap import keep_heap
from regard.text.tokenizer import UNK

COMPARED = 64  # sentences, 5 to 20 tokens long
AT_ONCE = 16  # of them
AGREE = 0.9  # share of them


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="decode.py text --help: real text")
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 64])
    parser.add_argument("--beam", nargs="+", type=int, default=[1, 5], help="1 is greedy")
    parser.add_argument("--peers", nargs="*", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def contenders(names: list[str], subject: Subject) -> tuple[dict[str, Contender], dict[str, str]]:
    """Ours first, whoever else is asked for; and why some are missing."""
    found, missing = {}, {}
    for name in dict.fromkeys(["regard", *names]):
        try:
            found[name] = maker(name)(subject)
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def agreement(subject: Subject, found: dict[str, Contender], beams: list[int]) -> Iterator[dict[str, object]]:
    """How many answers are ours, for each contender with these weights; ends the run where too few are."""
    sources = random_sources(subject.shape, COMPARED, shortest=5, seed=2)
    for beam in beams:
        ours = answers(found["regard"], sources, beam)
        broken = [ids for ids in ours if len(ids) != STEPS or min(ids) <= UNK]
        if broken:
            sys.exit(f"an answer of ours is not {STEPS} words: {broken[0]}")
        for name, contender in found.items():
            if name == "regard" or not contender.same or (beam > 1 and not contender.beams):
                continue
            equal = sum(a == b for a, b in zip(ours, answers(contender, sources, beam), strict=True))
            yield agreed(subject.shape.name, name, beam, equal, len(sources))
            if contender.exact and equal < AGREE * len(sources):
                sys.exit(f"{name} does not give our answers: its times would mean nothing")


def answers(contender: Contender, sources: list[list[int]], beam: int) -> list[list[int]]:
    """A few sentences at a time: the loop without a cache makes large tensors."""
    starts = range(0, len(sources), AT_ONCE)
    return [ids for at in starts for ids in contender.search(sources[at : at + AT_ONCE], beam, STEPS)]


def call(contender: Contender, sources: list[list[int]], beam: int) -> Call:
    """`STEPS` steps for all the sources; the brief one is of the first alone."""
    count = STEPS - contender.spare
    return Call(lambda: contender.search(sources, beam, count), lambda: contender.search(sources[:1], beam, count))


def measure(shape: Shape, options: argparse.Namespace, results: dict[str, list[object]]) -> dict[str, str]:
    """Compares, then times each cell; adds to the results and writes them as it goes. Returns who is missing."""
    subject = Subject(shape, random_model(shape), options.threads)
    found, missing = contenders(options.peers, subject)
    for name, reason in missing.items():
        print(f"{shape.name}: without {name}: {reason}", flush=True)
    results["agreement"] += agreement(subject, found, options.beam)
    for batch, beam in product(options.batch, options.beam):
        sources = random_sources(shape, batch)
        calls = {name: call(each, sources, beam) for name, each in found.items() if beam == 1 or each.beams}
        results["cells"].append(cell(shape.name, batch, beam, interleave(calls, options.rounds)))
        write(options.json, results)
    return missing


def main(arguments: list[str]) -> None:
    """All shapes asked for."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    keep_heap()  # as `regard translate` does; it holds for all contenders of this process
    results: dict[str, list[object]] = {"environment": [environment(options)], "agreement": [], "cells": []}
    for name in options.shape:
        measure(SHAPES[name], options, results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["text"]:
        try:
            from peers.text import main as text
        except ModuleNotFoundError as error:
            sys.exit(f"real text is timed beside CTranslate2: {error}; pip install 'regard[peers]'")
        text(sys.argv[2:])
    else:
        main(sys.argv[1:])
