"""One model that answers from the beginning and from the end, and gives what the two ways agree on best.

    python benchmarks/both_ways.py PAIRS --write OUT
    python benchmarks/both_ways.py PAIRS MODEL [--n-best 8] [--share 0.5 ...]

--write makes of each pair two: itself, and the source with MARK and the target's symbols from the last to the first.
A model trained on these gives N best answers each way; of them all that is chosen which is likeliest both ways
together, as rerank.py does with two models (Liu et al. 2016, "Agreement on target-bidirectional neural machine
translation"; one model for both, after Zhou et al. 2019, "Synchronous bidirectional neural machine translation").
A line for each share of the way from the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from rerank import MARK, N_BEST, SHARES, Candidate, from_the_end, tell
from sets.part import begin, read_pairs, write_pairs

from regard import Translator
from regard.translator.requests import Request
from regard.translator.results import Translation


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--write", type=Path, help="only write the pairs there, both ways")
    parser.add_argument("--share", type=float, nargs="+", default=SHARES, help="of the way from the end, from 0 to 1")
    parser.add_argument("--n-best", type=int, default=N_BEST, help="answers each way")
    asked = parser.parse_args(arguments)
    if (asked.write is None) == (asked.model is None):
        parser.error("give a model, or --write OUT")
    return asked


def from_the_beginning(marked: str) -> str:
    """The inverse of `from_the_end`."""
    return " ".join(reversed(marked.split()[1:]))


def both_ways(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs, and after them the same from the end."""
    return [*pairs, *((source, from_the_end(target)) for source, target in pairs)]


def candidates(model: Translator, sources: Iterable[str], n_best: int) -> dict[str, list[Candidate]]:
    """Of each distinct source the answers of either way, and how likely each is both ways."""
    distinct = list(dict.fromkeys(sources))
    ahead = model.translate([Request(source, forbidden=(MARK,)) for source in distinct], beam=n_best, n_best=n_best)
    back = model.translate([Request(source, prefix=MARK) for source in distinct], beam=n_best, n_best=n_best)
    texts = map(_texts, ahead, back)
    asked = [(source, text) for source, found in zip(distinct, texts, strict=True) for text in found]
    ways = (asked, [(source, from_the_end(text)) for source, text in asked])
    likely = zip(*([each.log_probability for each in model.force(way)] for way in ways), strict=True)
    known: dict[str, list[Candidate]] = {source: [] for source in distinct}
    for (source, text), (one, other) in zip(asked, likely, strict=True):
        known[source].append((text, one, other))
    return known


def _texts(ahead: Translation, back: Translation) -> list[str]:
    """The answers of both, each once."""
    turned = (from_the_beginning(each.text) for each in back.answers)
    return list(dict.fromkeys([*(each.text for each in ahead.answers), *turned]))


def main(arguments: list[str]) -> None:
    """Scores of all shares, or the pairs both ways."""
    asked = parse(arguments)
    pairs = read_pairs(asked.pairs)
    if asked.write:
        write_pairs(asked.write, both_ways(pairs))
    else:
        known = candidates(Translator.load(asked.model), (source for source, _ in pairs), asked.n_best)
        tell(pairs, known, asked.share)


if __name__ == "__main__":
    begin(main)
