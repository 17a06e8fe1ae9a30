"""Answers of models that write from left to right, chosen together with models that write from right to left.

    python benchmarks/rerank.py PAIRS MODEL [MODEL ...] --backward MODEL [MODEL ...]

The MODELs are an ensemble and give the N best answers to each source of PAIRS; those of --backward, trained on pairs
whose targets stand reversed (--reverse writes them), are another and say how likely each is, read from its end. What
one way gets wrong late the other way gets wrong early, so they err at different places (Liu et al. 2016,
"Agreement on target-bidirectional neural machine translation"). A line for each share of the backward ones, 0 the
forward ones alone: choose it where it may be chosen, then give it by --share to the words that are tested.

    python benchmarks/rerank.py PAIRS --reverse OUT
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from sets.part import begin, read_pairs, write_pairs

from regard import Translator
from regard.metrics.scoring import score

SHARES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)
N_BEST = 8

# An answer and how likely it is, forwards and backwards: sums of the symbols' log-probabilities.
Candidate = tuple[str, float, float]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--backward", type=Path, nargs="+", default=[])
    parser.add_argument("--share", type=float, nargs="+", default=SHARES, help="of the backward models, from 0 to 1")
    parser.add_argument("--n-best", type=int, default=N_BEST)
    parser.add_argument("--reverse", type=Path, help="only write the pairs there, the symbols of targets reversed")
    asked = parser.parse_args(arguments)
    if asked.reverse is None and not (asked.models and asked.backward):
        parser.error("give models and --backward models, or --reverse OUT")
    return asked


def reversed_symbols(text: str) -> str:
    """The symbols between spaces, the last first."""
    return " ".join(reversed(text.split(" ")))


def candidates(
    forward: Translator, backward: Translator, sources: Iterable[str], n_best: int
) -> dict[str, list[Candidate]]:
    """Of each distinct source, the best first as the forward models see them."""
    found = list(forward.translate(dict.fromkeys(sources), beam=n_best, n_best=n_best))
    asked = [(each.source, reversed_symbols(answer.text)) for each in found for answer in each.answers]
    known = (scored.log_probability for scored in backward.force(asked))
    return {
        each.source: [(answer.text, answer.log_probability, next(known)) for answer in each.answers] for each in found
    }


def chosen(answers: Sequence[Candidate], share: float) -> str:
    """The likeliest by the weighted mean of log-probabilities; of equals the first."""
    return max(answers, key=lambda each: (1 - share) * each[1] + share * each[2])[0]


def rerank(asked: argparse.Namespace) -> None:
    """Prints the scores for each share."""
    pairs = read_pairs(asked.pairs)
    sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
    forward, backward = (Translator.load_ensemble(folders) for folders in (asked.models, asked.backward))
    known = candidates(forward, backward, sources, asked.n_best)
    for share in asked.share:
        values = score(sources, [chosen(known[source], share) for source in sources], references, symbols=True).values
        print(f"share {share:g}  " + "  ".join(f"{name} {value:.2f}" for name, value in values.items()))


def main(arguments: list[str]) -> None:
    """Scores of all shares, or the pairs reversed."""
    asked = parse(arguments)
    if asked.reverse:
        reverse = ((source, reversed_symbols(target)) for source, target in read_pairs(asked.pairs))
        write_pairs(asked.reverse, reverse)
    else:
        rerank(asked)


if __name__ == "__main__":
    begin(main)
