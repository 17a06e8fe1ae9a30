"""A few answers that a person reads while a model trains: the same sources at every checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from regard.text.pairs import Pair

COUNT = 5
LONGEST = 300  # characters of a text that is kept


def samples(pairs: Sequence[Pair], answers: Sequence[str], count: int = COUNT) -> list[dict[str, str]]:
    """At most `count` of the pairs with their answers, as {"source", "reference", "answer"}, long texts cut with "…".

    Which ones depends on the pairs alone: distinct sources at equal distances of the order by length, shortest first.
    """
    first = {pair.source: place for place, pair in reversed(list(enumerate(pairs)))}
    ordered = sorted(first.values(), key=lambda place: (len(pairs[place].source), place))
    chosen = [ordered[int((part + 0.5) * len(ordered) / count)] for part in range(count)] if ordered else []
    return [
        {"source": cut(pairs[place].source), "reference": cut(pairs[place].target), "answer": cut(answers[place])}
        for place in dict.fromkeys(chosen)
    ]


def cut(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning and "…"."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
