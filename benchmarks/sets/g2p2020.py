"""Letters to phones in ten languages, 3,600 / 450 / 450 words each: SIGMORPHON 2020, task 1.

FOLDER holds fre_train.tsv, fre_dev.tsv, fre_test.tsv, ... Two more parts of each language, `fre-100` and `fre-500`,
have so many of its training words, drawn at random (which ones the published curve had is not known).
"""

from __future__ import annotations

import random
from pathlib import Path

from regard.text.lines import read_lines
from sets.part import DataSet, Part, error_rates, write_lines

LANGUAGES = ("arm", "bul", "fre", "geo", "gre", "hin", "hun", "ice", "kor", "lit")
PUBLISHED = {  # WER: LSTM; Transformer, tuned; one Transformer with fixed settings, which alone has a curve
    "arm": "14.67; 14.22; 14.89",
    "bul": "31.11; 34.00; 30.22",
    "fre": "6.22; 6.89; 6.00",
    "geo": "26.44; 28.00; 27.78",
    "gre": "18.89; 18.89; 16.67",
    "hin": "6.67; 9.56; 9.56",
    "hun": "5.33; 5.33; 4.67",
    "ice": "10.00; 10.22; 9.56",
    "kor": "46.89; 43.78; 46.22",
    "lit": "19.11; 20.67; 21.78",
    "mean": "18.53; 19.16; 18.74",
    "arm-100": "82.89",
    "arm-500": "33.11",
    "bul-100": "93.56",
    "bul-500": "53.78",
    "fre-100": "91.56",
    "fre-500": "41.78",
    "geo-100": "79.78",
    "geo-500": "37.33",
    "gre-100": "86.00",
    "gre-500": "32.00",
    "hin-100": "90.44",
    "hin-500": "34.44",
    "hun-100": "84.89",
    "hun-500": "31.78",
    "ice-100": "91.11",
    "ice-500": "39.33",
    "kor-100": "100",
    "kor-500": "95.78",
    "lit-100": "94.89",
    "lit-500": "42.89",
    "mean-100": "89.5",
    "mean-500": "44.2",
}
FEWER = (100, 500)


def prepare(data: Path, folder: Path) -> list[Part]:
    """A part a language, and those with fewer words."""
    found = []
    for language in LANGUAGES:
        train, dev, test = (data / f"{language}_{split}.tsv" for split in ("train", "dev", "test"))
        found.append(Part(language, (train,), (dev,), (test,)))
        for count in FEWER:
            drawn = random.Random(count).sample(list(read_lines(train)), count)
            few = write_lines(folder / f"{language}-{count}.tsv", drawn)
            found.append(Part(few.stem, (few,), (dev,), (test,)))
    return found


MEANS = {
    "mean": LANGUAGES,
    **{f"mean-{count}": [f"{language}-{count}" for language in LANGUAGES] for count in FEWER},
}
SET = DataSet(prepare, error_rates, PUBLISHED, MEANS)
