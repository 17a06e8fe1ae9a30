"""The page of a look in a browser: its size, its first paint, and how long a switch takes to be seen.

python benchmarks/page.py [ROUNDS]

6 layers of 8 heads, encoder, decoder and cross; random weights. First paint: from navigation to the first contentful
paint, the page read from disk. Switches: from the choice to the frame that shows it; median and 95th percentile.
Needs `regard[dev]` and a Chromium (CHROMIUM names it, else the one on PATH).
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from regard.inside.page import page
from regard.inside.result import END, Attention, Candidate, Look, Part, Search, Side, Step

LENGTHS = (64, 256, 512)  # source and answer tokens each
LAYERS, HEADS = 6, 8
SWITCH = """async ([view, rounds]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = done; c.port2.postMessage(0); }));
  const times = [], parts = ["encoder", "decoder", "cross"];
  window.regard.go({ view, part: "cross", layer: 0, head: 0 });
  await frame();
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    window.regard.go({ part: parts[round % 3], layer: (round * 5) % 6, head: (round * 3 + 1) % 8, step: round % 60 });
    await frame();
    times.push(performance.now() - start);
  }
  return times;
}"""  # noqa: E501
PAINT = """async () => {
  for (;;) {
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    if (paint) return paint.startTime;
    await new Promise((done) => setTimeout(done, 20));
  }
}"""
VIEW = """async (view) => {
  const start = performance.now();
  window.regard.go({ view });
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}"""


def random_look(length: int) -> Look:
    """A look over `length` tokens on both sides, the ends among them."""
    side = Side(
        " ".join(f"w{place}" for place in range(length - 1)),
        (*(f"w{place}" for place in range(length - 1)), END),
        tuple((place, place + 1) for place in range(length)),
    )
    parts: tuple[Part, ...] = ("encoder", "decoder", "cross")
    alternatives = tuple(Candidate(f"a{place}", math.log(0.5 / 2**place)) for place in range(5))
    return Look(
        model="random",
        source=side,
        target=side,
        search=Search("greedy", -1.0, -1.0),
        attentions=tuple(_attention(part, layer, length) for part in parts for layer in range(LAYERS)),
        steps=tuple(Step(token, math.log(0.5), alternatives) for token in side.tokens),
    )


def _attention(part: Part, layer: int, length: int) -> Attention:
    scores = torch.randn(HEADS, length, length) * 3
    if part == "decoder":
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
    return Attention(part, layer, scores.softmax(-1))


def measured(length: int, rounds: int, browser: Any, folder: Path) -> dict[str, Any]:
    """Figures of one size."""
    file = folder / f"{length}.html"
    file.write_text(page([random_look(length)]), encoding="utf-8")
    paints = []
    for _ in range(max(3, rounds // 10)):
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(file.as_uri())
        paints.append(tab.evaluate(PAINT))
        if len(paints) < max(3, rounds // 10):
            tab.close()
    grid = tab.evaluate(VIEW, "heads")
    found = {view: tab.evaluate(SWITCH, [view, rounds]) for view in ("head", "lines", "steps")}
    tab.close()
    return {"length": length, "size": file.stat().st_size / 1e6, "paint": paints, "grid": grid, **found}


def row(figures: dict[str, Any]) -> str:
    """A line of the table."""
    switches = "  ".join(
        f"{statistics.median(figures[view]):5.0f} {p95(figures[view]):5.0f}" for view in ("head", "lines", "steps")
    )
    paint = f"{statistics.median(figures['paint']):6.0f} {p95(figures['paint']):6.0f}"
    size = f"{figures['length']:4}+{figures['length']:<4} {figures['size']:7.2f}"
    return f"{size} {paint} {figures['grid']:9.0f}   {switches}"


def p95(times: list[float]) -> float:
    """The time that 95 % do not exceed."""
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]


def main(rounds: int) -> None:
    """A table, milliseconds and megabytes."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    print("tokens        MB   first paint    all heads  head: p50 p95   lines     steps     (milliseconds)")
    with sync_playwright() as tools, tempfile.TemporaryDirectory() as folder:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for length in LENGTHS:
            print(row(measured(length, rounds, browser, Path(folder))), flush=True)
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
