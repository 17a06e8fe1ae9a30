"""`regard score --alignments`: a model's links between the words of given pairs beside those of a gold file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import tee
from typing import TYPE_CHECKING, Literal

import typer

from regard.text.pairs import Links, PairReader
from regard.text.pharaoh import Gold, LinkedPairs

if TYPE_CHECKING:
    from regard.translator import Translator


@dataclass(frozen=True)
class GoldFile:
    """Where the right links stand, from which number it counts, and how the model's are found."""

    path: str
    first: int
    by: str | None
    units: Literal["words", "tokens"] | None


def score_alignments(
    translator: Translator, reader: PairReader, gold: GoldFile, batch_size: int, as_json: bool
) -> None:
    """AER, precision and recall of the links of the targets given; nothing is searched."""
    from regard.metrics.alignment import agreement
    from regard.translator.aligning import aligner

    how = aligner(translator, gold.by, gold.units, batch_size)
    linked = LinkedPairs(reader, [gold.path])
    for_model, for_gold = tee(linked)
    wanted: Iterator[Gold] = (Gold.parse(pair.links or Links("", ""), gold.first) for pair in for_gold)
    found = agreement(
        (alignment.links, links) for alignment, links in zip(how.pairs(for_model, linked.where), wanted, strict=True)
    )
    facts = {"aer": 100 * found.error_rate, "precision": 100 * found.precision, "recall": 100 * found.recall}
    counts = {"links": found.found, "sure": found.sure, "read": how.choice.name, "units": how.units}
    if as_json:
        typer.echo(json.dumps({**facts, **counts, "skipped": reader.skipped}))
        return
    typer.echo(f"{found.found:,} links of {how.units}, {found.sure:,} sure ones wanted; read at {how.choice.name}")
    for name, value in facts.items():
        typer.echo(f"  {name:14} {value:7.2f}")
    if reader.skipped:
        typer.echo(f"  ({reader.skipped:,} lines could not be read and were skipped)")
