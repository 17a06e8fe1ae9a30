"""The built-in data: English words and their phones, from the CMU Pronouncing Dictionary (see dictionary/LICENSE).

The file is made by tools/extract_dictionary.py; one line is `word phone phone ...`. Words stand as in the dictionary:
lower-case letters, apostrophes, dots, hyphens. Phones are the 39 of ARPAbet; a vowel ends in its stress (0, 1 or 2)
unless that is taken off.

The split belongs to the word, with all its pronunciations, and never changes: 64 bits of the word's BLAKE2b hash are
read as a number from 0 to 1; the lowest 5 % are the test part, the next 5 % the validation part, the rest for training.
"""

import hashlib
import heapq
import lzma
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Literal

from regard.errors import UsageError
from regard.text.pairs import Pair

Part = Literal["train", "valid", "test"]

BOUNDS: dict[Part, tuple[float, float]] = {"test": (0.0, 0.05), "valid": (0.05, 0.10), "train": (0.10, 1.0)}

STRESS = str.maketrans("", "", "012")


def pronunciations(part: Part, stress: bool = True) -> Iterator[Pair]:
    """The pairs (word, phones joined by spaces) of one part, in the dictionary's order; `line` counts them from 1.

    A word with several pronunciations gives several pairs, one after another, no two of them equal: without stress,
    fewer remain.
    """
    low, high = BOUNDS[part]
    return _numbered((word, phones) for word, phones in _entries(stress) if low <= place(word) < high)


def dictionary(stress: bool = True) -> Iterator[Pair]:
    """The pairs of all parts, as `pronunciations` gives them of one."""
    return _numbered(_entries(stress))


def held_out_words(n: int = 1000) -> list[Pair]:
    """All pronunciations, without stress, of the `n` test words with the smallest hash, smallest first.

    A fixed sample: the words of a smaller `n` are the first words of a larger one. Raises UsageError if the test part
    has fewer than `n` words.
    """
    found: dict[str, list[str]] = {}
    for pair in pronunciations("test", stress=False):
        found.setdefault(pair.source, []).append(pair.target)
    if not 1 <= n <= len(found):
        raise UsageError(f"{n} held-out words wanted", fix=f"ask for 1 to {len(found)}")
    return list(_numbered((word, phones) for word in heapq.nsmallest(n, found, key=place) for phones in found[word]))


def place(word: str) -> float:
    """Where the hash puts a word, from 0 to 1. Depends on nothing but the word."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8"), digest_size=8).digest(), "big") / 2**64


def _entries(stress: bool) -> Iterator[tuple[str, str]]:
    """(word, phones) in the file's order, where a word's lines stand together: `seen` need not outlive a word."""
    last, seen = "", set[str]()
    packed = resources.files("regard.data").joinpath("dictionary", "cmudict.txt.xz").read_bytes()
    for line in lzma.decompress(packed).decode("utf-8").split("\n")[:-1]:
        word, _, phones = line.partition(" ")
        if not stress:
            phones = phones.translate(STRESS)
        if word != last:
            last, seen = word, set()
        if phones not in seen:
            seen.add(phones)
            yield word, phones


def _numbered(entries: Iterable[tuple[str, str]]) -> Iterator[Pair]:
    return (Pair(word, phones, number) for number, (word, phones) in enumerate(entries, 1))
