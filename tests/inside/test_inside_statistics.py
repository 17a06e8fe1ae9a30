"""Statistics of heads: worked by hand, by plain loops, and the same in however many pieces."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from regard.inside.result import Attention, Part
from regard.inside.statistics import MEASURES, HeadStatistics, Totals, head_statistics, measures


def random_attention(part: Part, queries: int, keys: int, heads: int = 2, layer: int = 0) -> Attention:
    scores = torch.randn(heads, queries, keys) * 2
    if part == "decoder":
        scores = scores.masked_fill(~torch.ones(queries, keys).tril().bool(), -torch.inf)
    return Attention(part, layer, scores.softmax(-1))


def test_an_encoder_head_worked_by_hand() -> None:
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.125, 0.75, 0.125]]])
    [head] = head_statistics([Attention("encoder", 2, weights)])
    entropies = [1.5 * math.log(2), 0.0, 0.75 * math.log(4 / 3) + 0.25 * math.log(8)]
    assert (head.name, head.rows) == ("encoder.2.0", 3)
    assert head.entropy == pytest.approx(sum(entropies) / 3)
    assert head.spread == pytest.approx(sum(entropies) / 3 / math.log(3))
    assert head.peak == 0.75
    assert head.previous == 0.375  # 0 and 0.75: the first query has none
    assert head.same == (0.5 + 1 + 0.125) / 3
    assert head.next == 0.125
    assert head.first == 0.625 / 3
    assert head.last == 0.375 / 3


def test_a_decoder_head_worked_by_hand() -> None:
    weights = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]])
    [head] = head_statistics([Attention("decoder", 0, weights)])
    assert head.entropy == pytest.approx(2 * math.log(2) / 3)
    assert head.spread == pytest.approx((1 + math.log(2) / math.log(3)) / 2)  # nothing to choose in the first row
    assert head == HeadStatistics(
        "decoder", 0, 0, 3, head.entropy, head.spread, 2 / 3, 0.5, head.same, None, 0.5, head.same
    )
    assert head.same == 2 / 3


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 4), (5, 2), (3, 7)])
def test_cross_attention_as_plain_loops_have_it(queries: int, keys: int) -> None:
    attention = random_attention("cross", queries, keys)
    for head, found in enumerate(head_statistics([attention])):
        rows = attention.weights[head].double().tolist()

        def mean(values: list[float]) -> float | None:
            return pytest.approx(math.fsum(values) / len(values)) if values else None

        entropies = [-sum(weight * math.log(weight) for weight in row) for row in rows]
        assert found.entropy == mean(entropies)
        assert found.spread == mean([entropy / math.log(keys) for entropy in entropies if keys > 1])
        assert found.peak == mean([max(row) for row in rows])
        assert found.previous == mean([row[i - 1] for i, row in enumerate(rows) if 1 <= i <= keys])
        assert found.same == mean([row[i] for i, row in enumerate(rows) if i < keys])
        assert found.next == mean([row[i + 1] for i, row in enumerate(rows) if i + 1 < keys])
        assert found.first == mean([row[0] for row in rows])
        assert found.last == mean([row[-1] for row in rows])


@pytest.mark.parametrize(
    ("weights", "spread", "peak"), [(torch.full((1, 4, 4), 0.25), 1, 0.25), (torch.eye(4)[None], 0, 1)]
)
def test_the_ends_of_the_scale(weights: Tensor, spread: float, peak: float) -> None:
    [head] = head_statistics([Attention("encoder", 0, weights)])
    assert (head.spread, head.peak) == (pytest.approx(spread), peak)


def test_sentences_in_pieces_are_one_mean_over_all_their_rows() -> None:
    sentences = [
        [
            random_attention(part, queries, 3 if part == "cross" else queries, layer=layer)
            for part in get_args(Part)
            for layer in (0, 1)
        ]
        for queries in (1, 2, 5)
    ]
    totals = Totals()
    for sentence in sentences:
        totals.add(sentence)
    heads = totals.heads()
    assert [head.name for head in heads] == [head.name for head in head_statistics(sentences[0])]
    for place, head in enumerate(heads):
        together = torch.cat([measures(sentence[place // 2])[:, place % 2] for sentence in sentences], dim=1)
        means = [row[~row.isnan()].mean().item() for row in together]
        found = [getattr(head, name) for name in MEASURES]
        assert head.rows == 8
        assert [math.nan if each is None else each for each in found] == pytest.approx(means, nan_ok=True)


def test_rows_without_weights_count_nowhere() -> None:
    weights = torch.tensor([[[0.0, 0.0], [0.5, 0.5]], [[0.0, 0.0], [0.0, 0.0]]])
    some, none = head_statistics([Attention("encoder", 0, weights)])
    assert (some.rows, some.peak, some.same) == (1, 0.5, 0.5)
    assert none == HeadStatistics("encoder", 0, 1, 0, *[None] * len(MEASURES))
