"""`regard score --forced`: what a model thinks of given pairs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from regard.cli.streams import lines_out
from regard.errors import UsageError
from regard.text.pairs import PairReader, is_blank

if TYPE_CHECKING:
    from regard.translator import Translator
    from regard.translator.forcing import ForcedScore


@dataclass
class Total:
    """Sums over pairs. Those with a blank side are counted apart: training leaves them out too."""

    pairs: int = 0
    tokens: int = 0
    log_probability: float = 0.0
    blank: int = 0
    unknown: int = 0

    def add(self, score: ForcedScore) -> None:
        """One more pair."""
        if is_blank(score.source) or is_blank(score.target):
            self.blank += 1
            return
        self.pairs += 1
        self.tokens += len(score.log_probabilities)
        self.log_probability += score.log_probability
        self.unknown += len(score.unknown_target)

    def lines(self, skipped: int) -> list[str]:
        """The summary."""
        from regard.translator.forcing import perplexity

        lines = [f"{self.pairs:,} pairs, {self.tokens:,} target tokens, the ends counted; forced, no search"]
        if self.tokens:
            lines += [
                f"  log-probability per token {self.log_probability / self.tokens:12.4f}",
                f"  perplexity per token      {perplexity(self.log_probability, self.tokens):12.4f}",
                f"  log-probability per pair  {self.log_probability / self.pairs:12.4f}",
            ]
        counted = {
            "target tokens were never seen in training; they are scored as <unk>": self.unknown,
            "pairs with a blank side are not counted above": self.blank,
            "lines could not be read and were skipped": skipped,
        }
        return lines + [f"  ({count:,} {what})" for what, count in counted.items() if count]


def score_forced(translator: Translator, reader: PairReader, batch_size: int, as_json: bool) -> None:
    """The summary; with `as_json` an object a pair, and the summary on stderr."""
    total = Total()
    with lines_out() as out:
        for score in translator.force(reader, batch_size=batch_size, where=reader.where):
            total.add(score)
            if as_json:
                out.write(json.dumps(_facts(score), ensure_ascii=False) + "\n")
        for line in total.lines(reader.skipped):
            typer.echo(line, err=as_json)


def refuse_search(given: dict[str, object], what: str = "--forced") -> None:
    """UsageError if an option of a search is given."""
    named = [name for name, value in given.items() if value]
    if named:
        raise UsageError(f"{what} searches nothing, so {named[0]} has no use", fix="leave one of the two out")


def _facts(score: ForcedScore) -> dict[str, Any]:
    return {
        "source": score.source,
        "target": score.target,
        "symbols": score.symbols,
        "log_probabilities": [_number(value) for value in score.log_probabilities],
        "log_probability": _number(score.log_probability),
        "perplexity": _number(score.perplexity),
        "unknown": {"source": score.unknown_source, "target": score.unknown_target},
    }


def _number(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None
