"""Equal tokens share out the equal tokens they come from: a head tells neighbours apart worse than words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

from jaxtyping import Float
from torch import Tensor

MOST = 64  # equal tokens that are shared out; of more, each keeps its highest
LEAST = 1e-6  # in place of nothing, which has no logarithm


def twins(
    best: Sequence[int], source: Sequence[Hashable], target: Sequence[Hashable]
) -> list[tuple[list[int], list[int]]]:
    """(target tokens, source tokens) that are to be shared out: equal target tokens that come from equal source tokens,
    two of them from the same one though there are enough for all.
    """
    groups = defaultdict[tuple[Hashable, Hashable], list[int]](list)
    for row, place in enumerate(best):
        groups[target[row], source[place]].append(row)
    found = []
    for (_, token), rows in groups.items():
        if len({best[row] for row in rows}) < len(rows) <= MOST:
            places = [place for place, each in enumerate(source) if each == token]
            if len(rows) <= len(places) <= MOST:
                found.append((rows, places))
    return found


def shared_out(
    best: Sequence[int], values: Float[Tensor, "T S"], source: Sequence[Hashable], target: Sequence[Hashable]
) -> list[int]:
    """`best` has the source token of each target token, its highest in `values`; so has the result, but for `twins`:
    each gets one of its own, such that the product of the values is the greatest.
    """
    links = list(best)
    for rows, places in twins(best, source, target):
        costs = values[rows][:, places].double().clamp(min=LEAST).log().neg().tolist()
        for row, chosen in zip(rows, assignment(costs), strict=True):
            links[row] = places[chosen]
    return links


def assignment(costs: Sequence[Sequence[float]]) -> list[int]:
    """A column of its own for each row, such that the sum of the costs is the least; no more rows than columns.

    By shortest augmenting paths (Kuhn 1955, Jonker and Volgenant 1987), in cubic time.
    """
    columns = len(costs[0])
    row_price, column_price = [0.0] * len(costs), [0.0] * (columns + 1)
    owner = [-1] * (columns + 1)  # the last column is where a new row begins
    for row in range(len(costs)):
        owner[columns], here = row, columns
        distance, before, free = [math.inf] * columns, [columns] * columns, set(range(columns))
        while owner[here] >= 0:
            free.discard(here)
            asking = owner[here]
            for column in free:
                reduced = costs[asking][column] - row_price[asking] - column_price[column]
                if reduced < distance[column]:
                    distance[column], before[column] = reduced, here
            here = min(free, key=distance.__getitem__)
            step = distance[here]
            for column in set(range(columns + 1)) - free:
                row_price[owner[column]] += step
                column_price[column] -= step
            for column in free:
                distance[column] -= step
        while here != columns:
            owner[here], here = owner[before[here]], before[here]
    return [owner.index(row) for row in range(len(costs))]
