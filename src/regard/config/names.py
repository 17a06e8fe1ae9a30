"""The names that a setting may choose from, one list a table of parts.

The tables themselves hold classes and functions and need torch; a recipe is checked without. A test compares the two.
`regard.add_part` enters a part of the user's own in both.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

NAMES: dict[str, list[str]] = {
    "encoder": ["transformer", "recurrent", "convolutional", "hybrid"],
    "decoder": ["transformer", "recurrent", "convolutional"],
    "score": ["scaled_dot", "dot", "additive", "bilinear", "gaussian"],
    "norm": ["layer", "rms", "batch", "group", "instance", "switchable", "none"],
    "positions": ["sinusoidal", "learned", "rotary", "relative", "relative_bias", "none"],
    "activation": ["relu", "gelu", "swish"],
    "convolution": ["plain", "dilated", "grouped", "separable"],
    "cell": ["gru", "lstm"],
}


def _one_of(*tables: str) -> AfterValidator:
    def check(name: str) -> str:
        known = [known for known in NAMES[tables[0]] if all(known in NAMES[table] for table in tables)]
        if name not in known:
            quoted = [repr(known) for known in known]
            raise ValueError(f"Input should be {', '.join(quoted[:-1])} or {quoted[-1]}")
        return name

    return AfterValidator(check)


ArchitectureName = Annotated[str, _one_of("encoder", "decoder")]
EncoderName = Annotated[str, _one_of("encoder")]
DecoderName = Annotated[str, _one_of("decoder")]
ScoreName = Annotated[str, _one_of("score")]
NormName = Annotated[str, _one_of("norm")]
PositionsName = Annotated[str, _one_of("positions")]
ActivationName = Annotated[str, _one_of("activation")]
ConvolutionName = Annotated[str, _one_of("convolution")]
CellName = Annotated[str, _one_of("cell")]
