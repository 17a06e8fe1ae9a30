"""From counted pieces of text to a vocabulary: whole pieces, BPE or unigram.

Ids 0..3 are the specials; BPE and unigram hold the 256 bytes at 4..259; then come the learned pieces. The names of
specials and bytes end in a space after other characters. What `kinds.py` cuts never does (only a grapheme may, such
as U+0600 with a space, and none is that long), so no text that a person types becomes one of them. They stand in the
model itself, never in the list of "added tokens" of the `tokenizers` library: that list is searched for in the text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ["<pad> ", "<bos> ", "<eos> ", "<unk> "]
BYTES = [f"<0x{byte:02X}> " for byte in range(256)]

COVERAGE = 0.9995  # share of all characters that get a piece of their own; the rest is spelled in bytes
END = "\0"  # ends a piece in the text fed to the trainers; a NUL in the corpus is always spelled in bytes
REPEATS = 1000  # pieces in one string fed to a trainer: bounds its memory


def learn_whole(counts: Counter[str], vocabulary: int) -> models.WordLevel:
    """The most frequent pieces, whole; ties in code point order."""
    kept = by_frequency(counts)[: vocabulary - len(SPECIALS)]
    return models.WordLevel(numbered(SPECIALS + kept), unk_token=SPECIALS[UNK])


def learn_bpe(counts: Counter[str], vocabulary: int) -> models.BPE:
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909); what was seen once is never merged."""
    room = vocabulary - len(SPECIALS) - len(BYTES)
    trainer = trainers.BpeTrainer(vocab_size=room, min_frequency=2, show_progress=False)
    learned = run_trainer(models.BPE(), trainer, feed(counts, alphabet(counts, room)))
    pieces = SPECIALS + BYTES + sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    merges = [(left, right) for left, right in learned["merges"]]
    return models.BPE(vocab=numbered(pieces), merges=merges, unk_token=SPECIALS[UNK])


def learn_unigram(counts: Counter[str], vocabulary: int) -> models.Unigram:
    """Unigram language model (Kudo 2018, arXiv:1804.10959)."""
    room = vocabulary - len(SPECIALS) - len(BYTES)
    unknown = SPECIALS[UNK]
    trainer = trainers.UnigramTrainer(vocab_size=room + 1, unk_token=unknown, show_progress=False)
    learned = run_trainer(models.Unigram(), trainer, feed(counts, alphabet(counts, room)))
    scores = {piece: score for piece, score in learned["vocab"] if piece != unknown}
    reserved = [(name, 0.0) for name in SPECIALS + BYTES]  # no text reaches them, so their score plays no part
    return models.Unigram(reserved + steady(scores)[:room], unk_id=UNK, byte_fallback=False)


def steady(scores: dict[str, float]) -> list[tuple[str, float]]:
    """Characters, then longer pieces, each best first, without what differs between two trainings on the same text.

    The trainer adds floats in the random order of a hash map (so their last digits differ), and gives characters
    that it needs no more the lowest score plus 0, 1, 2... times 1e-4 in that order: here they all get the lowest.
    """
    lowest = min(scores.values())
    needless = lowest + 1e-4 * sum(len(piece) == 1 for piece in scores)
    level = {p: lowest if len(p) == 1 and score < needless else score for p, score in scores.items()}
    rounded = [(piece, round(score, 6)) for piece, score in level.items()]
    return sorted(rounded, key=lambda scored: (len(scored[0]) > 1, -scored[1], scored[0]))


def alphabet(counts: Counter[str], room: int) -> set[str]:
    """The characters that get a piece: the most frequent, up to COVERAGE of the text and half of the room."""
    characters: Counter[str] = Counter()
    for piece, count in counts.items():
        for character in piece:
            characters[character] += count
    del characters[END]
    kept: set[str] = set()
    missing = (1 - COVERAGE) * characters.total()
    left = characters.total()
    for character in by_frequency(characters)[: max(1, room // 2)]:
        if left <= missing:
            break
        kept.add(character)
        left -= characters[character]
    return kept


def feed(counts: Counter[str], kept: set[str]) -> Iterator[str]:
    """Every piece as often as it was counted, cut at the characters that are not kept."""
    for piece in sorted(counts):
        text = "".join(character if character in kept else END for character in piece) + END
        for done in range(0, counts[piece], REPEATS):
            yield text * min(REPEATS, counts[piece] - done)


def run_trainer(model: models.Model, trainer: trainers.Trainer, texts: Iterable[str]) -> dict[str, Any]:
    """What the trainer learned, as the library writes it in JSON."""
    scratch = Backend(model)
    scratch.pre_tokenizer = pre_tokenizers.Split(END, "removed")
    scratch.train_from_iterator(texts, trainer)
    model_json: dict[str, Any] = json.loads(scratch.to_str())["model"]
    return model_json


def by_frequency(counts: Counter[str]) -> list[str]:
    """Most frequent first, ties in code point order, so that equal texts give equal ids."""
    return sorted(counts, key=lambda piece: (-counts[piece], piece))


def numbered(pieces: list[str]) -> dict[str, int]:
    """Each piece with its place."""
    return {piece: place for place, piece in enumerate(pieces)}
