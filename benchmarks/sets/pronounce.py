"""English letters to phones with stress: the model that comes with the package, trained on all but the test words.

FOLDER holds cmudict-0.7b.test, whose words are left out; all else is the dictionary inside the package. The words with
the smallest hashes, 2 %, are for development.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from regard.data.pronunciations import place, pronunciations
from regard.text.lines import read_lines
from sets.part import DataSet, Part, error_rates, write_pairs

DEVELOPMENT = 0.02


def prepare(data: Path, folder: Path) -> list[Part]:
    """One part; no word stands in two of its files."""
    tested = {line.partition(" ")[0].lower() for line in read_lines(data / "cmudict-0.7b.test")}
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "dev": [], "test": []}
    for word, phones in _dictionary():
        split = "test" if word in tested else "dev" if place(word) < DEVELOPMENT else "train"
        splits[split].append((word, phones))
    files = {name: (write_pairs(folder / f"{name}.tsv", pairs),) for name, pairs in splits.items()}
    return [Part("", files["train"], files["dev"], files["test"])]


def _dictionary() -> Iterator[tuple[str, str]]:
    for part in ("test", "valid", "train"):
        for pair in pronunciations(part):
            yield pair.source, pair.target


SET = DataSet(prepare, error_rates, "wer")
