"""What is printed and what is written."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from peers.rounds import Times, ratios, spread

PACKAGES = ("regard", "torch", "ctranslate2", "transformers", "x-transformers", "joeynmt", "eole", "OpenNMT-py")


def environment(options: argparse.Namespace) -> dict[str, object]:
    """The machine, the versions and the settings; printed as one line."""
    versions = {name: _version(name) for name in PACKAGES}
    shown = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    print(f"{_processor()}, {options.threads} threads, {options.rounds} rounds; {shown}", flush=True)
    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": versions,
        "settings": {name: value for name, value in vars(options).items() if name != "json"},
    }


def agreed(shape: str, name: str, beam: int, equal: int, count: int) -> dict[str, object]:
    """One line: how many answers are ours."""
    print(f"{shape} {_search(beam)}: {name} gives {equal} of {count} answers as ours", flush=True)
    return {"shape": shape, "beam": beam, "peer": name, "equal": equal, "of": count}


def cell(shape: str, batch: int, beam: int, times: Times) -> dict[str, object]:
    """The table of one shape, batch and beam."""
    print(f"\n{shape}, batch {batch}, {_search(beam)}", flush=True)
    return {"shape": shape, "batch": batch, "beam": beam, **table(times, batch)}


def table(times: Times, sentences: int, ours: str = "regard") -> dict[str, object]:
    """A line a contender: sentences a second, and how many times as fast ours is."""
    print(f"  {'':18} {'sentences/s':>12}   ours/theirs", flush=True)
    rows: dict[str, object] = {}
    for name, seconds in times.seconds.items():
        speed = spread([sentences / taken for taken in seconds])
        ratio = ratios(times.seconds[ours], seconds) if name != ours else None
        compared = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""
        print(f"  {name:18} {speed.median:12.1f}   {compared}".rstrip(), flush=True)
        rows[name] = {"seconds": seconds, "speed": speed._asdict(), "ratio": ratio._asdict() if ratio else None}
    for name, taken in times.too_long.items():
        print(f"  {name:18} {'':12}   left out: one call takes {taken:.0f} s", flush=True)
    return {"sentences": sentences, "contenders": rows, "too_long": times.too_long}


def write(path: Path | None, results: Mapping[str, object]) -> None:
    """As JSON."""
    if path:
        path.write_text(json.dumps(results, indent=1, default=str) + "\n", encoding="utf-8")


def _search(beam: int) -> str:
    return "greedy" if beam == 1 else f"beam {beam}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Linux tells the model in a file; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
