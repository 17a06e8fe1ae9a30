"""Answers of models, chosen together with models that cannot decide with them token by token.

    python benchmarks/rerank.py PAIRS MODEL [MODEL ...] --backward MODEL [MODEL ...]
    python benchmarks/rerank.py PAIRS MODEL [MODEL ...] --others MODEL [MODEL ...]
    python benchmarks/rerank.py PAIRS MODEL [MODEL ...] --both MODEL [MODEL ...]

The MODELs are an ensemble and give the N best answers to each source of PAIRS; those of --others, which may have other
tokenizers, are another and say how likely each is. So are those of --backward, trained on pairs whose targets stand
reversed (--reverse writes them), who read it from its end: what one way gets wrong late the other way gets wrong early,
so they err at different places (Liu et al. 2016, "Agreement on target-bidirectional neural machine translation"). Each
--others and each --backward is one judge more; a --both, whose models answer both ways (both_ways.py), is two; and all
count alike. A line for each share of the judges, 0 the MODELs alone: choose it where it may be chosen, then give it by
--share to the words that are tested.

    python benchmarks/rerank.py PAIRS --reverse OUT
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from sets.part import begin, read_pairs, write_pairs

from regard import Translator
from regard.metrics.scoring import score

SHARES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)
N_BEST = 8
MARK = "<"  # the first symbol of an answer that a model of both ways gives from its end

# An answer and how likely it is to the models and to the mean judge: sums of the symbols' log-probabilities.
Candidate = tuple[str, float, float]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    for kind in ("--others", "--backward", "--both"):
        parser.add_argument(kind, type=Path, nargs="+", action="append", default=[], metavar="MODEL")
    parser.add_argument("--share", type=float, nargs="+", default=SHARES, help="of those models, from 0 to 1")
    parser.add_argument("--n-best", type=int, default=N_BEST)
    parser.add_argument("--reverse", type=Path, help="only write the pairs there, the symbols of targets reversed")
    asked = parser.parse_args(arguments)
    if asked.reverse is None and not (asked.models and (asked.backward or asked.others or asked.both)):
        parser.error("give models and --others, --backward or --both models, or --reverse OUT")
    return asked


@dataclass(frozen=True)
class Judge:
    """Models that say how likely an answer is, once it is as `reads` makes it."""

    models: Translator
    reads: Callable[[str], str] = str

    def __call__(self, asked: Iterable[tuple[str, str]]) -> list[float]:
        """Of each source and answer the sum of the symbols' log-probabilities."""
        pairs = [(source, self.reads(answer)) for source, answer in asked]
        return [scored.log_probability for scored in self.models.force(pairs)]


def judges_of(
    others: Iterable[Sequence[Path]], backward: Iterable[Sequence[Path]], both: Iterable[Sequence[Path]] = ()
) -> list[Judge]:
    """As the command line names them."""
    kinds = ((others, (str,)), (backward, (reversed_symbols,)), (both, (str, from_the_end)))
    loaded = [(Translator.load_ensemble(each), reads) for kind, reads in kinds for each in kind]
    return [Judge(models, read) for models, reads in loaded for read in reads]


def reversed_symbols(text: str) -> str:
    """The symbols between spaces, the last first."""
    return " ".join(reversed(text.split(" ")))


def from_the_end(text: str) -> str:
    """The symbols from the last to the first, after MARK."""
    return " ".join([MARK, *reversed(text.split())])


def candidates(
    models: Translator, judges: Sequence[Judge], sources: Iterable[str], n_best: int
) -> dict[str, list[Candidate]]:
    """Of each distinct source, the best first as the models see them."""
    found = list(models.translate(dict.fromkeys(sources), beam=n_best, n_best=n_best))
    asked = [(each.source, answer.text) for each in found for answer in each.answers]
    known = map(fmean, zip(*(judge(asked) for judge in judges), strict=True))
    return {
        each.source: [(answer.text, answer.log_probability, next(known)) for answer in each.answers] for each in found
    }


def chosen(answers: Sequence[Candidate], share: float) -> str:
    """The likeliest by the weighted mean of log-probabilities; of equals the first."""
    return max(answers, key=lambda each: (1 - share) * each[1] + share * each[2])[0]


def tell(pairs: Sequence[tuple[str, str]], known: Mapping[str, Sequence[Candidate]], shares: Iterable[float]) -> None:
    """Prints the scores for each share."""
    sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
    for share in shares:
        values = score(sources, [chosen(known[source], share) for source in sources], references, symbols=True).values
        print(f"share {share:g}  " + "  ".join(f"{name} {value:.2f}" for name, value in values.items()))


def main(arguments: list[str]) -> None:
    """Scores of all shares, or the pairs reversed."""
    asked = parse(arguments)
    if asked.reverse:
        reverse = ((source, reversed_symbols(target)) for source, target in read_pairs(asked.pairs))
        write_pairs(asked.reverse, reverse)
    else:
        pairs = read_pairs(asked.pairs)
        models, judges = Translator.load_ensemble(asked.models), judges_of(asked.others, asked.backward, asked.both)
        tell(pairs, candidates(models, judges, (source for source, _ in pairs), asked.n_best), asked.share)


if __name__ == "__main__":
    begin(main)
