"""Word alignments: which words of a source each word of an answer, or of a given target, comes from.

They are read from the attention of one exact pass (`regard.inside.alignment` says how), whatever search found the
answer. Those of a pair do not depend on the pairs beside it: where two places come near a tie, or equal tokens share
out equal ones, the pair is looked at alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from torch import Tensor

from regard.data.tokens import Tokens
from regard.errors import DataError, UsageError
from regard.inside.alignment import Choice, between_words, grid, of_tokens, token_links, word_of_each
from regard.inside.choosing import NAME
from regard.inside.crossing import crossings
from regard.inside.result import Alignment
from regard.inside.twins import ENOUGH, twins, ways_out
from regard.text.pairs import Pair
from regard.text.tokenizer import BOS, EOS
from regard.text.words import Spans, aligns_words, words_of_ids, words_of_text
from regard.translator.results import Translation

if TYPE_CHECKING:
    from regard.translator.translator import Translator

Units: TypeAlias = Literal["words", "tokens"]
AHEAD = 8  # batches that are read ahead and sorted by length
MOST_WEIGHTS = 1 << 25  # of a layer in a batch: 128 MiB
NEAR = 1e-4  # of the highest value; what rounding does is far below


def aligner(translator: Translator, by: str | None = None, units: Units | None = None, batch_size: int = 64) -> Aligner:
    """How a translator aligns: read at the place `by`, or where its model folder says (docs/alignment.md).

    `units` None: tokens where either side's are characters or graphemes, else words (what spaces separate). An
    ensemble's alignments are its first model's. UsageError if the model has no such place, or none is known.
    """
    if batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, found {batch_size}")
    if by is None and translator.chosen is None:
        fix = "name a head, such as --align-by cross.1.3 (in Python: by=); a model trained now chooses one itself"
        raise UsageError(f"the model folder has no {NAME}, so where to read alignments is not known", fix=fix)
    choice = translator.chosen.choice if by is None and translator.chosen else Choice.parse(by or "")
    tiny = Tokens.of([[EOS]]), Tokens.of([[BOS]])
    grid(crossings(translator.model, *tiny), choice)  # says what is wrong before anything is answered
    usual: Units = "words" if aligns_words(translator.tokenizers.source, translator.tokenizers.target) else "tokens"
    return Aligner(translator, choice, units or usual, batch_size)


def align(
    translator: Translator,
    pairs: Iterable[Pair | tuple[str, str]],
    *,
    by: str | None = None,
    units: Units | None = None,
    batch_size: int = 64,
) -> Iterator[Alignment]:
    """The alignment of each source with the target given, in order; of a blank one, no links.

        for alignment in align(translator, [("der Hund", "the dog")]):
            print(pharaoh(alignment))

    See `aligner`. DataError names the pair that is too long, after those before it.
    """
    return aligner(translator, by, units, batch_size).pairs(pairs)


def pharaoh(alignment: Alignment) -> str:
    """`0-0 2-1`: source word, answer word."""
    return " ".join(f"{source}-{target}" for source, target in alignment.links)


@dataclass(frozen=True)
class _Row:
    """Ids without their ends, and the word of each. `read` is the source with its neighbours, which are not linked."""

    read: tuple[int, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]
    source_words: list[int]
    target_words: list[int]


@dataclass(frozen=True)
class Aligner:
    """A translator, where alignments are read, and between what; `aligner` makes one."""

    translator: Translator
    choice: Choice
    units: Units
    batch_size: int

    def answers(self, results: Iterable[Translation]) -> Iterator[tuple[Translation, tuple[Alignment, ...]]]:
        """Each result with the alignments of its answers. Before a fault of the results come all those before it."""
        remaining, fault = iter(results), None
        while fault is None:
            chunk, fault = _taken(remaining, self.batch_size * AHEAD)
            sources = self.translator.tokenizers.source.encode_many([result.source for result in chunk])
            found = self._aligned([
                self._row(result.source, ids, answer.ids, words_of_ids(self.translator.tokenizers.target, answer.ids))
                for result, ids in zip(chunk, sources, strict=True)
                for answer in result.answers
            ])  # fmt: skip
            yield from ((result, tuple(islice(found, len(result.answers)))) for result in chunk)
            if not chunk and fault is None:
                return
        raise fault

    def pairs(
        self, pairs: Iterable[Pair | tuple[str, str]], where: Callable[[Pair], str] = lambda pair: f"line {pair.line}"
    ) -> Iterator[Alignment]:
        """See `align`; `where(pair)` is named if it is too long."""
        source, target = self.translator.tokenizers.source, self.translator.tokenizers.target
        numbered = (pair if isinstance(pair, Pair) else Pair(*pair, line) for line, pair in enumerate(pairs, 1))
        while chunk := list(islice(numbered, self.batch_size * AHEAD)):
            sources = source.encode_many([pair.source for pair in chunk])
            targets = target.encode_many([pair.target for pair in chunk])
            rows, fault = [], None
            for pair, left, right in zip(chunk, sources, targets, strict=True):
                if fault := self._fault(left, right, where(pair)):
                    break
                rows.append(self._row(pair.source, left, tuple(right), words_of_text(target, pair.target)))
            yield from self._aligned(rows)
            if fault:
                raise fault

    def _row(self, text: str, source: Sequence[int], target: tuple[int, ...], words: Spans) -> _Row:
        tokenizer = self.translator.tokenizers.source
        own = tuple(source[: tokenizer.own(source)])
        if self.units == "tokens":
            return _Row(tuple(source), own, target, list(range(len(own))), list(range(len(target))))
        return _Row(tuple(source), own, target, word_of_each(words_of_text(tokenizer, text)), word_of_each(words))

    def _fault(self, source: Sequence[int], target: Sequence[int], where: str) -> DataError | None:
        most = {"source": self.translator.longest_source, "target": self.translator.recipe.decoding.longest_source}
        if positions := self.translator.model.decoder.longest:
            most["target"] = min(most["target"], positions - 1)
        for side, ids in (("source", source), ("target", target)):
            if len(ids) > most[side]:
                message = f"the {side} has {len(ids):,} tokens, this model aligns at most {most[side]:,}"
                return DataError(message, where=where, fix="split the pair into sentences, or take it out")
        return None

    def _aligned(self, rows: Sequence[_Row]) -> Iterator[Alignment]:
        """In order."""
        found: dict[int, list[int]] = {place: [] for place, row in enumerate(rows) if not (row.source and row.target)}
        alone: list[list[int]] = []
        for places in _batches(rows, self.batch_size, self.translator.recipe.model.heads):
            for place, values in zip(places, self._values([rows[place] for place in places]), strict=True):
                found[place] = token_links(values, rows[place].source, rows[place].target)
                if len(places) > 1 and _is_near(values, rows[place]):
                    alone.append([place])
        for [place] in alone:
            [values] = self._values([rows[place]])
            found[place] = token_links(values, rows[place].source, rows[place].target)
        for place, row in enumerate(rows):
            links = between_words(enumerate(found[place]), row.source_words, row.target_words)
            yield Alignment(links, self.choice.name)

    def _values(self, rows: Sequence[_Row]) -> Iterator[Tensor]:
        """[T, S] of each."""
        model = self.translator.model
        source = Tokens.of([[*row.read, EOS] for row in rows])
        previous = Tokens.of([[BOS, *row.target][: model.decoder.longest] for row in rows])
        values = grid(crossings(model, source, previous, self.choice.layers), self.choice).cpu()
        for row, length, each in zip(rows, previous.lengths.tolist(), values, strict=True):
            yield of_tokens(each[:length], len(row.source), len(row.target), after=self.choice.after)


def _taken(items: Iterator[Translation], most: int) -> tuple[list[Translation], DataError | None]:
    """The next ones, and what is wrong with the one after them."""
    taken: list[Translation] = []
    try:
        for item in islice(items, most):
            taken.append(item)
    except DataError as fault:
        return taken, fault
    return taken, None


def _batches(rows: Sequence[_Row], most: int, heads: int) -> Iterator[list[int]]:
    """Places of rows with both sides, in batches of about equal lengths."""
    places = [place for place, row in enumerate(rows) if row.source and row.target]
    places.sort(key=lambda place: (len(rows[place].read) + len(rows[place].target), place))
    batch: list[int] = []
    width = height = 0
    for place in places:
        width, height = max(width, len(rows[place].read) + 1), max(height, len(rows[place].target) + 1)
        if batch and (len(batch) == most or (len(batch) + 1) * width * height * heads > MOST_WEIGHTS):
            yield batch
            batch, width, height = [], len(rows[place].read) + 1, len(rows[place].target) + 1
        batch.append(place)
    if batch:
        yield batch


def _is_near(values: Tensor, row: _Row) -> bool:
    """Whether rounding could link another token: by a tie, or in what follows where several have the same highest."""
    if values.shape[1] == 1:
        return False
    first, second = values.topk(2).values.unbind(-1)
    best = values.argmax(-1).tolist()
    if bool((first - second <= NEAR * first).any()) or twins(best, row.source, row.target):
        return True
    shares = [ENOUGH, *(share for share, _, _ in ways_out(best, values, ENOUGH * (1 - NEAR)))]
    return any(one - other <= NEAR for other, one in pairwise(sorted(shares)))
