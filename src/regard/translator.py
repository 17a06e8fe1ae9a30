"""Text to text: the only object that the commands, metrics, pictures and servers use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from regard.config import Recipe, build_recipe, parse_toml
from regard.data.tokens import Tokens
from regard.decoding import strategy
from regard.decoding.interface import Hypothesis, Strategy, Vocabulary
from regard.errors import DataError, ModelFolderError, RecipeError, UsageError
from regard.folder import verify
from regard.models import build, outline
from regard.models.interface import EncoderDecoder
from regard.models.weights import load_weights
from regard.text.pairs import is_blank
from regard.text.tokenizer import BOS, EOS, PAD, UNK, Tokenizer

AHEAD = 32  # batches that are read ahead and sorted by length


@dataclass(frozen=True)
class Answer:
    """One hypothesis as text, with its symbols, its score, and whether it was cut at the limit."""

    text: str
    symbols: tuple[str, ...]
    score: float
    log_probability: float
    finished: bool


@dataclass(frozen=True)
class Translation:
    """What came of one line: answers, best first; `unknown` are the symbols of the source the model never saw."""

    source: str
    answers: tuple[Answer, ...]
    unknown: tuple[str, ...]

    @property
    def text(self) -> str:
        """The best answer."""
        return self.answers[0].text


@dataclass(frozen=True)
class Encoded:
    """A text as its encoder sees it: the symbols, the end of the text among them, and a state for each [S, D]."""

    text: str
    symbols: tuple[str, ...]
    states: Tensor

    @property
    def pooled(self) -> Tensor:
        """One vector [D]: the mean of the states."""
        return self.states.mean(0)


@dataclass(frozen=True)
class Tokenizers:
    """The source's and the target's; the same object twice if they are joint."""

    source: Tokenizer
    target: Tokenizer

    def files(self) -> dict[str, bytes]:
        """The files of a model folder that hold them."""
        if self.source is self.target:
            return {"tokenizer/tokenizer.json": self.source.to_json().encode()}
        sides = {"source": self.source, "target": self.target}
        return {f"tokenizer/{side}.tokenizer.json": tokenizer.to_json().encode() for side, tokenizer in sides.items()}

    @staticmethod
    def load(folder: Path) -> Tokenizers:
        """From a model folder."""
        joint = folder / "tokenizer" / "tokenizer.json"
        if joint.exists():
            both = Tokenizer.load(joint)
            return Tokenizers(both, both)
        source, target = (
            Tokenizer.load(folder / "tokenizer" / f"{side}.tokenizer.json") for side in ("source", "target")
        )
        return Tokenizers(source, target)


class Translator:
    """A model with its tokenizers and recipe. `Translator.load("runs/pairs").translate(["hello"])`."""

    def __init__(self, model: EncoderDecoder, tokenizers: Tokenizers, recipe: Recipe) -> None:
        self.model = model
        self.tokenizers = tokenizers
        self.recipe = recipe

    @staticmethod
    def load(folder: str | Path) -> Translator:
        """A model folder, every file of it verified; ModelFolderError says what is wrong with it."""
        folder = Path(folder)
        verify(folder, required=("recipe.toml", "model.safetensors"))
        recipe = read_recipe(folder)
        tokenizers = Tokenizers.load(folder)
        check_size(recipe, tokenizers, folder)
        model = build(recipe.model, len(tokenizers.source), len(tokenizers.target))
        load_weights(model, folder / "model.safetensors")
        return Translator(model.eval(), tokenizers, recipe)

    def translate(
        self, lines: Iterable[str], *, beam: int | None = None, n_best: int = 1, batch_size: int = 64
    ) -> Iterator[Translation]:
        """One translation a line, in order; a blank line gives a blank answer. Reads only so far ahead as it must.

        `beam` 1 is greedy; None takes the recipe's. UsageError for impossible numbers, DataError for a line longer than
        `decoding.longest_source` tokens.
        """
        if batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, found {batch_size}")
        search = self.strategy(beam, n_best)
        numbered = enumerate(lines, start=1)
        while chunk := list(islice(numbered, batch_size * AHEAD)):
            yield from self._translate_chunk(chunk, search, batch_size)

    def strategy(self, beam: int | None = None, n_best: int = 1) -> Strategy:
        """Greedy for a beam of 1, else beam search."""
        size = self.recipe.decoding.beam if beam is None else beam
        return strategy(max(size, n_best) if beam is None else size, n_best, self.recipe.decoding.length_penalty)

    def encode(self, text: str) -> Encoded:
        """The latent vectors of a text (claim N20). DataError for a text longer than `longest_source`."""
        return next(self.encode_many([text]))

    def encode_many(self, lines: Iterable[str], *, batch_size: int = 64) -> Iterator[Encoded]:
        """The latent vectors of each line, in order; those of a line do not depend on the others."""
        if batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, found {batch_size}")
        tokenizer, numbered = self.tokenizers.source, enumerate(lines, start=1)
        while chunk := list(islice(numbered, batch_size)):
            rows = [[*ids, EOS] for ids in tokenizer.encode_many([line for _, line in chunk])]
            for (number, _), row in zip(chunk, rows, strict=True):
                self._check_length(number, len(row) - 1)
            with torch.inference_mode():
                memory = self.model.encode(Tokens.of(rows))
            for (_, line), row, states in zip(chunk, rows, memory.states, strict=True):
                yield Encoded(line, tuple(tokenizer.symbols(row)), states[: len(row)].clone())

    def _translate_chunk(
        self, chunk: list[tuple[int, str]], search: Strategy, batch_size: int
    ) -> Iterator[Translation]:
        ids = self.tokenizers.source.encode_many([line for _, line in chunk])
        for (number, _), row in zip(chunk, ids, strict=True):
            self._check_length(number, len(row))
        texts = [place for place, (_, line) in enumerate(chunk) if not is_blank(line)]
        texts.sort(key=lambda place: len(ids[place]))
        found: dict[int, list[Hypothesis]] = {}
        for start in range(0, len(texts), batch_size):
            places = texts[start : start + batch_size]
            found |= dict(zip(places, self.search([ids[place] for place in places], search), strict=True))
        for place, (_, line) in enumerate(chunk):
            yield self._translation(line, ids[place], found.get(place))

    def search(self, sources: Sequence[list[int]], strategy: Strategy) -> list[list[Hypothesis]]:
        """Ids without bos and eos to hypotheses, one list a source."""
        decoding = self.recipe.decoding
        source = Tokens.of([[*ids, EOS] for ids in sources])
        limits = ((source.lengths - 1) * decoding.limit_factor).ceil().to(torch.int64) + decoding.limit_extra
        if self.model.decoder.longest is not None:
            limits = limits.clamp(max=self.model.decoder.longest - 1)
        vocabulary = Vocabulary(len(self.tokenizers.target), BOS, EOS, (PAD, BOS, UNK))
        with torch.inference_mode():
            state = self.model.decoder.start(self.model.encode(source))
            return strategy(self.model.decoder.step, state, limits, vocabulary)

    @property
    def longest_source(self) -> int:
        """The most tokens of a text that can be translated."""
        return int(min(self.recipe.decoding.longest_source, (self.model.encoder.longest or math.inf) - 1))

    def _check_length(self, number: int, length: int) -> None:
        if length > self.longest_source:
            raise DataError(
                f"the text has {length:,} tokens, this model reads at most {self.longest_source:,}",
                where=f"line {number}",
                fix="split the line into sentences; nothing was cut",
            )

    def _translation(self, line: str, ids: list[int], hypotheses: list[Hypothesis] | None) -> Translation:
        if hypotheses is None:
            return Translation(line, (Answer("", (), 0.0, 0.0, True),), ())
        unknown = tuple(self.tokenizers.source.unknown(line)) if UNK in ids else ()
        return Translation(line, tuple(self._answer(hypothesis) for hypothesis in hypotheses), unknown)

    def _answer(self, hypothesis: Hypothesis) -> Answer:
        target = self.tokenizers.target
        text, symbols = target.decode(hypothesis.ids), tuple(target.symbols(hypothesis.ids))
        return Answer(text, symbols, hypothesis.score, hypothesis.log_probability, hypothesis.finished)


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a model folder."""
    path = folder / "recipe.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"cannot be read: {error}", where=str(path)) from None
    try:
        return build_recipe(parse_toml(text, str(path)))
    except RecipeError as error:
        fix = error.fix or "if it names a part of your own, add that before the model is loaded: regard.add_part"
        raise RecipeError(error.message, where=str(path), fix=fix) from None


def check_size(recipe: Recipe, tokenizers: Tokenizers, folder: Path) -> None:
    """ModelFolderError, before anything is built, if the weights in the file cannot be those the recipe asks for."""
    drawn = outline(recipe.model, len(tokenizers.source), len(tokenizers.target))
    wanted = sum(parameter.nbytes for parameter in drawn.parameters())
    path = folder / "model.safetensors"
    found = path.stat().st_size if path.exists() else 0
    if found < wanted:
        raise ModelFolderError(
            f"the recipe asks for at least {wanted:,} bytes of weights, the file has {found:,}",
            where=str(path),
            fix="the recipe does not belong to these weights; train again or restore recipe.toml",
        )
