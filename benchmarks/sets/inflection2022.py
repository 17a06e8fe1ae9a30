"""A lemma and features to the form, in Gothic, Hungarian and Old English: SIGMORPHON-UniMorph 2022, task 0.

FOLDER holds got_large.train, got.dev, got.gold, ... The source is the lemma's characters and the features, a token
each; a space inside a word becomes a token of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from regard.text.lines import read_lines
from sets.part import DataSet, Part, exactness, write_pairs

PUBLISHED = {"got": "72.17", "hun": "77.20", "ang": "61.10"}  # lines exactly right, in percent: Transformer
SPACE = "\N{OPEN BOX}"


def prepare(data: Path, folder: Path) -> list[Part]:
    """A part a language."""
    found = []
    for language in PUBLISHED:
        names = {"train": f"{language}_large.train", "dev": f"{language}.dev", "test": f"{language}.gold"}
        files = {
            split: (write_pairs(folder / f"{language}-{split}.tsv", _pairs(data / name)),)
            for split, name in names.items()
        }
        found.append(Part(language, files["train"], files["dev"], files["test"]))
    return found


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    for line in read_lines(path):
        lemma, form, features = line.split("\t")
        tags = " ".join(f"<{feature}>" for feature in features.split(";"))
        yield f"{_spelled(lemma)} {tags}", _spelled(form)


def _spelled(word: str) -> str:
    return " ".join(word.replace(" ", SPACE))


SET = DataSet(prepare, exactness, PUBLISHED)
