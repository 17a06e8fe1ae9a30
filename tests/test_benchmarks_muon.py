"""benchmarks/muon.py: it tells of both CPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_it_tells_of_this_cpu_and_of_an_older_one() -> None:
    done = subprocess.run([sys.executable, BENCHMARKS / "muon.py", "1"], capture_output=True, text=True, check=True)
    this, _, older = done.stdout.partition("as with AVX2\n")
    for text in (this, older):
        assert "forward and backward" in text
        assert "times as long" in text
    assert "products in torch.float32" in older
