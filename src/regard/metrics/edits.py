"""Metrics that count edits (insertions, deletions, replacements): PER, WER and exact match, in per cent.

The names are the pronunciation field's: WER is the share of outputs that are not exactly right (an output is a word),
PER the edits by reference symbol. Symbols are what stands between spaces; other white space is part of a symbol.
"""

from collections.abc import Sequence

from regard.errors import UsageError


def per(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Edits / reference symbols, over all lines, in %. More than 100 where outputs are much too long."""
    check_lines(hypotheses, references)
    edits = sum(
        symbol_edits(hypothesis, reference) for hypothesis, reference in zip(hypotheses, references, strict=True)
    )
    return edit_rate(edits, sum(len(split_symbols(reference)) for reference in references))


def wer(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The share of lines whose symbols are not exactly the reference's, in %."""
    check_lines(hypotheses, references)
    pairs = zip(hypotheses, references, strict=True)
    wrong = sum(split_symbols(hypothesis) != split_symbols(reference) for hypothesis, reference in pairs)
    return 100.0 * wrong / len(references)


def exact(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The share of lines equal to the reference, character by character, in %."""
    check_lines(hypotheses, references)
    right = sum(hypothesis == reference for hypothesis, reference in zip(hypotheses, references, strict=True))
    return 100.0 * right / len(references)


def split_symbols(text: str) -> list[str]:
    """`AA1  B` -> `["AA1", "B"]`: split at spaces only, so a doubled space makes no empty symbol."""
    return [symbol for symbol in text.split(" ") if symbol]


def symbol_edits(hypothesis: str, reference: str) -> int:
    """The fewest symbols to insert, delete or replace (Levenshtein's distance)."""
    return edit_distance(split_symbols(hypothesis), split_symbols(reference))


def edit_distance(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """Levenshtein's distance between two sequences, or between two strings by character."""
    from rapidfuzz.distance import Levenshtein  # 20 ms: only when needed

    return int(Levenshtein.distance(hypothesis, reference))


def edit_rate(edits: int, symbols: int) -> float:
    """Edits by symbol in %. Without any reference symbol: 0 if nothing was put out, else 100 (as sacrebleu's TER)."""
    if symbols == 0:
        return 100.0 if edits else 0.0
    return 100.0 * edits / symbols


def check_lines(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raises UsageError if the two sides differ in length or hold no line."""
    if len(hypotheses) != len(references):
        raise UsageError(
            f"{len(hypotheses)} hypotheses for {len(references)} references",
            fix="give one hypothesis for each reference",
        )
    if not references:
        raise UsageError("no line to compare", fix="give at least one hypothesis with its reference")
