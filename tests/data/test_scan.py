"""SCAN from its grammar: the published split, line for line where the files are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.data.scan import scan_length_pairs
from regard.text.pairs import PairFormat, PairReader

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "scan"
TRAIN, LONG = scan_length_pairs(long=False), scan_length_pairs(long=True)


def test_the_published_numbers_of_pairs_and_lengths() -> None:
    assert (len(TRAIN), len(LONG)) == (16_990, 3_920)
    lengths = [[len(pair.target.split(" ")) for pair in pairs] for pairs in (TRAIN, LONG)]
    assert [(min(part), max(part)) for part in lengths] == [(1, 22), (24, 48)]
    assert len({pair.source for pair in TRAIN + LONG}) == 20_910
    assert [pair.line for pair in TRAIN] == list(range(1, 16_991))


@pytest.mark.parametrize(
    ("command", "actions"),
    [
        ("jump", "I_JUMP"),
        ("turn left", "I_TURN_LEFT"),
        ("jump left twice", "I_TURN_LEFT I_JUMP I_TURN_LEFT I_JUMP"),
        ("turn opposite right", "I_TURN_RIGHT I_TURN_RIGHT"),
        ("run around left", "I_TURN_LEFT I_RUN I_TURN_LEFT I_RUN I_TURN_LEFT I_RUN I_TURN_LEFT I_RUN"),
        ("look thrice after walk opposite left", "I_TURN_LEFT I_TURN_LEFT I_WALK I_LOOK I_LOOK I_LOOK"),
    ],
)
def test_examples_of_the_paper(command: str, actions: str) -> None:
    assert {pair.source: pair.target for pair in TRAIN}[command] == actions


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published files are not part of the project")
@pytest.mark.parametrize(("name", "ours"), [("tasks_train_length.txt", TRAIN), ("tasks_test_length.txt", LONG)])
def test_equal_to_the_published_files(name: str, ours: list[object]) -> None:
    theirs = PairReader((str(PUBLISHED / name),), PairFormat(None, " OUT: ", "error"))
    assert {(pair.source.removeprefix("IN: "), pair.target) for pair in theirs} == {
        (pair.source, pair.target) for pair in (TRAIN if ours is TRAIN else LONG)
    }
