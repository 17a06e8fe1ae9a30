"""What a run is, decided before anything is written: recipe and tokenizers, the same in every process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from regard.config import Data, Recipe, Settings, Side, build_recipe, build_section, check_given, parse_toml
from regard.data.origin import open_origin, pick, require_some
from regard.look.data_report import data_event
from regard.models import outline
from regard.presets import choose
from regard.text.neighbours import NeighbourTokenizer
from regard.text.pairs import Pair, is_blank
from regard.text.survey import survey
from regard.text.tokenizer import Tokenizer
from regard.trainer.beginning import beginning, inherited, located
from regard.training.boards import check_boards
from regard.training.journal import Event
from regard.translator import Tokenizers, verified


@dataclass(frozen=True)
class Job:
    """A recipe with its tokenizers, and what is told of how they were chosen."""

    recipe: Recipe
    tokenizers: Tokenizers
    told: tuple[Event, ...] = ()

    def files(self) -> dict[str, bytes]:
        """The files that a model folder holds of it; the recipe, which says that this is a run, last."""
        return {**self.tokenizers.files(), "recipe.toml": self.recipe.to_toml().encode()}

    def to_bytes(self) -> bytes:
        """For the other processes."""
        files = {name: content.decode() for name, content in self.files().items()}
        return json.dumps({"files": files, "told": self.told}).encode()

    @staticmethod
    def from_bytes(content: bytes) -> Job:
        """What `to_bytes` gave."""
        facts = json.loads(content)
        files = facts["files"]
        recipe = build_recipe(parse_toml(files.pop("recipe.toml"), "recipe.toml"))
        return Job(recipe, Tokenizers.of(files), tuple(facts["told"]))

    def with_budget(self, tokens: int, why: str) -> Job:
        """With another data.tokens_per_batch, and the reason for it."""
        data = self.recipe.data.model_copy(update={"tokens_per_batch": tokens})
        key, note = "data.tokens_per_batch", {"key": "data.tokens_per_batch", "value": str(tokens), "why": why}
        told = tuple(
            {**event, "reasons": [note if reason["key"] == key else reason for reason in event["reasons"]]}
            if event["event"] == "recipe"
            else event
            for event in self.told
        )
        return Job(self.recipe.model_copy(update={"data": data}), self.tokenizers, told)


def plan(settings: Settings) -> Job:
    """The complete recipe and the tokenizers for `settings`; UserErrors say what is wrong with them or the data."""
    check_given(settings)
    settings = located(settings)
    data = build_section(Data, settings.get("data", {}), "data")
    origin = open_origin(data, settings.get("training", {}).get("seed", 1))
    looked = survey(origin.train)
    require_some(looked.pairs, "all are blank or unreadable")
    recipe, reasons = choose(looked, settings, inherited(settings))
    outline(recipe.model, 8, 8)  # parts that do not go together are told before anything is written
    check_boards(recipe.training.boards)
    origin = open_origin(recipe.data, recipe.training.seed)
    if recipe.data.valid:
        pick(origin.valid, most=1)  # reads it to the end: a fault in it is told before anything is written
    told: Event = {"event": "recipe", "pairs": looked.pairs, "reasons": [asdict(reason) for reason in reasons]}
    tokenizers = make_tokenizers(origin.train, recipe)
    events = (told, data_event(recipe.data), beginning(recipe, tokenizers))
    return Job(recipe, tokenizers, tuple(event for event in events if event))


def make_tokenizers(pairs: Iterable[Pair], recipe: Recipe) -> Tokenizers:
    """The tokenizers a recipe asks for, learned from the training pairs alone; where it begins with a model, those of
    the model, with what in the training pairs they do not know.
    """
    chosen, (source, target) = recipe.tokenizer, _known(recipe)
    if chosen.joint:
        both = _make_tokenizer((text for pair in pairs for text in (pair.source, pair.target)), chosen.source, source)
        return Tokenizers(both, both)
    known = source.pairs if isinstance(source, NeighbourTokenizer) else ()
    plain = source.plain if isinstance(source, NeighbourTokenizer) else source
    made = _make_tokenizer((pair.source for pair in pairs), chosen.source, plain)
    other = _make_tokenizer((pair.target for pair in pairs), chosen.target, target)
    if chosen.neighbours:
        made = NeighbourTokenizer(made, other, [*_to_be_read(pairs), *known])
    return Tokenizers(made, other)


def _to_be_read(pairs: Iterable[Pair]) -> Iterator[tuple[str, str]]:
    return ((pair.source, pair.target) for pair in pairs if not (is_blank(pair.source) or is_blank(pair.target)))


def _known(recipe: Recipe) -> tuple[Tokenizer | None, Tokenizer | None]:
    """Those of the model that a recipe begins with."""
    if not recipe.training.begin_with:
        return None, None
    tokenizers = Tokenizers.load(verified(recipe.training.begin_with))
    return tokenizers.source, tokenizers.target


def _make_tokenizer(texts: Iterable[str], side: Side, known: Tokenizer | None) -> Tokenizer:
    if known:
        return known.widened(texts, side.vocabulary)
    return Tokenizer.train(
        texts,
        side.kind,
        vocabulary=side.vocabulary,
        unicode=side.unicode,
        lowercase=side.lowercase,
        accents=side.accents,
    )
