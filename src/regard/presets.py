"""Settings that follow from the data, each with its reason. What the user sets wins; the rest is chosen here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regard.config import Recipe, Settings, build_recipe, check_given, merge, toml_value
from regard.data.tasks import TASKS
from regard.layers.norms import make_norm
from regard.layers.positions import POSITIONS
from regard.text.survey import SideSurvey, Survey


@dataclass(frozen=True)
class Reason:
    """One choice in words: what (as TOML writes it), and why."""

    key: str
    value: str
    why: str


def choose(survey: Survey, settings: Settings, inherited: Settings | None = None) -> tuple[Recipe, list[Reason]]:
    """A complete recipe: `settings` over those `inherited` from another model, and these over what the survey suggests.

    RecipeError lists what is wrong with `settings`.
    """
    check_given(settings)
    known = merge(inherited or {}, settings)
    chosen: Settings = {}
    for suggest in (_tokenizers, _model, _training, _decoding):
        chosen = merge(chosen, suggest(survey, merge(chosen, known)))
    recipe = build_recipe(merge(chosen, known))
    return recipe, _reasons(survey, recipe, settings, inherited or {})


@dataclass(frozen=True)
class Preset:
    """A model and a training that suit a corpus of at least `pairs` pairs.

    `inside`: dropout of attention weights and inside the feed-forward network; `tokens`: of a batch; `rate`: the
    highest learning rate; `decay`: of weights. A run takes `epochs`, and `steps` at least.
    """

    pairs: int
    layers: int
    size: int
    inner: int
    dropout: float
    inside: float
    smoothing: float
    tokens: int
    optimiser: str
    rate: float
    decay: float
    epochs: int
    steps: int


# What models of short sources that are letters are made of. Convolutions take fewer steps to the same error; where
# there are pairs and time for many, attention that knows distances ends with fewer (benchmarks/results/README.md).
NEIGHBOURS = {"encoder": "convolutional", "kernel": 5}
DISTANCES = {"positions": "relative"}
MANY, LONG = 100_000, 10_000  # pairs, steps
# Who chooses one of these says what both sides are made of, or that there are convolutions.
TRANSFORMERS = {"architecture", "positions", "score", "norm", "norm_first", "activation", "gated"}
CONVOLUTIONS = {"encoder", "decoder", "kernel", "convolution"}
ATTENDING = {"transformer", "hybrid"}  # encoders with self-attention
PRESETS: dict[str, tuple[Preset, ...]] = {
    # pairs, layers, size, inner, dropout, inside, smoothing, tokens, optimiser, rate, decay, epochs, steps
    # pairs without end need nothing against learning by heart
    "generated": (Preset(0, 2, 64, 256, 0.0, 0.0, 0.0, 1500, "adamw", 4e-3, 0.01, 0, 1200),),
    # benchmarks/results/README.md has what the first three were chosen by
    "short": (
        Preset(0, 3, 128, 512, 0.2, 0.1, 0.1, 2000, "muon", 4e-3, 0.01, 44, 1500),
        Preset(20_000, 3, 160, 640, 0.15, 0.0, 0.1, 4000, "muon", 4e-3, 0.01, 26, 3000),
        Preset(MANY, 3, 192, 448, 0.15, 0.0, 0.1, 4000, "muon", 3e-3, 0.1, 0, 20_000),
        Preset(500_000, 3, 256, 1024, 0.1, 0.0, 0.1, 6000, "muon", 3e-3, 0.01, 12, 3000),
    ),
    "long": (
        Preset(0, 3, 128, 512, 0.3, 0.1, 0.1, 4000, "muon", 3e-3, 0.01, 60, 3000),
        Preset(20_000, 4, 128, 256, 0.3, 0.0, 0.1, 4000, "muon", 3e-3, 0.01, 56, 3000),
        Preset(100_000, 4, 256, 1024, 0.1, 0.0, 0.1, 6000, "adamw", 1e-3, 0.01, 0, 30_000),
        Preset(1_000_000, 6, 512, 2048, 0.1, 0.0, 0.1, 8000, "adamw", 7e-4, 0.01, 0, 100_000),
    ),
}
SHORT = 40.0  # mean tokens of source and target together
ENDS = 2  # tokens: each side has one that says it ends
ABOUT = 3  # tokens of a neighbour beside its target
FEW = 20  # pairs
RARE = 100  # times that a character stands in a corpus
# With weights that were trained before (docs/training.md has what these were chosen by):
GENTLE = 0.1  # of the learning rate; more of it forgets what they know
FEWEST = 100  # steps


def _tokenizers(survey: Survey, settings: Settings) -> Settings:
    given = settings.get("tokenizer", {})
    source, target = (
        given.get(name, {}).get("kind") or _kind(survey, side)
        for name, side in (("source", survey.source), ("target", survey.target))
    )
    apart = given.get("neighbours", False)  # a source then holds tokens of both sides
    joint = given.get("joint", source == target == "bpe" and survey.shared_characters > 0.7 and not apart)
    sides = {"source": _side(survey, source), "target": _side(survey, source if joint else target)}
    if source == "characters" and not joint and _is_composed(survey.source, survey.pairs):
        sides["source"]["unicode"] = "NFD"
    return {"tokenizer": {**sides, "joint": joint}}


def _is_composed(side: SideSurvey, pairs: int) -> bool:
    """Whether characters are made of far fewer parts, and too rare to learn one by one: Hangul in a small corpus.

    An answer would have to be put together again, so this is for sources alone.
    """
    times = side.characters * pairs / max(1, side.distinct_characters)
    return side.distinct_characters >= 2 * side.distinct_parts and times < RARE


def _kind(survey: Survey, side: SideSurvey) -> str:
    if side.are_symbols:
        return "symbols"
    # Subwords need text to be learned from; single words and small corpora are spelled.
    return "bpe" if side.words >= 3 and survey.pairs >= 5000 else "characters"


def _side(survey: Survey, kind: str) -> Settings:
    subwords = 4000 if survey.pairs < 50_000 else 8000 if survey.pairs < 1_000_000 else 32_000
    return {"kind": kind, "vocabulary": subwords if kind in ("bpe", "unigram") else 50_000}


def _length(survey: Survey, settings: Settings) -> str:
    """A key of PRESETS."""
    if settings.get("data", {}).get("task") in TASKS:
        return "generated"
    return "short" if sum(_mean_tokens(survey, settings)) <= SHORT else "long"


def _preset(survey: Survey, settings: Settings) -> Preset:
    rows = PRESETS[_length(survey, settings)]
    return next(row for row in reversed(rows) if survey.pairs >= row.pairs)


def _spelled(survey: Survey, settings: Settings) -> Settings:
    """NEIGHBOURS or DISTANCES for short sources that are letters, unless the user says what the model is made of."""
    is_spelled = settings["tokenizer"]["source"]["kind"] in ("characters", "graphemes")
    given = settings.get("model", {}).keys()
    if not is_spelled or given & TRANSFORMERS or _length(survey, settings) != "short":
        return {}
    is_long = survey.pairs >= MANY and _steps(survey, settings) >= LONG
    is_far = is_long or settings["tokenizer"].get("neighbours", False)  # what is alike stands in other texts
    return DISTANCES if is_far and not given & CONVOLUTIONS else NEIGHBOURS


def _model(survey: Survey, settings: Settings) -> Settings:
    preset, given = _preset(survey, settings), settings.get("model", {})
    size = given.get("size", preset.size)
    architecture = given.get("architecture", "transformer")
    spelled = _spelled(survey, settings)
    encoder = given.get("encoder", spelled.get("encoder", architecture))
    decoder = given.get("decoder", architecture)
    heads = next(heads for heads in (8, 4, 2, 1) if size % heads == 0 and (heads <= 4 or size > 256))
    return {
        "model": {
            "layers": preset.layers,
            "size": size,
            # as in their papers, all but the Transformer look with one head, and the recurrent one adds
            "heads": heads if ATTENDING & {encoder, decoder} else 1,
            "score": "additive" if decoder == "recurrent" and encoder not in ATTENDING else "scaled_dot",
            "inner": max(1, preset.inner * size // preset.size),
            "positions": "none" if encoder == "recurrent" else "sinusoidal",
            "decoder_positions": _decoder_positions(encoder, decoder, given),
            "decoder_norm": _decoder_norm(given.get("norm", "layer"), size),
            "dropout": preset.dropout,
            "attention_dropout": preset.inside,
            "inner_dropout": preset.inside,
            "share_embeddings": "all" if settings["tokenizer"]["joint"] else "output",
            **spelled,
        }
    }


def _decoder_positions(encoder: str, decoder: str, given: Settings) -> str | None:
    """Cells read in order anyway. None: the encoder's, which are the user's if any were given."""
    is_given = given.get("positions", "none") in POSITIONS and "positions" in given
    if encoder == decoder or {encoder, decoder} == ATTENDING or is_given:
        return None
    return "none" if decoder == "recurrent" else "sinusoidal"


def _decoder_norm(norm: str, size: int) -> str | None:
    """Layer norm where the encoder's would let a decoder see the future. None: the encoder's."""
    return "layer" if make_norm(norm, size, groups=1).why_not_causal else None


def _training(survey: Survey, settings: Settings) -> Settings:
    preset, steps = _preset(survey, settings), _steps(survey, settings)
    data = settings.get("data", {})
    too_few = survey.pairs < FEW  # the held-out share of so few could be all of them
    rate = preset.rate * GENTLE if _begun(settings) else preset.rate
    split = 0.0 if data.get("valid") or data.get("task") or too_few else min(0.1, 1000 / survey.pairs)
    return {
        "data": {"tokens_per_batch": _batch(survey, settings), "hold_out": split},
        "training": {
            "steps": steps,
            "optimiser": preset.optimiser,
            "learning_rate": float(f"{rate:.2g}"),
            "weight_decay": preset.decay,
            "warmup": max(1, min(1000, steps // 10)),
            "label_smoothing": preset.smoothing,
            "checkpoint_every": max(1, steps // 20),
            "metric": _metric(survey),
        },
    }


def _batch(survey: Survey, settings: Settings) -> int:
    """Tokens of a batch: with neighbours it has as many pairs as without them."""
    plain, read = sum(_mean_tokens(survey, settings)), sum(_mean_read(survey, settings))
    return int(float(f"{_preset(survey, settings).tokens * (read + ENDS) / (plain + ENDS):.2g}"))


def _steps(survey: Survey, settings: Settings) -> int:
    """The user's; else as many as the preset's epochs have, to two digits, or its least number.

    Weights that were trained before need no such number.
    """
    preset, training = _preset(survey, settings), settings.get("training", {})
    budget = settings.get("data", {}).get("tokens_per_batch", _batch(survey, settings))
    tokens = budget * training.get("accumulate", 1)
    epoch = survey.pairs * (sum(_mean_read(survey, settings)) + ENDS) / tokens
    least = FEWEST if _begun(settings) and preset.epochs else preset.steps
    return int(training.get("steps", max(least, int(float(f"{preset.epochs * epoch:.1e}")))))


def _begun(settings: Settings) -> bool:
    """Whether training begins with the weights of another model."""
    return settings.get("training", {}).get("begin_with", "none") not in ("none", None)


def _metric(survey: Survey) -> str:
    target = survey.target
    if target.are_symbols or (target.words < 3 and target.characters < 16):
        return "wer"
    return "bleu" if target.words >= 3 else "chrf"  # long and without spaces: Chinese, Japanese, Thai


def _decoding(survey: Survey, settings: Settings) -> Settings:
    sources, targets = (_lengths(survey, settings, side) for side in (0, 1))
    ratios = sorted(target / (source + 1) for source, target in zip(sources, targets, strict=True))
    widest = ratios[int(0.999 * len(ratios))] if ratios else 1.0  # a lone outlier does not make all answers long
    return {"decoding": {"limit_factor": round(max(1.5, 1.25 * widest), 2)}}


def _lengths(survey: Survey, settings: Settings, side: int) -> list[float]:
    """About how many tokens each sampled line has."""
    kind = settings["tokenizer"][("source", "target")[side]]["kind"]
    if kind in ("symbols", "words"):
        return list(survey.word_lengths[side])
    if kind in ("bpe", "unigram"):
        return [1.5 * words for words in survey.word_lengths[side]]
    return list(survey.character_lengths[side])


def _mean_tokens(survey: Survey, settings: Settings) -> tuple[float, float]:
    source, target = (_lengths(survey, settings, side) for side in (0, 1))
    return sum(source) / max(1, len(source)), sum(target) / max(1, len(target))


def _mean_read(survey: Survey, settings: Settings) -> tuple[float, float]:
    """With what a source's neighbours have: a target each, and marks and other tokens about it."""
    source, target = _mean_tokens(survey, settings)
    has_neighbours = settings["tokenizer"].get("neighbours", False)
    return (source + 2 * (target + ABOUT) if has_neighbours else source), target


def _reasons(survey: Survey, recipe: Recipe, settings: Settings, inherited: Settings) -> list[Reason]:
    source, target = survey.source, survey.target
    generated = recipe.data.task in TASKS
    pairs = "a generated task" if generated else f"{survey.pairs:,} pairs"
    found = [
        *_about_the_decoder(recipe),
        ("tokenizer.source.kind", f"{_describe(source)}, {pairs}"),
        ("tokenizer.target.kind", f"{_describe(target)}, {pairs}"),
        *_about_the_source(recipe, source),
        ("tokenizer.joint", f"{survey.shared_characters:.0%} of the characters are shared"),
        *_about_the_encoder(recipe, survey),
        ("model.layers", pairs),
        ("model.size", pairs),
        ("model.dropout", "pairs without end" if generated else f"{pairs}: the fewer, the more of it"),
        ("data.tokens_per_batch", f"about {sum(_mean_read(survey, recipe.model_dump())):.0f} tokens a pair"),
        ("data.hold_out", _why_held_out(survey, recipe)),
        ("training.steps", pairs),
        ("training.optimiser", "it needs fewer steps" if recipe.training.optimiser == "muon" else pairs),
        ("training.learning_rate", _why_so_fast(recipe, pairs)),
        ("training.metric", METRIC_REASONS[_metric(survey)]),
        ("decoding.limit_factor", "1.25 times the longest targets for their sources, but for one in a thousand"),
    ]
    chosen = recipe.model_dump()
    whys = [_why(settings, inherited, key, why) for key, why in found]
    return [Reason(key, toml_value(_read(chosen, key)), why) for (key, _), why in zip(found, whys, strict=True)]


def _why_so_fast(recipe: Recipe, pairs: str) -> str:
    if recipe.training.begin_with:
        return f"{GENTLE:g} of what is chosen for new weights, lest what these know is forgotten"
    return f"a model of this size on {pairs}"


def _about_the_source(recipe: Recipe, source: SideSurvey) -> list[tuple[str, str]]:
    if recipe.tokenizer.source.unicode != "NFD":
        return []
    made = f"{source.distinct_characters:,} characters, most of them rare, are made of {source.distinct_parts:,} parts"
    return [("tokenizer.source.unicode", made)]


def _about_the_encoder(recipe: Recipe, survey: Survey) -> list[tuple[str, str]]:
    if recipe.model.encoder is not None:
        mean = sum(_mean_tokens(survey, recipe.model_dump()))
        return [("model.encoder", f"about {mean:.0f} tokens a pair: neighbours say most")]
    if recipe.model.positions == DISTANCES["positions"]:
        enough = f"{survey.pairs:,} pairs, {recipe.training.steps:,} steps: enough to learn distances"
        is_alike = recipe.tokenizer.neighbours
        return [("model.positions", "neighbours are read by what stands beside what" if is_alike else enough)]
    return []


def _about_the_decoder(recipe: Recipe) -> list[tuple[str, str]]:
    """Where the decoder does not do as the encoder."""
    model, about = recipe.model, []
    if model.decoder_norm not in (None, model.norm):
        about.append(("model.decoder_norm", f"{model.norm} norm would let a decoder see later positions"))
    if model.decoder_positions not in (None, model.positions):
        about.append(("model.decoder_positions", f"{model.encoder_name} encoder, {model.decoder_name} decoder"))
    return about


METRIC_REASONS = {
    "wer": "the target is one word or a few symbols",
    "bleu": "the target is text",
    "chrf": "the target is text without spaces",
}


def _why_held_out(survey: Survey, recipe: Recipe) -> str:
    if recipe.data.hold_out:
        return "the share of the sources kept for development"
    others = recipe.data.valid or recipe.data.task
    return "there is other development data" if others else f"{survey.pairs} pairs are too few"


def _describe(side: SideSurvey) -> str:
    if side.are_symbols:
        return f"{side.distinct_words} symbols between spaces, each seen often"
    return f"{side.words:.1f} words and {side.characters:.0f} characters a line"


def _why(settings: Settings, inherited: Settings, key: str, why: str) -> str:
    if _has(settings, key):
        return "set by you"
    return "of the model that the training begins with" if _has(inherited, key) else why


def _has(settings: Settings, key: str) -> bool:
    try:
        _read(settings, key)
    except KeyError:
        return False
    return True


def _read(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = value[part]
    return value
