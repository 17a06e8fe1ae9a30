"""What every section of a recipe shares: frozen, strict, with the types that its fields use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _encodable(text: str) -> str:
    """Refuses what no file can hold: half of a surrogate pair, which is what Python makes of bytes that are no text."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("Input should be Unicode text, without half of a surrogate pair")
    return text


def _unset(value: Any) -> Any:
    """TOML has no null; the word "none" takes the place."""
    return None if value == "none" else value


def one(value: Any) -> Any:
    """A name alone for a list of one; a list for a tuple, which TOML has not."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


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
