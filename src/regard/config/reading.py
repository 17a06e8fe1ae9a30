"""Nested settings from TOML and from `key=value`, checked with messages that name the key and the nearest known one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from regard.config.recipe import Recipe
from regard.config.section import Section
from regard.config.toml import toml_value
from regard.errors import RecipeError

CHOSEN = (  # settings that presets.py chooses although they have a default; it chooses those without one as well
    "data.hold_out",
    "data.tokens_per_batch",
    "tokenizer.joint",
    "tokenizer.source.unicode",
    "model.attention_dropout",
    "model.encoder",
    "model.kernel",
    "model.decoder_norm",
    "model.inner_dropout",
    "model.positions",
    "model.decoder_positions",
    "model.score",
    "model.share_embeddings",
    "training.label_smoothing",
    "training.optimiser",
    "training.weight_decay",
)
SHOWN = 60  # characters of a wrong value or key that a message repeats
AnySection = TypeVar("AnySection", bound=Section)

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
