"""What is odd in a corpus of pairs, before anyone trains on it: one finding a question, each ok, look or wrong."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Literal, NamedTuple

from regard.text.census import SHOWN, Census, Side, Tally, fetch, oddity, take_census
from regard.text.pairs import PairReader

Level = Literal["ok", "look", "wrong"]
LEVELS: tuple[Level, ...] = ("ok", "look", "wrong")

FEW_PAIRS = 1000  # to train on
FEW_HELD_OUT = 100  # to measure on
LONG = 2000  # characters
FAR_OFF = 6.0  # robust standard deviations of the logarithm of the length ratio
AT_LEAST = math.log(3)  # and in any case a ratio three times the usual one
OFTEN_SAME = 0.01  # share of pairs with source = target that is worth a look
LEAKED = 0.1  # share of a test set found in the training set that makes its scores meaningless
WIDTH = 60  # characters of a text shown


@dataclass(frozen=True)
class Finding:
    """The answer to one question about the corpus."""

    level: Level
    title: str
    detail: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All findings, in the order of the questions."""

    sections: tuple[Finding, ...]

    @property
    def worst(self) -> Level:
        """The gravest level of all."""
        return max((finding.level for finding in self.sections), key=LEVELS.index, default="ok")


class _Draft(NamedTuple):
    """A finding whose examples are still line numbers."""

    level: Level
    title: str
    detail: str
    lines: list[int] = []  # noqa: RUF012 (never changed)
    examples: tuple[str, ...] = ()


def report(train: PairReader, valid: PairReader | None = None, test: PairReader | None = None) -> Report:
    """Reads the corpora, each twice at most, and says what is odd in them and between them.

    What cannot be read becomes a finding too; raises only UsageError (an impossible call, a missing package).
    """
    readers = {"train": train, "valid": valid, "test": test}
    given = {name: reader for name, reader in readers.items() if reader is not None}
    censuses = {name: take_census(reader) for name, reader in given.items()}
    sections: list[Finding] = []
    for name, reader in given.items():
        census = censuses[name]
        drafts = list(_within(census, reader, FEW_PAIRS if name == "train" else FEW_HELD_OUT))
        if name != "train" and censuses["train"].lines and census.lines:
            drafts += _against(census, censuses["train"], "train")
            drafts += _unseen(census, censuses["train"])
        if name == "test" and "valid" in censuses and census.lines:
            drafts += _against(census, censuses["valid"], "valid")
        sections += _finished(drafts, reader, f"{name}: " if len(given) > 1 else "")
    return Report(tuple(sections))


def visible(text: str) -> str:
    """The text, cut to WIDTH, with characters that do not show (or that steer a terminal) as escapes."""
    cut = text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
    return "".join(f"\\u{ord(c):04x}" if oddity(c) and c != "\ufffd" else c for c in cut)


def _finished(drafts: list[_Draft], reader: PairReader, prefix: str) -> Iterator[Finding]:
    pairs = fetch(reader, {line for draft in drafts for line in draft.lines})
    for draft in drafts:
        shown = [pairs[line] for line in draft.lines if line in pairs]
        lines = tuple(f"{reader.where(pair)}: {visible(pair.source)} | {visible(pair.target)}" for pair in shown)
        yield Finding(draft.level, prefix + draft.title, draft.detail, draft.examples + lines)


def _within(census: Census, reader: PairReader, few: int) -> Iterator[_Draft]:
    """The questions about one corpus."""
    yield from _reading(census, reader)
    yield _counts(census, reader, few)
    if not census.lines:
        return
    yield _lengths(census)
    yield _symbols(census)
    yield _blanks(census)
    yield _duplicates(census)
    yield _conflicts(census)
    yield _ratios(census)
    yield _same(census)
    yield _in_step(census)


def _reading(census: Census, reader: PairReader) -> Iterator[_Draft]:
    """What stood in the way of reading; nothing if nothing did."""
    if census.unreadable is not None:
        yield _Draft("wrong", "reading", "the file cannot be read to its end", [], (str(census.unreadable),))
    if census.unequal is not None:
        yield _Draft("wrong", "equal lengths", census.unequal.message)
    if census.bad_lines:
        level: Level = "look" if reader.format.on_bad_line == "skip" else "wrong"
        detail = f"{census.bad_lines:,} lines cannot be read" + (" and are skipped" if level == "look" else "")
        yield _Draft(level, "bad lines", detail, [], tuple(str(fault) for fault in census.first_faults))


def _counts(census: Census, reader: PairReader, few: int) -> _Draft:
    usable = len(census.lines)
    files = " and ".join("stdin" if str(path) == "-" else str(path) for path in reader.paths)
    detail = f"{census.pairs:,} pairs in {files}"
    if usable != census.pairs:
        detail += f", {usable:,} with text on both sides"
    if usable == 0:
        return _Draft("wrong", "counts", detail + "; there is nothing to train on")
    if usable < few:
        return _Draft("look", "counts", detail + "; that is few")
    return _Draft("ok", "counts", detail)


def _lengths(census: Census) -> _Draft:
    level: Level = "ok"
    details, lines = [], []
    for name, side in (("source", census.source), ("target", census.target)):
        ordered = array("I", sorted(side.lengths))
        half, most, nearly_all = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.9, 0.99))
        longest = ordered[-1]
        details.append(f"{name} {half} (half), {most} (90 %), {nearly_all} (99 %), {longest} (longest)")
        lines.append(census.lines[side.lengths.index(longest)])
        if longest >= LONG or longest > 10 * max(nearly_all, 10):
            level = "look"
    return _Draft(level, "lengths", "characters a text: " + "; ".join(details), sorted(set(lines)))


def _symbols(census: Census) -> _Draft:
    sides = (("source", census.source), ("target", census.target))
    counts = ", ".join(f"{len(side.characters):,} in the {name}" for name, side in sides)
    examples = [example for name, side in sides for example in _odd_characters(name, side)]
    lines: list[int] = []
    for name, side in sides:
        if side.not_composed.count:
            count, first = side.not_composed.count, side.not_composed.lines
            at = ", ".join(map(str, first))
            examples.append(
                f"{name}: {count:,} lines are not in the form NFC, which training uses by default (lines {at})"
            )
            lines += first[:1]
    level: Level = "look" if examples else "ok"
    return _Draft(level, "symbols", f"distinct characters: {counts}", lines, tuple(examples))


def _odd_characters(name: str, side: Side) -> list[str]:
    """The odd characters of one side, a line each."""
    shown = [
        f"{name}: U+{ord(odd):04X} ({oddity(odd)}) {side.characters[odd]:,} times, first on line {line:,}"
        for odd, line in islice(side.odd.items(), 2 * SHOWN)
    ]
    more = len(side.odd) - len(shown)
    return [*shown, f"{name}: {more:,} more odd characters"] if more else shown


def _blanks(census: Census) -> _Draft:
    one_sided = census.blank_source.count + census.blank_target.count
    both = census.blank.count
    if not one_sided and not both:
        return _Draft("ok", "blanks", "none")
    detail = (
        f"blank source {census.blank_source.count:,}, blank target {census.blank_target.count:,}, both {both:,}; "
        "training drops them"
    )
    lines = sorted(census.blank_source.lines + census.blank_target.lines)[:SHOWN]
    return _Draft("look" if one_sided else "ok", "blanks", detail, lines)


def _duplicates(census: Census) -> _Draft:
    seen: set[int] = set()
    again = Tally()
    for key, line in zip(census.pair_hashes, census.lines, strict=True):
        if key in seen:
            again.add(line)
        seen.add(key)
    if not again.count:
        return _Draft("ok", "duplicates", "no pair occurs twice")
    return _Draft("look", "duplicates", f"{_share(again.count, census)} repeat an earlier pair exactly", again.lines)


def _conflicts(census: Census) -> _Draft:
    first: dict[int, int] = {}
    several: set[int] = set()
    shown: list[int] = []
    for place, (source, pair) in enumerate(zip(census.source_hashes, census.pair_hashes, strict=True)):
        earlier = first.setdefault(source, place)
        if census.pair_hashes[earlier] != pair and source not in several:
            several.add(source)
            if len(shown) < SHOWN:
                shown += [census.lines[earlier], census.lines[place]]
    if not several:
        return _Draft("ok", "conflicting targets", "every source has one target")
    detail = f"{len(several):,} of {len(first):,} sources have several targets"
    return _Draft("look", "conflicting targets", detail, shown)


def _ratios(census: Census) -> _Draft:
    """Pairs whose target is far longer or shorter than the others' (median and median deviation of the logarithm)."""
    ratios = array("d", map(_log_ratio, census.source.lengths, census.target.lengths))
    middle = median(ratios)
    spread = 1.4826 * median(array("d", (abs(ratio - middle) for ratio in ratios)))
    allowed = max(AT_LEAST, FAR_OFF * spread)
    odd = [(abs(r - middle), line) for r, line in zip(ratios, census.lines, strict=True) if abs(r - middle) > allowed]
    detail = f"a target has {math.exp(middle):.2f} times the characters of its source"
    if not odd:
        return _Draft("ok", "length ratio", f"{detail}; none is more than {math.exp(allowed):.1f} times off that")
    detail += f"; {_share(len(odd), census)} are more than {math.exp(allowed):.1f} times off that"
    return _Draft("look", "length ratio", detail, [line for _, line in sorted(odd, reverse=True)[:SHOWN]])


def _log_ratio(source: int, target: int) -> float:
    return math.log(target / source)


def _same(census: Census) -> _Draft:
    if not census.same.count:
        return _Draft("ok", "source = target", "none")
    often = census.same.count > OFTEN_SAME * len(census.lines)
    return _Draft("look" if often else "ok", "source = target", _share(census.same.count, census), census.same.lines)


def _in_step(census: Census) -> _Draft:
    drift = census.drift.find()
    if drift is None and census.unequal is not None:
        detail = "no place was found where the files part; perhaps the missing lines belong at the end"
        return _Draft("look", "in step", detail)
    if drift is None:
        return _Draft("ok", "in step", "no place was found where the two sides slip out of step")
    line = census.all_lines[drift.start]
    detail = f"from about line {line:,} on the two sides slip out of step: "
    if drift.shift is None:
        detail += "a source no longer goes with its target, nor with one near it"
    else:
        way = "later" if drift.shift > 0 else "earlier"
        size = abs(drift.shift)
        detail += f"a source goes with the target {size} line{'s' if size > 1 else ''} {way}"
    around = census.all_lines[max(0, drift.start - 1) : drift.start + 3]
    return _Draft("wrong", "in step", detail, list(around))


def _against(census: Census, other: Census, name: str) -> Iterator[_Draft]:
    """Sources and pairs that another corpus has too."""
    known_pairs, known_sources = set(other.pair_hashes), set(other.source_hashes)
    pairs, sources = Tally(), Tally()
    for pair, source, line in zip(census.pair_hashes, census.source_hashes, census.lines, strict=True):
        if pair in known_pairs:
            pairs.add(line)
        if source in known_sources:
            sources.add(line)
    title = f"overlap with {name}"
    if not sources.count:
        yield _Draft("ok", title, "no source is in both")
        return
    detail = f"{_share(pairs.count, census)} are in {name} too; {_share(sources.count, census)} have a source that is"
    level: Level = "wrong" if pairs.count > LEAKED * len(census.lines) else "look"
    yield _Draft(level, title, detail, pairs.lines or sources.lines)


def _unseen(census: Census, train: Census) -> Iterator[_Draft]:
    """Characters that the training set does not have."""
    examples = []
    for name, side, known in (
        ("source", census.source, train.source),
        ("target", census.target, train.target),
    ):
        new = Counter({c: n for c, n in side.characters.items() if c not in known.characters})
        if new:
            shown = " ".join(f"{visible(c)} (U+{ord(c):04X}, {n:,} times)" for c, n in new.most_common(2 * SHOWN))
            examples.append(f"{name}: {len(new):,} characters: {shown}")
    title = "characters not in train"
    yield (
        _Draft("look", title, "some were never seen in training", [], tuple(examples))
        if examples
        else _Draft("ok", title, "none")
    )


def _share(count: int, census: Census) -> str:
    total = len(census.lines)
    return f"{count:,} of {total:,} pairs ({100 * count / total:.1f} %)"
