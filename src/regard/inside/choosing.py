"""Which attention to read alignments from, chosen on development pairs without a gold file.

The best place links each token to the one that tells most about it: of all `candidates`, that with the highest mutual
information between linked source token and answer token. Measured on the pairs themselves it would be the higher the
rarer the tokens are. So half of the pairs tell how well the answers of the other half can be told: the gain of
p(answer token | linked source token) over p(answer token), in nats a link, the first smoothed by the second.

Beside alignments by another method (docs/alignment.md) this ranks the places better than the information of all pairs
with the correction of Miller (1955), or without what shuffled links have.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from regard.data.corpus import EncodedPairs
from regard.errors import ModelFolderError, UsageError
from regard.inside.alignment import Choice, candidates, grid, highest
from regard.inside.crossing import crossings
from regard.models.interface import EncoderDecoder

NAME = "alignment.json"  # in a model folder
KIND, VERSION = "regard.alignment", 1
MOST, SHORT, AT_ONCE = 200, 64, 25  # pairs; tokens of a side of those that are preferred; pairs a pass
AS_GOOD = 0.99  # of the highest value: among those this good, the one whose links meet the most tokens
PRIOR = 1.0  # links' worth of the general distribution
Link = tuple[int, int]


@dataclass(frozen=True)
class Chosen:
    """Where alignments are read (a `Choice`'s name), and how that was found.

    `value` is the criterion's, None if it decided nothing; `pairs` and `links` are how many it was measured on.
    """

    by: str
    how: str
    value: float | None = None
    pairs: int = 0
    links: int = 0

    @property
    def choice(self) -> Choice:
        """As an object."""
        return Choice.parse(self.by)

    def to_json(self) -> bytes:
        """As the file `NAME` holds it."""
        return (json.dumps({"kind": KIND, "version": VERSION, **asdict(self)}, indent=1) + "\n").encode()

    @staticmethod
    def load(folder: Path) -> Chosen | None:
        """Of a model folder; None if it has none. ModelFolderError for a file that is not ours."""
        path = folder / NAME
        if not path.exists():
            return None
        try:
            read = json.loads(path.read_bytes())
            if (read.pop("kind"), read.pop("version")) != (KIND, VERSION):
                raise ValueError(f"wanted {KIND} version {VERSION}")
            chosen = Chosen(**read)
            return chosen if chosen.choice.name == chosen.by else None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, UsageError) as error:
            fix = "copy the folder again, or name a head with --align-by"
            raise ModelFolderError(f"is no alignment of ours: {error}", where=str(path), fix=fix) from None


def choose(model: EncoderDecoder, pairs: EncodedPairs) -> Chosen | None:
    """By at most MOST pairs, short ones first, and a model in evaluation mode; None if it never looks at the source."""
    rows = _short(pairs)
    found: dict[Choice, tuple[list[Link], list[Link]]] = {}
    covered: Counter[Choice] = Counter()
    for part in rows:
        for choice, halves, distinct in _links(model, pairs, part):
            for links, more in zip(found.setdefault(choice, ([], [])), halves, strict=True):
                links += more
            covered[choice] += distinct
    values = {choice: information(*halves) for choice, halves in found.items()}
    if not values:
        return None
    enough = max(values.values()) - (1 - AS_GOOD) * abs(max(values.values()))
    good = [choice for choice in values if values[choice] >= enough]
    best = max(good, key=lambda choice: (covered[choice], choice.head is None, choice.norms))  # a mean is steadier
    how = f"mutual information of linked tokens, held out, over {len(values)} candidates"
    return Chosen(best.name, how, round(values[best], 6), sum(map(len, rows)), sum(map(len, found[best])))


def information(first: Sequence[Link], second: Sequence[Link]) -> float:
    """Nats a link that the source token tells of the answer token, in one half as the other half has it.

    A link is (source token, answer token). 0.0 where one half has none.
    """
    if not (first and second):
        return 0.0
    return (_gain(first, second) + _gain(second, first)) / (len(first) + len(second))


def _gain(known: Sequence[Link], told: Sequence[Link]) -> float:
    both, source = Counter(known), Counter(left for left, _ in known)
    target, kinds = Counter(right for _, right in known), len({right for _, right in (*known, *told)})
    total = 0.0
    for left, right in told:
        general = (target[right] + 1) / (len(known) + kinds)
        total += math.log((both[left, right] / general + PRIOR) / (source[left] + PRIOR))
    return total


def _short(pairs: EncodedPairs) -> list[torch.Tensor]:
    """Rows in batches of about equal lengths, which follow from the pairs alone."""
    longest = torch.maximum(pairs.source.lengths, pairs.target.lengths)
    preferred = torch.argsort((longest > SHORT).to(torch.int64) * longest, stable=True)[:MOST]
    by_length = preferred[torch.argsort(longest[preferred], stable=True)]
    return [by_length[start : start + AT_ONCE] for start in range(0, len(by_length), AT_ONCE)]


def _links(
    model: EncoderDecoder, pairs: EncodedPairs, rows: torch.Tensor
) -> Iterator[tuple[Choice, tuple[list[Link], list[Link]], int]]:
    """By each candidate: tokens that are linked in every second pair and in the others, and how many places are."""
    batch = pairs.batch(rows)
    layers = crossings(model, batch.source, batch.previous)
    sources, targets = batch.source.lengths - 1, batch.previous.lengths - 1
    is_real = (torch.arange(batch.previous.ids.shape[1]) < targets[:, None]) & (sources > 0)[:, None]
    row = torch.arange(len(rows))[:, None].expand_as(is_real)[is_real]
    answers, is_second = batch.gold.ids[is_real], row % 2 == 1
    for choice in candidates(layers):
        best = highest(grid(layers, choice).cpu(), sources, after=choice.after)[is_real]
        distinct = len(torch.unique(row * batch.source.ids.shape[1] + best))
        linked = torch.stack((batch.source.ids[row, best], answers), -1)
        yield choice, (_pairs(linked[~is_second]), _pairs(linked[is_second])), distinct


def _pairs(linked: torch.Tensor) -> list[Link]:
    return [(left, right) for left, right in linked.tolist()]
