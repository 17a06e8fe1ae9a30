"""The model `pronounce`, which comes with the package: it answers right after installation, and as its card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regard.cli import run
from regard.data.pronunciations import dictionary, place
from regard.metrics.scoring import score
from regard.ready import ready_models
from regard.translator import Translator

WORDS = 200
MOST_WRONG = 40.0  # percent; the card has what was measured on more words


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator.load("pronounce")


def test_words_it_was_not_trained_on(translator: Translator) -> None:
    """Those with the smallest hashes, as benchmarks/sets/pronounce.py leaves them out."""
    pairs = [pair for pair in dictionary() if place(pair.source) < 0.02]
    words = sorted({pair.source for pair in pairs}, key=place)[:WORDS]
    answers = dict(zip(words, (result.text for result in translator.translate(words, beam=1)), strict=True))
    wanted = [pair for pair in pairs if pair.source in answers]
    sources, references = [pair.source for pair in wanted], [pair.target for pair in wanted]
    measured = score(sources, [answers[source] for source in sources], references, symbols=True).values
    assert measured["wer"] < MOST_WRONG


def test_case_and_accents_do_not_matter(translator: Translator) -> None:
    plain, *others = translator.translate(["zoe", "Zoe", "ZOË", "Zoe\u0308"], beam=5)
    assert all(other.text == plain.text for other in others)
    assert plain.text.split(" ")[0] == "Z"


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("Colonel\n\nblorptastic\n", encoding="utf-8")
    assert run(["translate", "pronounce", str(tmp_path / "words.txt"), "--lexicon", "cmudict"]) == 0
    colonel, empty, blorptastic, end = capsys.readouterr().out.split("\n")
    assert (colonel, empty, end) == ("K ER1 N AH0 L", "", "")
    assert {"B", "L", "P", "T"} <= set(blorptastic.split(" "))
    assert run(["look", "pronounce", "colonel", "--out", str(tmp_path / "colonel.html")]) == 0
    assert (tmp_path / "colonel.html").stat().st_size > 10_000


def test_it_is_small_and_names_no_machine() -> None:
    folder = ready_models()["pronounce"]
    assert (folder / "model.safetensors").stat().st_size <= 4_000_000
    data = Translator.load("pronounce").recipe.data
    assert (data.pairs, data.valid) == (("train.tsv",), ("dev.tsv",))
    text = b"".join(path.read_bytes() for path in folder.rglob("*") if path.suffix in (".md", ".toml", ".json"))
    assert not re.search(rb"/(home|root|tmp|work|Users)/", text)
