"""Text to text: loads a model, reads lines ahead, sorts them by length, searches, and answers in order."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from regard.config import Decoding, Recipe, build_section
from regard.data.tokens import Tokens
from regard.decoding.ensemble import Average
from regard.decoding.interface import Found, Hypothesis, Vocabulary
from regard.decoding.trace import Trace
from regard.device import full_float32
from regard.errors import DataError, ModelFolderError, RecipeError, UsageError
from regard.inside.choosing import Chosen
from regard.inside.result import Look
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.models.weights import load_weights
from regard.text.pairs import Pair, is_blank
from regard.text.tokenizer import BOS, EOS, PAD, UNK
from regard.translator.conditions import Asked, asked, check_prefix, conditions, limit, strategy
from regard.translator.folders import Tokenizers, check_size, read_recipe, verified
from regard.translator.forcing import ForcedScore, force
from regard.translator.lexicon import Lexicon, consulting
from regard.translator.looking import Wanted, look
from regard.translator.requests import Request
from regard.translator.results import Answer, Encoded, Translation
from regard.translator.settle import settled
from regard.translator.stepping import Start, fast, fingerprint, together
from regard.translator.threads import share_out, side_by_side, work_of_a_row
from regard.translator.wording import in_words

DOUBLE = 4  # times that an operation in float64 takes as long, about
AHEAD = 32  # batches that are read ahead and sorted by length
NOTHING_ASKED = Asked(())


@dataclass(frozen=True)
class Mates:
    """The other models of an ensemble; `weights` are of all, the first model's first."""

    models: tuple[EncoderDecoder, ...]
    weights: tuple[float, ...]
    average: Average = "probabilities"


class Manner(NamedTuple):
    """How a call is answered."""

    decoding: Decoding
    batch_size: int
    trace: bool


class Translator:
    """A model with its tokenizers and recipe. `Translator.load("runs/pairs").translate(["hello"])`.

    `mates` decide together with the model; they have its tokenizers and lie on its device, which computes: a CPU or a
    CUDA GPU. For another there is a UsageError when a text is first answered. The weights are copied then. Changes by
    torch's in-place operations are noticed; after an optimiser's step make a new translator.
    """

    chosen: Chosen | None = None  # where alignments are read, if the model folder says it

    def __init__(
        self, model: EncoderDecoder, tokenizers: Tokenizers, recipe: Recipe, mates: Mates | None = None
    ) -> None:
        self.model = model
        self.tokenizers = tokenizers
        self.recipe = recipe
        self.mates = mates
        self._kept: dict[torch.dtype, tuple[list[object], list[Start]]] = {}

    @staticmethod
    def load(folder: str | Path, device: str | torch.device = "cpu") -> Translator:
        """A model folder, every file of it verified, or by its name a model that comes with the package.

        ModelFolderError says what is wrong with it.
        Answers are computed on `device`, "cpu" or "cuda"; docs/decoding.md says when a GPU is worth it.
        """
        folder = verified(folder)
        recipe = read_recipe(folder)
        tokenizers = Tokenizers.load(folder)
        check_size(recipe, tokenizers, folder)
        model = build(recipe.model, len(tokenizers.source), len(tokenizers.target))
        load_weights(model, folder / "model.safetensors")
        translator = Translator(model.to(device).eval(), tokenizers, recipe)
        translator.chosen = Chosen.load(folder)
        return translator

    @staticmethod
    def load_ensemble(
        folders: Sequence[str | Path],
        weights: Sequence[float] | None = None,
        average: Average = "probabilities",
        device: str | torch.device = "cpu",
    ) -> Translator:
        """Several models with equal tokenizers that decide together; the first one's recipe says how to search.

        `weights`: one a model, None: equal. UsageError for impossible weights, ModelFolderError for other tokenizers.
        """
        first, *others = (Translator.load(folder, device) for folder in folders)
        for folder, other in zip(folders[1:], others, strict=True):
            if other.tokenizers.files() != first.tokenizers.files():
                message = f"its tokenizers are not those of {folders[0]}: their ids mean other symbols"
                fix = "train all models of an ensemble on the same data with the same tokenizer settings"
                raise ModelFolderError(message, where=str(folder), fix=fix)
        shares = tuple(weights) if weights is not None else (1.0,) * len(folders)
        if len(shares) != len(folders) or not all(0 < share < math.inf for share in shares):
            raise UsageError(
                f"wanted {len(folders)} weights above 0, found {', '.join(map(str, shares))}", fix="give one a model"
            )
        mates = Mates(tuple(other.model for other in others), shares, average) if others else None
        first.mates = mates
        return first

    def decoding(self, options: Mapping[str, Any], *, beam: int | None = None, n_best: int | None = None) -> Decoding:
        """The recipe's decoding section with other values. UsageError for an unknown name or an impossible value.

        More answers than the recipe's beam widen it, unless `beam` is given too.
        """
        given = {key: value for key, value in (("beam", beam), ("n_best", n_best)) if value is not None}
        settings = {**self.recipe.decoding.model_dump(), **options, **given}
        if "beam" not in {**options, **given}:
            groups = max(1, int(settings["groups"]))
            settings["beam"] = math.ceil(max(settings["beam"], settings["n_best"]) / groups) * groups
        try:
            decoding = build_section(Decoding, settings, "decoding")
        except RecipeError as error:
            raise UsageError(error.message, fix=error.fix) from None
        strategy(decoding)  # what one setting says against another
        return decoding

    def translate(
        self,
        lines: Iterable[str | Request],
        *,
        beam: int | None = None,
        n_best: int | None = None,
        options: Mapping[str, Any] | None = None,
        batch_size: int = 64,
        trace: bool = False,
        lexicon: Lexicon | None = None,
    ) -> Iterator[Translation]:
        """One translation a line, in order; a blank line gives a blank answer. Reads only so far ahead as it must.

        `options` are settings of the recipe's decoding section, such as {"strategy": "sampling", "temperature": 0.8};
        `beam` (1 is greedy) and `n_best` are short for two of them. Impossible ones raise UsageError at once. DataError
        names the line that is longer than `longest_source`, or whose request no text can meet.

        A line that stands in the `lexicon` is answered from it first, and searched only where `n_best` asks for more;
        that goes with neither sampling, alternatives, a trace nor requests for more than a text.
        """
        if batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, found {batch_size}")
        decoding = self.decoding(options or {}, beam=beam, n_best=n_best)
        manner = Manner(decoding, batch_size, trace)
        if lexicon is None:
            return self._translate(lines, manner)
        return consulting(lexicon, lines, decoding, trace, lambda rest: self._translate(rest, manner))

    def _translate(self, lines: Iterable[str | Request], manner: Manner) -> Iterator[Translation]:
        requests = (Request(line) if isinstance(line, str) else line for line in lines)
        numbered = enumerate(requests, start=1)
        while chunk := list(islice(numbered, manner.batch_size * AHEAD)):
            yield from self._translate_chunk(chunk, manner)

    def force(
        self,
        pairs: Iterable[Pair | tuple[str, str]],
        *,
        batch_size: int = 64,
        where: Callable[[Pair], str] | None = None,
    ) -> Iterator[ForcedScore]:
        """The log-probability of each given target under its source, in order, without a search (see forcing.py)."""
        return force(self, pairs, batch_size, where)

    def look(
        self,
        text: str | Request,
        *,
        target: str | None = None,
        rank: int = 1,
        beam: int | None = None,
        options: Mapping[str, Any] | None = None,
        model: str = "",
        opinions: bool = True,
    ) -> Look:
        """All attentions and choices behind the answer to a text, as `translate` gives it (see inside/result.py).

        `rank` 2 is the second-best answer. `target`: not what the model answers, but what it thinks of this one.
        `model` is the name that is shown; without `opinions` nothing is computed but the one pass. UsageError for an
        ensemble, a blank text, or a rank that was not found.
        """
        request = Request(text) if isinstance(text, str) else text
        return look(self, Wanted(request, options or {}, beam, rank, target, model, opinions))

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
                self._check_length(f"line {number}", len(row) - 1)
            with torch.inference_mode(), full_float32(self.device):
                memory = self.model.encode(Tokens.of(rows).to(self.device))
            for (_, line), row, states in zip(chunk, rows, memory.states, strict=True):
                yield Encoded(line, tuple(tokenizer.symbols(row)), states[: len(row)].to("cpu", copy=True))

    def _translate_chunk(self, chunk: list[tuple[int, Request]], manner: Manner) -> Iterator[Translation]:
        """Of a line that cannot be answered, all lines before it are, and then its fault is raised."""
        ids = self.tokenizers.source.encode_many([request.text for _, request in chunk])
        wanted: list[Asked] = []
        fault: DataError | None = None
        for (number, request), row in zip(chunk, ids, strict=True):
            try:
                wanted.append(self._asked(request, row, manner.decoding, f"line {number}"))
            except DataError as error:
                fault = error
                break
        chunk = chunk[: len(wanted)]
        texts = [place for place, (_, request) in enumerate(chunk) if not is_blank(request.text)]
        found = self._settled([wanted[place] for place in texts], manner)
        by_place = dict(zip(texts, found, strict=True))
        for place, (_, request) in enumerate(chunk):
            yield self._translation(request, ids[place], by_place.get(place))
        if fault:
            raise fault

    def search(self, sources: Sequence[Sequence[int]], decoding: Decoding | None = None) -> list[list[Hypothesis]]:
        """Ids without bos and eos to hypotheses, one list a source; `decoding` None: as the recipe says."""
        wanted = [Asked(tuple(source)) for source in sources]
        manner = Manner(decoding or self.recipe.decoding, max(len(wanted), 1), trace=False)
        found = self._settled(wanted, manner)
        return [each.hypotheses for each, _ in found]

    def _settled(self, wanted: Sequence[Asked], manner: Manner) -> list[tuple[Found, bool]]:
        """What was found for each, and whether the engine alone could not tell (see settle.py)."""

        def fast(places: Sequence[int]) -> list[Found]:
            return self._in_batches([wanted[place] for place in places], manner, self._engines, self._work)

        def precise(places: Sequence[int]) -> list[Found]:
            return self._in_batches([wanted[place] for place in places], manner, self._precise, DOUBLE * self._work)

        if manner.decoding.exact:
            return [(found, True) for found in precise(range(len(wanted)))]
        return settled(len(wanted), fast, precise)

    def _in_batches(self, wanted: Sequence[Asked], manner: Manner, models: Sequence[Start], work: int) -> list[Found]:
        """Searched in batches of about equal lengths, side by side (see threads.py); found in the order wanted."""
        decoding, size = manner.decoding, manner.batch_size
        by_length = sorted(range(len(wanted)), key=lambda place: len(wanted[place].source))
        batches = [by_length[start : start + size] for start in range(0, len(by_length), size)]
        rows = decoding.beam if decoding.strategy == "beam" else decoding.n_best
        parts, each = share_out(batches, rows, work, self.device)
        if decoding.exact:
            parts, each = [[place] for place in by_length], 1 if self.device.type == "cpu" else each
        with full_float32(self.device):
            answers = side_by_side(
                lambda part: self._search(models, [wanted[place] for place in part], decoding, manner.trace),
                parts,
                each,
            )
        found = dict(zip(chain(*parts), chain(*answers), strict=True))
        return [found[place] for place in range(len(wanted))]

    def _search(self, models: Sequence[Start], wanted: Sequence[Asked], decoding: Decoding, trace: bool) -> list[Found]:
        forbidden = (PAD, BOS) if decoding.replace_unknown else (PAD, BOS, UNK)
        target = self.tokenizers.target
        vocabulary = Vocabulary(len(target), BOS, EOS, forbidden)
        watch = decoding.replace_unknown or decoding.coverage_penalty > 0
        members = [model(watch) for model in models]
        begin = together(members, self.mates.weights, self.mates.average) if self.mates else members[0]
        device, most = self.device, [limit(each, decoding, self._longest) for each in wanted]
        observer = Trace(EOS) if trace else None
        with torch.inference_mode():
            step, state = begin(Tokens.of([[*each.source, EOS] for each in wanted]).to(device))
            limits = torch.tensor(most, dtype=torch.int64, device=device)
            kept_to = conditions(wanted, decoding, target, observer, device)
            found = strategy(decoding, wanted, device)(step, state, limits, vocabulary, kept_to)
        if observer is None:
            return found
        return [replace(each, trace=observer.of(place)) for place, each in enumerate(found)]

    @property
    def device(self) -> torch.device:
        """Where the models lie. UsageError unless it is one place, and one with float64, which searches sum up in."""
        devices = {next(model.parameters()).device for model in self._models}
        if len(devices) > 1:
            found = ", ".join(sorted(map(str, devices)))
            raise UsageError(f"the models of an ensemble lie on {found}", fix="move all to one device")
        if (device := devices.pop()).type == "mps":
            raise UsageError("mps has no float64, and a search needs it", fix='move the model: model.to("cpu")')
        return device

    @property
    def _models(self) -> list[EncoderDecoder]:
        return [self.model, *(self.mates.models if self.mates else ())]

    @property
    def _longest(self) -> int | None:
        """The most positions that every decoder has; None: any number."""
        return min((model.decoder.longest for model in self._models if model.decoder.longest), default=None)

    @cached_property
    def _work(self) -> int:
        return work_of_a_row(self._models)

    @property
    def _engines(self) -> list[Start]:
        return self._built(torch.float32)

    @property
    def _precise(self) -> list[Start]:
        """The models in float64."""
        return self._built(torch.float64)

    def _built(self, dtype: torch.dtype) -> list[Start]:
        """Made when they are first needed, from the weights as they then are, and again when these have changed."""
        now = fingerprint(self._models)
        before, starts = self._kept.get(dtype, (None, []))
        if before != now:
            models = (
                self._models if dtype == torch.float32 else [copy.deepcopy(each).to(dtype) for each in self._models]
            )
            starts = [fast(model) for model in models]
            self._kept[dtype] = now, starts
        return starts

    @property
    def longest_source(self) -> int:
        """The most tokens of a text that can be translated."""
        read = [model.encoder.longest or math.inf for model in self._models]
        return int(min(self.recipe.decoding.longest_source, min(read) - 1))

    def _asked(self, request: Request, source: list[int], decoding: Decoding, where: str) -> Asked:
        self._check_length(where, len(source))
        wanted = asked(request, source, self.tokenizers.target, where)
        check_prefix(wanted, limit(wanted, decoding, self._longest), where)
        return wanted

    def _check_length(self, where: str, length: int) -> None:
        if length > self.longest_source:
            raise DataError(
                f"the text has {length:,} tokens, this model reads at most {self.longest_source:,}",
                where=where,
                fix="split the line into sentences; nothing was cut",
            )

    def _translation(self, request: Request, ids: list[int], searched: tuple[Found, bool] | None) -> Translation:
        if searched is None:
            return Translation(request.text, (Answer("", (), 0.0, 0.0, True),), ())
        found, is_settled = searched
        unknown = tuple(self.tokenizers.source.unknown(request.text)) if UNK in ids else ()
        answers = tuple(in_words(hypothesis, request, self.tokenizers) for hypothesis in found.hypotheses)
        return Translation(request.text, answers, unknown, is_settled, found.trace)
