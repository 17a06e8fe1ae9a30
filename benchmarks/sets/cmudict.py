"""English letters to phones without stress, the split of the papers; FOLDER holds cmudict-0.7b.{train-dev-20-21,...}.

Development words that also stand in the training part are dropped (721). Published: one answer a distinct word, right
if equal to any of its pronunciations.

The part `distilled` is trained on what an ensemble answers: it is there when distil.py has written it to
RUNS/cmudict/pairs/distilled.tsv.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from regard.text.lines import read_lines
from sets.part import DataSet, Part, error_rates, write_pairs

PUBLISHED = {  # WER, and PER where it was given
    "": "Transformer 4+4: 22.1, 5.23; Transformer 3 layers d256: 20.6; ensemble: 20.24, 4.69; "
    "distilled, with more data: 19.88, 4.60"
}


def prepare(data: Path, folder: Path) -> list[Part]:
    """One part, or two."""
    train = list(_pairs(data / "cmudict-0.7b.train-dev-20-21"))
    known = {word for word, _ in train}
    dev = [pair for pair in _pairs(data / "cmudict-0.7b.train-dev-1-21") if pair[0] not in known]
    splits = {"train": train, "dev": dev, "test": list(_pairs(data / "cmudict-0.7b.test"))}
    files = {name: (write_pairs(folder / f"{name}.tsv", pairs),) for name, pairs in splits.items()}
    found = [Part("", files["train"], files["dev"], files["test"])]
    if (distilled := folder / "distilled.tsv").exists():
        found.append(Part("distilled", (distilled,), files["dev"], files["test"]))
    return found


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    for line in read_lines(path):
        word, _, phones = line.partition("  ")
        yield word, phones.strip()


SET = DataSet(prepare, error_rates, PUBLISHED)
