"""Pairs for a student: what an ensemble answers, beside the true answers (Kim and Rush 2016).

    python benchmarks/distil.py PAIRS OUT MODEL [MODEL ...] [--words FILE ...] [--text FILE ...]
    python benchmarks/distil.py PAIRS OUT MODEL [MODEL ...] --others MODEL [MODEL ...] [--share 0.4]

OUT has the pairs of PAIRS, and for each distinct source there, and each line of the FILEs that is none of them, what
the models answer together with beam 5. No pair stands there twice. Words without an answer of their own are what a
student can learn that its teachers' pairs did not say; --text takes them out of running text, in capitals.
--others cannot decide with the models token by token, and choose with them of their best 5 answers (rerank.py).
--without TEST leaves out whatever stands as a source in TEST, a file of pairs too: words that shall be tested must not
be taught. Upper and lower case are different words.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import rerank
from sets.part import answers, begin, read_pairs, write_lines, write_pairs

from regard import Translator
from regard.text.lines import read_lines

WORD = re.compile(r"[A-Z](?:[A-Z']*[A-Z])?")
VOWELS = set("AEIOUY")  # what has none is an abbreviation
LENGTHS = range(3, 22)
BEAM = 5


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--others", type=Path, nargs="+", action="append", default=[], help="other tokenizers")
    parser.add_argument("--share", type=float, default=0.4, help="of those, from 0 to 1")
    parser.add_argument("--words", type=Path, nargs="*", default=[], help="more sources, one a line")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="running text, whose words are more sources")
    parser.add_argument("--without", type=Path, nargs="*", default=[], help="pairs whose sources are left out")
    return parser.parse_args(arguments)


def words_of(lines: Iterable[str]) -> list[str]:
    """The words of a text in Latin letters, each once, in order: capitals, no accents, apostrophes inside."""
    parts = unicodedata.normalize("NFD", "\n".join(lines).upper())
    found = WORD.findall("".join(each for each in parts if not unicodedata.combining(each)))
    return sorted({word for word in found if len(word) in LENGTHS and not VOWELS.isdisjoint(word)})


def sources_of(pairs: Iterable[tuple[str, str]], words: Iterable[str], without: set[str]) -> list[str]:
    """What is answered, each once: the sources of the pairs, then the words; but for those that are tested."""
    asked = dict.fromkeys([*(source for source, _ in pairs), *words])
    return [source for source in asked if source not in without and source.strip()]


def answered(models: Sequence[Path], sources: Sequence[str]) -> list[tuple[str, str]]:
    """Each source with the ensemble's answer."""
    with tempfile.TemporaryDirectory() as folder:
        file = write_lines(Path(folder) / "sources.txt", sources)
        return list(zip(sources, answers(models, file), strict=True))


def chosen_together(
    models: Sequence[Path], others: Sequence[Sequence[Path]], share: float, sources: Sequence[str]
) -> list[tuple[str, str]]:
    """Each source with what both kinds of models choose of the best answers of the first."""
    judges = rerank.judges_of(others, backward=())
    known = rerank.candidates(Translator.load_ensemble(models), judges, sources, BEAM)
    return [(source, rerank.chosen(known[source], share)) for source in sources]


def main(arguments: list[str]) -> None:
    """Writes the pairs and says how many."""
    asked = parse(arguments)
    tested = {source for file in asked.without for source, _ in read_pairs(file)}
    true = [pair for pair in read_pairs(asked.pairs) if pair[0] not in tested]
    words = [word for file in asked.words for word in read_lines(file)]
    words += words_of(line for file in asked.text for line in read_lines(file))
    sources = sources_of(true, words, tested)
    taught = (
        chosen_together(asked.models, asked.others, asked.share, sources)
        if asked.others
        else answered(asked.models, sources)
    )
    written = dict.fromkeys([*true, *(pair for pair in taught if pair[1].strip())])
    write_pairs(asked.out, written)
    print(
        f"{len(true):,} pairs, {len(taught):,} answers of the models, {len(written):,} different pairs in {asked.out}"
    )


if __name__ == "__main__":
    begin(main)
