"""A Recipe: every setting of a run, typed, frozen, strict. The only place with defaults.

What a default cannot know (how much data there is) is chosen in presets.py. A recipe is read from TOML, overridden by
`key=value`, and written to the run folder.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from regard.errors import RecipeError

MOST_WEIGHTS = 10**11  # of a model, about; 400 GB
CHOSEN = (  # settings that presets.py chooses although they have a default; it chooses those without one as well
    "data.hold_out",
    "data.tokens_per_batch",
    "tokenizer.joint",
    "model.attention_dropout",
    "model.inner_dropout",
    "model.share_embeddings",
    "training.label_smoothing",
)
SHOWN = 60  # characters of a wrong value or key that a message repeats


def _encodable(text: str) -> str:
    """Refuses what no file can hold: half of a surrogate pair, which is what Python makes of bytes that are no text."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("Input should be Unicode text, without half of a surrogate pair")
    return text


def _unset(value: Any) -> Any:
    """TOML has no null; the word "none" takes the place."""
    return None if value == "none" else value


Text = Annotated[str, AfterValidator(_encodable)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]  # a list will do: TOML has no tuples
TwoTexts = Annotated[tuple[Text, Text], Field(strict=False)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1, le=10**9)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Unset = BeforeValidator(_unset)  # for settings whose None means "without"


class Section(BaseModel):
    """Frozen, strict (no "4" for 4; a whole number may stand for a fraction), and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


AnySection = TypeVar("AnySection", bound=Section)


class Data(Section):
    """What is read, and how it becomes batches."""

    pairs: Texts = Field((), description="the training pairs: one file of pairs or two parallel files")
    valid: Texts = Field((), description="development pairs; none: a share of `pairs` is held out by its source")
    task: Text | None = Field(None, description="a generated task in place of files")
    columns: TwoTexts | None = Field(None, description="source and target column, by number from 1 or by header")
    separator: Text = Field("\t", description="what stands between the columns")
    on_bad_line: Literal["error", "skip"] = Field(
        "error", description="a line that cannot be read stops, or is skipped and counted"
    )
    hold_out: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="share of `pairs` held out for development where `valid` is empty"
    )
    longest: Positive = Field(
        1000, description="pairs with more tokens than this on a side are left out of training and counted"
    )
    tokens_per_batch: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        4000, description="padded source and target tokens in a batch, at most"
    )
    task_pairs: Positive = Field(20_000, description="pairs a generated task makes for an epoch")


class Side(Section):
    """How the text of one side becomes tokens."""

    kind: Literal["characters", "graphemes", "symbols", "words", "bpe", "unigram"] = Field(
        description="the kind of token"
    )
    vocabulary: Annotated[int, Field(ge=8, le=10_000_000)] = Field(description="most tokens in the vocabulary")
    unicode: Literal["NFC", "NFKC", "NFD", "none"] = Field("NFC", description="the Unicode form text is brought to")
    lowercase: bool = Field(False, description="lower case first")


class Tokenizers(Section):
    """A tokenizer a side, or one for both."""

    source: Side
    target: Side
    joint: bool = Field(False, description="one tokenizer, with the source's settings, trained on both sides")


class Model(Section):
    """What is built. Sizes are numbers of features."""

    encoder: Literal["transformer"] = Field("transformer", description="the encoder's architecture")
    decoder: Literal["transformer"] = Field("transformer", description="the decoder's architecture")
    layers: Layers = Field(description="blocks of the encoder, and of the decoder")
    decoder_layers: Annotated[Layers | None, Unset] = Field(None, description="blocks of the decoder if not as many")
    size: Annotated[int, Field(ge=1, le=65_536)] = Field(description="features of a position (d_model)")
    heads: Annotated[int, Field(ge=1, le=4096)] = Field(description="attention heads; must divide size")
    inner: Annotated[int, Field(ge=1, le=1_048_576)] = Field(description="features inside the feed-forward network")
    norm: Literal["layer", "rms"] = Field("layer", description="what is normalised")
    norm_first: bool = Field(True, description="norm before each sublayer (pre-norm) or after (post-norm, the paper)")
    activation: Literal["relu", "gelu", "swish"] = Field("relu", description="of the feed-forward network")
    gated: bool = Field(False, description="gate the feed-forward network (GLU)")
    positions: Literal["sinusoidal", "learned", "none"] = Field("sinusoidal", description="how a model knows the order")
    longest: Annotated[int, Field(ge=2, le=1_000_000)] = Field(1024, description="positions that `learned` has")
    score: Literal["scaled_dot", "dot"] = Field("scaled_dot", description="how a query and a key are compared")
    bias: bool = Field(True, description="biases in linear layers")
    share_embeddings: Literal["none", "output", "all"] = Field(
        "output", description="output: target embedding = output layer; all: the source's too (joint tokenizer)"
    )
    dropout: Share = Field(description="after embeddings and sublayers")
    attention_dropout: Share = Field(0.0, description="of attention weights")
    inner_dropout: Share = Field(0.0, description="inside the feed-forward network")

    @field_validator("heads")
    @classmethod
    def _heads_divide(cls, heads: int, others: ValidationInfo) -> int:
        size = others.data.get("size", 0)  # missing where it is at fault itself
        if size % heads:
            raise ValueError(f"Input should divide model.size, which is {size}")
        return heads

    @model_validator(mode="after")
    def _can_be_built(self) -> Model:
        blocks = self.layers + (self.decoder_layers or self.layers)
        weights = blocks * self.size * (4 * self.size + 2 * self.inner)
        if weights > MOST_WEIGHTS:
            raise ValueError(f"layers, size and inner make about {weights:.0e} weights, {MOST_WEIGHTS:.0e} at most")
        return self


class Training(Section):
    """How long, how fast, and what is kept."""

    steps: Positive = Field(description="optimiser steps")
    max_minutes: Annotated[Annotated[float, Field(gt=0)] | None, Unset] = Field(
        None,
        description="end after this long if that comes first; the schedule is shortened with it "
        "(results then depend on the machine)",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(1, description="of weights, order and dropout")
    optimiser: Literal["adam", "adamw"] = Field("adamw", description="adam: no weight decay")
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="the highest of the schedule")
    schedule: Literal["inverse_sqrt", "linear", "cosine", "constant"] = Field("cosine", description="after the warm-up")
    warmup: Annotated[int, Field(ge=0, le=10**9)] = Field(description="steps from 0 to the learning rate")
    beta1: Share = Field(0.9, description="of Adam")
    beta2: Share = Field(0.98, description="of Adam")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="of AdamW, for matrices only")
    label_smoothing: Share = Field(0.1, description="share of the probability spread over the vocabulary")
    clip: Annotated[Annotated[float, Field(gt=0)] | None, Unset] = Field(
        1.0, description="longest gradient; none: not clipped"
    )
    accumulate: Positive = Field(1, description="batches whose gradients are added before a step")
    checkpoint_every: Positive = Field(description="steps between checkpoints; each is validated")
    patience: Annotated[Positive | None, Unset] = Field(
        None, description="stop after this many checkpoints that are no better"
    )
    average: Positive = Field(5, description="last checkpoints whose weights are averaged at the end")
    metric: Literal["loss", "wer", "per", "bleu", "chrf"] = Field(
        description="which number makes a checkpoint the best"
    )
    valid_pairs: Positive = Field(1000, description="development pairs that are decoded at a checkpoint, at most")


class Decoding(Section):
    """How `translate` and `score` search unless told otherwise."""

    beam: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="hypotheses kept; 1 is greedy")
    length_penalty: Annotated[float, Field(ge=0, le=10)] = Field(
        1.0, description="GNMT's alpha; 0 ranks by log-probability"
    )
    limit_factor: Annotated[float, Field(gt=0)] = Field(description="most target tokens: this times the source's ...")
    limit_extra: Positive = Field(10, description="... plus this")
    longest_source: Positive = Field(5000, description="a text of more tokens is refused")


class Recipe(Section):
    """Every setting of a run."""

    data: Data
    tokenizer: Tokenizers
    model: Model
    training: Training
    decoding: Decoding

    @field_validator("model")
    @classmethod
    def _sharing_needs_joint(cls, model: Model, others: ValidationInfo) -> Model:
        tokenizer = others.data.get("tokenizer")  # missing where it is at fault itself
        if model.share_embeddings == "all" and tokenizer and not tokenizer.joint:
            raise ValueError("share_embeddings=all needs tokenizer.joint=true")
        return model

    def to_toml(self) -> str:
        """The recipe as TOML text; `read_toml` gives an equal one back. None is "none", or left out as the default."""
        return "\n".join(_toml_lines(self)) + "\n"


Settings = dict[str, Any]  # nested settings, not yet checked


def build_recipe(settings: Mapping[str, Any]) -> Recipe:
    """Checks nested settings; RecipeError lists all faults at once."""
    return build_section(Recipe, settings, "")


def build_section(section: type[AnySection], settings: Mapping[str, Any], name: str) -> AnySection:
    """Checks the settings of one section, as `build_recipe` does for all."""
    try:
        return section.model_validate(settings)
    except ValidationError as error:
        raise RecipeError("\n  ".join(_fault(fault, name) for fault in error.errors())) from None


def check_given(settings: Mapping[str, Any]) -> None:
    """RecipeError lists all that is wrong with the settings that are there; those that are not may still be chosen."""
    try:
        Recipe.model_validate(settings)
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors() if not _may_be_chosen(fault)]
        if faults:
            raise RecipeError("\n  ".join(faults)) from None


def read_toml(path: Path) -> Settings:
    """Nested settings from a TOML file; RecipeError names the line of a mistake."""
    try:
        return parse_toml(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        fix = "name a TOML file with sections such as [model]"
        raise RecipeError(f"cannot be read: {error}", where=str(path), fix=fix) from None


def parse_toml(text: str, where: str) -> Settings:
    """Nested settings from TOML text."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of more digits than Python reads
        raise RecipeError(f"is not TOML: {error}", where=where) from None


def parse_override(text: str) -> Settings:
    """`model.layers=4` as nested settings; a value that is not TOML is taken as a word."""
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts) or len(parts) < 2:
        message = f"--set wants section.key=value, found {_shown(text)}"
        raise RecipeError(message, fix="for example --set model.layers=4")
    check_key(".".join(parts))
    nested: Any = _value(value.strip())
    for part in reversed(parts):
        nested = {part: nested}
    return nested  # type: ignore[no-any-return]


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Settings:
    """`over` wins; sections are merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def known_keys() -> list[str]:
    """Every `section.key` there is."""
    return [key for key, _ in _leaves(Recipe)]


@dataclass(frozen=True)
class Setting:
    """One setting for people: its key, its default ("from the data" where presets choose) and its meaning."""

    key: str
    default: str
    meaning: str


def known_settings() -> list[Setting]:
    """Every setting there is."""
    return [Setting(key, _default(key, field), field.description or "") for key, field in _leaves(Recipe)]


def check_key(key: str) -> None:
    """RecipeError with the nearest known key unless `key` is one."""
    if key not in known_keys():
        raise RecipeError(f"unknown setting {_shown(key)}", fix=_nearest(key))


def toml_value(value: Any) -> str:
    """A setting as TOML writes it, and as --set takes it."""
    if value is None:
        return '"none"'
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _default(key: str, field: FieldInfo) -> str:
    return "from the data" if field.is_required() or key in CHOSEN else toml_value(field.default)


def _nearest(key: str) -> str:
    """A hint at the likest key or section."""
    keys = known_keys()
    like = {known: _likeness(key[:SHOWN], known) for known in [*keys, *(key.rpartition(".")[0] for key in keys)]}
    near = max(like, key=like.__getitem__)
    return f"did you mean {near}?" if like[near] >= 0.65 else "`regard info --settings` lists all of them"


def _likeness(key: str, known: str) -> float:
    """From 0 to 1; the last word of a key says as much as all of it."""
    words = key.rpartition(".")[2], known.rpartition(".")[2]
    return sum(difflib.SequenceMatcher(None, *both).ratio() for both in ((key, known), words)) / 2


def _leaves(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text  # a line break could bring in more keys


def _may_be_chosen(fault: Any) -> bool:
    """Whether a setting or section is just not there; an item missing in a list is a fault of what was given."""
    return bool(fault["type"] == "missing" and isinstance(fault["loc"][-1], str))


def _fault(fault: Any, section: str = "") -> str:
    """One line: the key, what is wanted, what was found."""
    key = ".".join(str(part)[: SHOWN + 1] for part in ((section,) if section else ()) + fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown setting {_shown(key)}: {_nearest(key)}"
    if fault["type"] == "missing":
        return f"{key}: a value is wanted, found none"
    is_table = fault["type"] == "model_type"
    message = "Input should be a table of settings" if is_table else fault["msg"].removeprefix("Value error, ")
    found = "" if isinstance(fault["input"], (Mapping, Section)) else f", found {_shown(fault['input'])}"
    return f"{key or 'the recipe'}: {message}{found}"


def _shown(value: object) -> str:
    """A value as Python writes it, shortened: it may be a megabyte."""
    short = value[: SHOWN + 1] if isinstance(value, str) else value
    try:
        text = repr(short)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN + 2 else f"{text[:SHOWN]}..."


def _toml_lines(section: Section, prefix: str = "") -> Iterator[str]:
    tables = {key: value for key, value in section if isinstance(value, Section)}
    for key, value in section:
        default = type(section).model_fields[key].default
        if key not in tables and (value is not None or default is not None):
            yield f"{key} = {toml_value(value)}"
    for key, table in tables.items():
        yield f"\n[{prefix}{key}]"
        yield from _toml_lines(table, f"{prefix}{key}.")
