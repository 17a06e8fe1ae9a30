"""The model `pronounce` beside g2p_en (PyPI) on the same words that it was not trained on: accuracy, words a second.

    python benchmarks/pronounce.py TEST [MODEL]     # TEST: cmudict-0.7b.test; MODEL: a model folder, or `pronounce`

Both answer the distinct words of TEST alone, without looking them up; right is any pronunciation that the built-in
dictionary has for the word, with its stress or without. Speed is that of the first 1,000 words, in rounds in turn. The
authors of g2p_en do not say which words it was trained on: they may have been among these. It takes a word at a time,
greedily, on numpy. Needs `pip install g2p_en`, but not the data that nltk would fetch for it: they serve its dictionary
and homographs, which are not measured here.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from regard import Translator
from regard.data.pronunciations import STRESS, dictionary
from regard.metrics.scoring import score
from regard.text.lines import read_lines

ROUNDS = 3
TIMED = 1000  # words
Answer = Callable[[Sequence[str]], list[str]]


def held_out(test: Path) -> dict[str, list[str]]:
    """The distinct words of the file that the dictionary has, in lower case, each with all its pronunciations."""
    words = {line.partition(" ")[0].lower() for line in read_lines(test)}
    found: dict[str, list[str]] = {}
    for pair in dictionary():
        if pair.source in words:
            found.setdefault(pair.source, []).append(pair.target)
    return found


def answering(model: str, beam: int, at_once: int) -> Answer:
    """The model; `at_once` words are given to it together."""
    translator = Translator.load(model)

    def answer(words: Sequence[str]) -> list[str]:
        pieces = (words[first : first + at_once] for first in range(0, len(words), at_once))
        return [result.text for piece in pieces for result in translator.translate(piece, beam=beam)]

    return answer


def theirs() -> Answer:
    """g2p_en's network, without its dictionary."""
    from g2p_en import g2p

    g2p.cmudict = SimpleNamespace(dict=dict)
    predict = g2p.G2p().predict
    return lambda words: [" ".join(predict(word)) for word in words]


def scores(answers: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> list[float]:
    """WER and PER with stress, WER and PER without, in percent: one answer a word, against its nearest reference."""
    lines = [(word, answers[word], each) for word, right in references.items() for each in right]
    found = []
    for table in ({}, STRESS):
        sources, given, wanted = zip(
            *((word, a.translate(table), r.translate(table)) for word, a, r in lines), strict=True
        )
        values = score(sources, given, wanted, symbols=True).values
        found += [values["wer"], values["per"]]
    return found


def speeds(contenders: Mapping[str, Answer], words: Sequence[str]) -> dict[str, float]:
    """Words a second, the median of rounds in turn."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, answer in contenders.items():
            started = time.perf_counter()
            answer(words)
            found[name].append(len(words) / (time.perf_counter() - started))
    return {name: statistics.median(measured) for name, measured in found.items()}


def main(test: str, model: str = "pronounce") -> None:
    """A line a contender. A word at a time gets the answers that it gets among others, so it is only timed."""
    references = held_out(Path(test))
    words = list(references)
    accurate = {
        f"{model}, beam 5": answering(model, 5, 64),
        f"{model}, greedy": answering(model, 1, 64),
        "g2p_en, greedy, a word at a time": theirs(),
    }
    timed = speeds({**accurate, f"{model}, greedy, a word at a time": answering(model, 1, 1)}, words[:TIMED])
    print(f"{len(words):,} words\n{'':40} {'WER':>6} {'PER':>6}   without stress {'words/s':>12}")
    for name, speed in timed.items():
        measured = "" if name not in accurate else _numbers(accurate[name](words), references)
        print(f"{name:40} {measured:30} {speed:13,.0f}", flush=True)


def _numbers(answers: Sequence[str], references: Mapping[str, Sequence[str]]) -> str:
    wer, per, bare_wer, bare_per = scores(dict(zip(references, answers, strict=True)), references)
    return f"{wer:6.2f} {per:6.2f}   {bare_wer:6.2f} {bare_per:6.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
