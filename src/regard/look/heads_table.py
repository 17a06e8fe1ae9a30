"""Every head of a model by how much it matters on given pairs, and what it does there.

Two numbers say how much. The loss is teacher forcing's, in nats a target token: by how much it rises when the head is
switched off and all others stay (the measure of Michel et al. 2019, "Are sixteen heads really better than one?"), and
their estimate of it from one backward pass: the mean over sentences of |d loss / d factor of the head|.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from regard.data.batches import epoch_batches
from regard.data.corpus import EncodedPairs, Left, PairEncoder, Side
from regard.data.tokens import Batch
from regard.device import full_float32
from regard.errors import UsageError
from regard.inside.heads import Heads, Site, evaluating, heads
from regard.inside.interventions import changed
from regard.inside.record import Answered, record
from regard.inside.result import Part
from regard.look.head_measures import BROAD, MAIN, PARTLY, Measured, short_name
from regard.look.html import Table
from regard.look.text import as_text
from regard.models.interface import EncoderDecoder, Memory
from regard.text.pairs import Pair
from regard.training.loss import cross_entropy
from regard.translator import Translator

MOST = 200  # pairs
WIDTH = 112  # columns of a terminal
MOST_LOGITS = 1 << 26  # of a batch: 256 MiB
COLUMNS = {  # the head of a column, the measure in it, and that of attention to a source
    "prev": ("previous", "before"),
    "same": ("same", "diagonal"),
    "next": ("next", "after"),
    "rev": ("reversed", "reversed"),
    "first": ("first", "first"),
    "last": ("last", "last"),
    "rare": ("rare", "rare"),
    "even": ("spread", "spread"),
    "peak": ("peak", "peak"),
}


@dataclass(frozen=True)
class HeadRow:
    """One head. `importance`: the rise of the loss without it, nats a token; `gradient`: the estimate of its size.

    `does` is a short name, `measured` the means it comes from: see inside/statistics.py and look/head_measures.py.
    """

    name: str
    part: Part
    layer: int
    head: int
    importance: float
    gradient: float
    does: str
    measured: Mapping[str, float | None]


@dataclass(frozen=True)
class HeadTable:
    """All heads, the most important first; `pairs` of the `given` ones were used, `left_out` were blank or too long.

    `loss` is the whole model's, in nats a token of the `tokens` that were predicted. `layers`: how much it rises when
    all heads of an attention, such as `cross.1`, are off at once; heads that can stand in for each other show there.
    """

    rows: tuple[HeadRow, ...]
    layers: Mapping[str, float]
    loss: float
    pairs: int
    given: int
    left_out: int
    tokens: int

    def to_json(self) -> str:
        """One JSON object, numbers in full."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def to_text(self) -> str:
        """Heads and layers for a terminal of WIDTH columns."""
        return "\n\n".join(as_text(table, WIDTH) for table in (self.table(), self.layer_table()))

    def table(self) -> Table:
        """The heads, as text (look.text.as_text) or in a page (look.html.table)."""
        head = ("head", "loss\nwithout", "gradi-\nent", "what it does", *COLUMNS)
        return Table("Heads", head, tuple(_cells(row) for row in self.rows), (0, 3), self._notes())

    def layer_table(self) -> Table:
        """The layers, the most important first."""
        ordered = sorted(self.layers.items(), key=lambda item: -item[1])
        rows = tuple((name, f"{rise:+.4f}") for name, rise in ordered)
        note = "one head may stand in for another: then each alone can be spared, and all together cannot"
        return Table("All heads of a layer off at once", ("attention", "loss\nwithout"), rows, notes=(note,))

    def _notes(self) -> tuple[str, ...]:
        left = f", {self.left_out:,} left out (blank or too long)" if self.left_out else ""
        return (
            f"{self.pairs:,} of {self.given:,} pairs{left}, {self.tokens:,} target tokens; the loss of the whole model "
            f"is {self.loss:.4f} nats a token",
            "loss without: by how much the loss rises when this head alone is switched off; below 0: it falls",
            "gradient: how fast the loss changes with the head's size, from one pass (Michel et al. 2019)",
            f"what it does: where at least {MAIN} of its weight lies on average; else broad (even at least {BROAD}), "
            f"near a diagonal ({MAIN} within one key of it), partly ({PARTLY} there), mixed",
            "prev, same, next: mean weight on the key before, at and after the query's own place; of cross attention "
            "that is the diagonal, key i S / T for step i of T",
            "rev: the same place counted from the end; first, last: of the keys that may be attended to; rare: the "
            "symbol that is rarest in these pairs (Voita et al. 2019)",
            "even: entropy, 1 where all keys weigh the same; peak: the mean of the largest weight (confidence)",
        )


def head_table(
    translator: Translator,
    pairs: Iterable[Pair | tuple[str, str]],
    most: int = MOST,
    tell: Callable[[str], None] | None = None,
) -> HeadTable:
    """Of at most `most` pairs, spread evenly over the given ones. `tell` hears how long it will take.

    UsageError for an ensemble, a model without heads that could be switched off, or no pairs that can be used.
    """
    if translator.mates is not None:
        raise UsageError("an ensemble has several models, and a head is one model's", fix="name one model")
    given = [pair if isinstance(pair, Pair) else Pair(*pair, line) for line, pair in enumerate(pairs, start=1)]
    rows, left_out = _rows(translator, _spread(given, most))
    model, there = translator.model, heads(translator.model)
    there.named(there.sites[0].name if there.sites else "cross.0")  # says so where there are none
    batches = _batches(translator, rows)
    tokens = sum(int(batch.gold.lengths.sum()) for batch in batches)
    with full_float32(translator.device), evaluating(model):
        gradients = _gradients(model, there, batches)
        off, loss = _losses(model, there, batches, tell)
        measured = _measured(model, rows)
    found = [
        HeadRow(
            head.name,
            head.site.part,
            head.site.layer,
            head.number,
            (off[head.name] - loss) / tokens,
            gradients[head.site.path][head.number] / tokens,
            short_name(head.site.part, measured[head.name]),
            measured[head.name],
        )
        for head in there.all
    ]
    found.sort(key=lambda row: -row.importance)
    layers = {site.name: (off[site.name] - loss) / tokens for site in there.sites}
    return HeadTable(tuple(found), layers, loss / tokens, len(rows), len(given), left_out, tokens)


def _cells(row: HeadRow) -> tuple[str, ...]:
    found = [row.measured[names[row.part == "cross"]] for names in COLUMNS.values()]
    numbers = ("-" if number is None else f"{number:.2f}" for number in found)
    return (row.name, f"{row.importance:+.4f}", f"{row.gradient:.4f}", row.does, *numbers)


def _spread(pairs: Sequence[Pair], most: int) -> list[Pair]:
    if most < 1:
        raise UsageError(f"wanted at least 1 pair, found {most}", fix="give a larger number")
    count = min(most, len(pairs))
    return [pairs[place * len(pairs) // count] for place in range(count)]


def _rows(translator: Translator, pairs: Sequence[Pair]) -> tuple[list[tuple[list[int], list[int]]], int]:
    """Source ids with their end, target ids with beginning and end; how many pairs were left out."""
    positions = translator.model.decoder.longest
    longest = min(translator.longest_source, (positions or translator.longest_source + 1) - 1)
    left, sides = Left(), translator.tokenizers
    rows = list(PairEncoder(sides.source, sides.target, longest).rows(pairs, left))
    if not rows:
        raise UsageError("there is no pair to measure heads on", fix="give pairs that are neither blank nor too long")
    return rows, len(pairs) - len(rows)


def _batches(translator: Translator, rows: Sequence[tuple[list[int], list[int]]]) -> list[Batch]:
    """Of like lengths, as large as in training, on the model's device."""
    encoded = EncodedPairs(Side.of_rows([source for source, _ in rows]), Side.of_rows([target for _, target in rows]))
    budget = min(translator.recipe.data.tokens_per_batch, MOST_LOGITS // len(translator.tokenizers.target))
    return [encoded.batch(batch).to(translator.device) for batch in epoch_batches(encoded, budget, seed=0, epoch=0)]


def _losses(
    model: EncoderDecoder, there: Heads, batches: Sequence[Batch], tell: Callable[[str], None] | None
) -> tuple[dict[str, float], float]:
    """The summed loss without each head and each layer, by name, and that of the whole model."""
    with torch.no_grad():
        start = time.perf_counter()
        memories = [model.encode(batch.source) for batch in batches]
        loss = _loss(model, batches, memories)
        switches = [*((head.name, head.site.part) for head in there.all), *((s.name, s.part) for s in there.sites)]
        if tell:
            seconds = (time.perf_counter() - start) * len(switches)
            pairs = sum(len(batch.source.ids) for batch in batches)
            tell(f"{len(there.all)} heads, {pairs:,} pairs: {_about(seconds)}")
        off = {}
        for name, part in switches:
            with changed(model, {name: 0}):
                off[name] = _loss(model, batches, None if part == "encoder" else memories)
    return off, loss


def _loss(model: EncoderDecoder, batches: Sequence[Batch], memories: Sequence[Memory] | None) -> float:
    total = 0.0
    for place, batch in enumerate(batches):
        memory = model.encode(batch.source) if memories is None else memories[place]
        logits, gold = model.decoder(batch.previous, memory), batch.gold
        total += float(cross_entropy(logits, gold.ids, gold.is_real))
    return total


def _about(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def _gradients(model: EncoderDecoder, there: Heads, batches: Sequence[Batch]) -> dict[str, list[float]]:
    """By module: for each head the sum over sentences of |d loss / d factor|, at the factor 1."""
    totals: dict[str, Tensor] = {}
    for batch in batches:
        with torch.enable_grad(), _gated(there.sites, len(batch.source.ids), batch.source.ids.device) as gates:
            gold = batch.gold
            loss = cross_entropy(model(batch.source, batch.previous), gold.ids, gold.is_real)
            slopes = torch.autograd.grad(loss, list(gates.values()))
        for path, slope in zip(gates, slopes, strict=True):
            of_heads = slope.flatten(1).abs().sum(0).double()
            totals[path] = totals[path] + of_heads if path in totals else of_heads
    return {path: total.tolist() for path, total in totals.items()}


@contextmanager
def _gated(sites: Sequence[Site], rows: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """A factor of 1 for each head and sentence [B, H, 1, 1], by module, whose gradient can be asked for."""
    gates, handles = dict[str, Tensor](), []

    def gate(path: str) -> Callable[[nn.Module, object, tuple[Tensor, Tensor | None]], tuple[Tensor, Tensor | None]]:
        return lambda module, inputs, output: (output[0] * gates[path], output[1])

    try:
        for site in sites:
            gates[site.path] = torch.ones(rows, site.heads, 1, 1, device=device, requires_grad=True)
            handles.append(site.attend.register_forward_hook(gate(site.path)))
        yield gates
    finally:
        for handle in handles:
            handle.remove()


def _measured(model: EncoderDecoder, rows: Sequence[tuple[list[int], list[int]]]) -> dict[str, dict[str, float | None]]:
    answered = [Answered(tuple(source[:-1]), tuple(target[1:-1])) for source, target in rows]
    sources, targets = Counter[int](), Counter[int]()
    for each in answered:
        sources.update(each.source)
        targets.update(each.target)
    measured = Measured(sources, targets)
    for each in answered:
        measured.add(record(model, each))
    return measured.heads()
