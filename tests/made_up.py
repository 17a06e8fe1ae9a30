"""Looks that no model gave: as `Look` promises them, of any size and text, for the page and its tests."""

from __future__ import annotations

import math
import random
from typing import Any

import torch
from torch import Tensor

from regard.inside.result import END, Alignment, Attention, Candidate, Guess, Look, Part, Search, Side, Step

SOURCE = ("Ein", "Mann", "geht", "mit", "sein", "en", "Hund", "en", "im", "Park", "spazier", "en", ".")
SOURCE_WORDS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 6), (6, 8), (8, 9), (9, 10), (10, 12), (12, 13))
TARGET = ("A", "man", "is", "walk", "ing", "his", "dog", "s", "in", "the", "park", ".")
TARGET_WORDS = ((0, 1), (1, 2), (2, 3), (3, 5), (5, 6), (6, 8), (8, 9), (9, 10), (10, 11), (11, 12))
LINKS = ((0, 0), (1, 1), (2, 2), (2, 3), (8, 3), (4, 4), (5, 5), (6, 6), (6, 7), (7, 8), (9, 9), (10, 10))
OTHERS = ("the", "a", "cat", "runs", "garden", "on", "with", "woman", "and", "dogs")


def side(tokens: tuple[str, ...], words: tuple[tuple[int, int], ...] | None = None) -> Side:
    """Tokens and the end; each a word of its own unless said otherwise."""
    spans = words if words is not None else tuple((place, place + 1) for place in range(len(tokens)))
    text = " ".join("".join(tokens[first:last]) for first, last in spans)
    return Side(text, (*tokens, END), (*spans, (len(tokens), len(tokens) + 1)))


def made_up(
    source: Side | None = None,
    target: Side | None = None,
    *,
    layers: int = 3,
    heads: int = 4,
    parts: tuple[Part, ...] = ("encoder", "decoder", "cross"),
    norms: bool = False,
    beam: int = 4,
    model: str = "runs/multi30k",
    seed: int = 0,
) -> Look:
    """A look whose heads have habits: the diagonal, the token before, the first one, or none in particular."""
    source = source or side(SOURCE, SOURCE_WORDS)
    target = target or side(TARGET, TARGET_WORDS)
    random.seed(seed)
    torch.manual_seed(seed)
    steps = tuple(_step(token, layers) for token in target.tokens)
    total = sum(step.log_probability for step in steps)
    trace = _trace(target, steps, beam)
    known = [(i, j) for i, j in LINKS if i < len(source.words) and j < len(target.words)]
    return Look(
        model=model,
        source=source,
        target=target,
        search=Search(f"beam {beam}" if beam else "forced", total, total, 1.0, 0.0, True, True, trace),
        attentions=tuple(
            _attention(part, layer, heads, source, target, norms) for part in parts for layer in range(layers)
        ),
        steps=steps,
        opinions=_opinions(target, source),
        alignment=Alignment(tuple(known), f"cross.{layers - 1}.{heads - 1}") if known else None,
        greedy=Search("greedy", total - 0.4, total - 0.4, trace=_trace(target, steps, 1)) if beam else None,
        greedy_text=target.text if beam else "",
    )


def _attention(part: Part, layer: int, heads: int, source: Side, target: Side, norms: bool) -> Attention:
    queries = source if part == "encoder" else target
    keys = target if part == "decoder" else source
    weights = torch.stack([_head(layer + head, len(queries.tokens), len(keys.tokens), part) for head in range(heads)])
    lengths = weights * torch.rand(heads, 1, len(keys.tokens)) * 3 if norms else None
    return Attention(part, layer, weights, lengths)


def _head(habit: int, rows: int, columns: int, part: Part) -> Tensor:
    row, column = torch.arange(rows)[:, None] * max(1, columns) / max(1, rows), torch.arange(columns)[None]
    scores = torch.randn(rows, columns) * (0.6 + habit % 3 / 2)
    wish = (-(row - column).abs(), -(row - 1 - column).abs(), -column.expand(rows, -1) * 1.0, scores)[habit % 4]
    scores = scores + 1.2 * wish
    if part == "decoder":
        scores = scores.masked_fill(torch.ones(rows, columns, dtype=torch.bool).triu(1), -math.inf)
    return torch.softmax(scores, -1)


def _step(token: str, layers: int) -> Step:
    probability = random.choice((0.97, 0.92, 0.85, 0.6, 0.38))
    rest, others = 1 - probability, random.sample(OTHERS, 4)
    shares = [rest * share for share in (0.5, 0.25, 0.1, 0.05)]
    candidates = [Candidate(token, math.log(probability))]
    candidates += [Candidate(other, math.log(share)) for other, share in zip(others, shares, strict=True)]
    early = tuple(
        Guess(
            random.choice([token, *others]), math.log(0.2 + 0.2 * layer / layers), math.log(0.1 + 0.3 * layer / layers)
        )
        for layer in range(layers - 1)
    )
    best = tuple(sorted(candidates, key=lambda each: -each.log_probability))
    return Step(token, math.log(probability), best, early)


def _trace(target: Side, steps: tuple[Step, ...], beam: int) -> tuple[dict[str, Any], ...]:
    """The answer stays at place 0; beside it, candidates that live for a while or not at all."""
    before, trace = [0.0], []
    for number, step in enumerate(steps if beam else ()):
        last = target.ends and number == len(steps) - 1
        found = [
            _candidate(parent, each, before[parent]) for parent in range(len(before)) for each in step.alternatives
        ]
        own = next(each for each in found if each["parent"] == 0 and each["token"] == step.token)
        others = sorted((each for each in found if each is not own), key=lambda each: -each["total"])
        for place, each in enumerate([own, *others]):
            if place < beam and not (last and each is own):
                each |= {"fate": "kept", "place": place}
            elif place == beam and number % 5 == 2:
                each |= {"fate": "filtered", "total": -math.inf}
        if last:
            own["fate"] = "finished"
        before = [each["total"] for each in [own, *others][:beam]]
        shown = sorted([own, *others[: beam + 6]], key=lambda each: -each["total"])
        trace.append({"step": number, "candidates": shown})
    return tuple(trace)


def _candidate(parent: int, each: Candidate, before: float) -> dict[str, Any]:
    total = before + each.log_probability
    number = sum(map(ord, each.token)) % 997
    return {
        "parent": parent, "id": number, "token": each.token, "log_probability": each.log_probability, "total": total,
        "fate": "pruned",
    }  # fmt: skip


def _opinions(target: Side, source: Side) -> dict[str, Tensor]:
    shape = (len(target.tokens), len(source.tokens))
    return {
        "gradient_times_input": torch.rand(shape) ** 3,
        "occlusion": torch.randn(shape) * 0.3,
        "rollout": torch.rand(shape),
    }
