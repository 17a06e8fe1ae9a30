"""English letters to phones with stress: the model that comes with the package, trained on all but the test words.

FOLDER holds cmudict-0.7b.test, whose words are left out; all else is the dictionary inside the package. The words with
the smallest hashes, 2 %, are for development.
"""

from __future__ import annotations

from pathlib import Path

from regard.data.pronunciations import dictionary, place
from regard.text.lines import read_lines
from sets.part import DataSet, Part, error_rates, write_pairs

DEVELOPMENT = 0.02


def prepare(data: Path, folder: Path) -> list[Part]:
    """One part; no word stands in two of its files."""
    tested = {line.partition(" ")[0].lower() for line in read_lines(data / "cmudict-0.7b.test")}
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "dev": [], "test": []}
    for pair in dictionary():
        split = "test" if pair.source in tested else "dev" if place(pair.source) < DEVELOPMENT else "train"
        splits[split].append((pair.source, pair.target))
    files = {name: (write_pairs(folder / f"{name}.tsv", pairs),) for name, pairs in splits.items()}
    return [Part("", files["train"], files["dev"], files["test"])]


SET = DataSet(prepare, error_rates)
