"""How well alignments agree with a gold file, as Och and Ney 2003 count (A systematic comparison of various statistical
alignment models).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from regard.text.pharaoh import Gold, Link


@dataclass(frozen=True)
class Agreement:
    """Counts over all pairs: links found, how many of them are sure and possible, and the sure ones there are."""

    found: int = 0
    found_sure: int = 0
    found_possible: int = 0
    sure: int = 0

    @property
    def precision(self) -> float:
        """Share of the links found that are possible; 1.0 where none was found."""
        return self.found_possible / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the sure links that were found; 1.0 where there is none."""
        return self.found_sure / self.sure if self.sure else 1.0

    @property
    def error_rate(self) -> float:
        """AER: 1 - (found and sure + found and possible) / (found + sure); 0.0 where there is nothing."""
        total = self.found + self.sure
        return 1 - (self.found_sure + self.found_possible) / total if total else 0.0


def agreement(pairs: Iterable[tuple[Collection[Link], Gold]]) -> Agreement:
    """Of the links of each pair with its gold links."""
    found = found_sure = found_possible = sure = 0
    for links, gold in pairs:
        distinct = set(links)
        found += len(distinct)
        found_sure += len(distinct & gold.sure)
        found_possible += len(distinct & gold.possible)
        sure += len(gold.sure)
    return Agreement(found, found_sure, found_possible, sure)
