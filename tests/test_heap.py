from __future__ import annotations

import sys

import pytest

from regard.heap import SWITCH, keep_heap

PROGRAM = (
    "from regard.heap import keep_heap; import torch; print(keep_heap()); print(float(torch.ones(3000, 3000).sum()))"
)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert not keep_heap()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_heap()
    monkeypatch.setattr(sys, "platform", "linux")

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert not keep_heap()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone")
def test_numbers_are_the_same_with_it() -> None:
    import subprocess

    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "9000000.0"]
