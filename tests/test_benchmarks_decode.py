"""The arithmetic of benchmarks/decode.py, without any peer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from peers import rounds

    monkeypatch.setattr(rounds, "REST", 0.0)
    monkeypatch.setattr(rounds, "SLICE", 0.0)
    yield rounds
    for name in [name for name in sys.modules if name.split(".")[0] == "peers"]:
        del sys.modules[name]


def test_rounds_go_there_and_back(rounds: ModuleType) -> None:
    assert [rounds.order(["a", "b", "c"], number) for number in range(3)] == [list("abc"), list("cba"), list("abc")]


def test_ratios_are_of_the_same_round(rounds: ModuleType) -> None:
    """The machine got three times as slow in the second round: that changes no ratio."""
    assert rounds.ratios([1.0, 3.0, 1.0], [2.0, 6.0, 4.0]) == (2.0, 2.0, 4.0)


def test_every_contender_is_timed_once_a_round_after_a_call_that_is_not(rounds: ModuleType) -> None:
    called: list[str] = []
    calls = {name: rounds.Call(lambda name=name: called.append(name), lambda: None) for name in ("a", "b")}
    times = rounds.interleave(calls, 2)
    assert [len(taken) for taken in times.seconds.values()] == [2, 2]
    assert "".join(called) == "aabb" + "aabb" + "bbaa"


def test_what_takes_too_long_is_named_and_left_out(rounds: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_first", lambda call: call.run())
    taken = {"ours": 40.0, "quick": 0.1, "slow": 31.0}
    calls = {name: rounds.Call(lambda taken=taken: taken, lambda: None) for name, taken in taken.items()}
    times = rounds.interleave(calls, 3)
    assert times.too_long == {"slow": 31.0}
    assert list(times.seconds) == ["ours", "quick"]
