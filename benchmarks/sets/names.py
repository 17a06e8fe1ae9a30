"""Person names in Latin letters to Hebrew and to Katakana (Merhav and Ash 2018): FOLDER holds wd_LANGUAGE_{64,16,20}.

A line is a name, its characters in the other script, a count. A word counts as right if any of its spellings is among
the first n answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from regard.text.lines import read_lines
from sets.part import DataSet, Numbers, Part, Split, answers, write_lines, write_pairs

LANGUAGES = ("hebrew", "katakana")
SPLITS = {"train": 64, "dev": 16, "test": 20}


def prepare(data: Path, folder: Path) -> list[Part]:
    """A part a script."""
    found = []
    for language in LANGUAGES:
        files = {}
        for split, number in SPLITS.items():
            columns = (line.split("\t") for line in read_lines(data / f"wd_{language}_{number}"))
            pairs = [(word, spelled) for word, spelled, *_ in columns]
            files[split] = (write_pairs(folder / f"{language}-{split}.tsv", pairs),)
        found.append(Part(language, files["train"], files["dev"], files["test"]))
    return found


def measure(models: Sequence[Path], part: Part, split: Split) -> Numbers:
    """Share of distinct names, in percent, with a right answer among the first 1, 2, 3."""
    right: dict[str, set[str]] = {}
    for line in read_lines(part.files(split)[0]):
        word, _, spelled = line.partition("\t")
        right.setdefault(word, set()).add(spelled)
    sources = write_lines(part.files(split)[0].with_suffix(f".{split}.words"), right)
    given = [json.loads(line) for line in answers(models, sources, "--n-best", "3", "--json")]
    ranks = [
        _rank([answer["text"] for answer in each["answers"]], right[word])
        for each, word in zip(given, right, strict=True)
    ]
    return {f"{best}-best": 100 * sum(rank < best for rank in ranks) / len(ranks) for best in (1, 2, 3)}


def _rank(found: Sequence[str], right: set[str]) -> int:
    return next((place for place, text in enumerate(found) if text in right), len(found) + 3)


SET = DataSet(prepare, measure)
