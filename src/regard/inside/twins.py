"""Where several target tokens have their highest in one source token, and another source token goes without.

A head tells neighbours apart worse than words: so equal tokens share out the equal tokens that they come from. And one
that can nearly as well come from a token that nobody else comes from does.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from jaxtyping import Float
from torch import Tensor

MOST = 64  # equal tokens that are shared out; of more, each keeps its highest
ENOUGH = 0.5  # of its highest value, for a token to give way
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


def ways_out(
    links: Sequence[int], values: Float[Tensor, "T S"], enough: float = ENOUGH
) -> list[tuple[float, int, int]]:
    """(share, target token, source token), highest share first: where a target token that is linked to the same source
    token as another could go, to a source token without links that has this share of the value of its own, or more.
    """
    counts = Counter(links)
    rows = [row for row, place in enumerate(links) if counts[place] > 1]
    free = sorted(set(range(values.shape[1])) - counts.keys())
    if not (rows and free):
        return []
    own = values[rows, [links[row] for row in rows]].double()
    shares = values[rows][:, free].double() / own[:, None].clamp(min=LEAST)
    found = [
        (float(shares[row, place]), rows[row], free[place]) for row, place in (shares >= enough).nonzero().tolist()
    ]
    return sorted(found, key=lambda way: (-way[0], *way[1:]))


def spread(links: Sequence[int], values: Float[Tensor, "T S"]) -> list[int]:
    """The same links, but for those that take one of the `ways_out`, as long as another stays where it was."""
    links, counts = list(links), Counter(links)
    for _, row, place in ways_out(links, values):
        if counts[links[row]] > 1 and not counts[place]:
            counts[links[row]] -= 1
            links[row], counts[place] = place, 1
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
