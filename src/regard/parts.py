"""Parts of the user's own, by a name that settings then know (claim N26).

    import regard
    regard.add_part("score", "cosine", Cosine)
    regard.main()                                  # python mine.py train pairs.tsv --set model.score=cosine

A part is code, and code comes from the user's own file: a model folder holds the name alone. So a program that loads
such a model adds its parts first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regard.attention.relative import RELATIVE
from regard.attention.scores import SCORES
from regard.config import NAMES
from regard.errors import UsageError
from regard.layers.convolution import CONVOLUTIONS
from regard.layers.feed_forward import ACTIVATIONS
from regard.layers.norms import NORMS
from regard.layers.positions import POSITIONS
from regard.layers.recurrent import CELLS
from regard.models import DECODERS, ENCODERS

# What is written in each table's file: an interface, and what an entry is called with.
TABLES: dict[str, tuple[str, dict[str, Any]]] = {  # kind of part -> the kind of names it is among, and its table
    "encoder": ("encoder", ENCODERS),
    "decoder": ("decoder", DECODERS),
    "score": ("score", SCORES),
    "norm": ("norm", NORMS),
    "positions": ("positions", POSITIONS),
    "relative": ("positions", RELATIVE),
    "activation": ("activation", ACTIVATIONS),
    "convolution": ("convolution", CONVOLUTIONS),
    "cell": ("cell", CELLS),
}


def add_part(kind: str, name: str, part: Callable[..., Any]) -> None:
    """From now on, in this process, the setting `model.<kind>=name` means `part`, called as its table says.

    UsageError for a kind that is none and a name that is taken.
    """
    if kind not in TABLES:
        raise UsageError(f"there is no kind of part {kind!r}", fix=f"choose one of {', '.join(TABLES)}")
    setting, table = TABLES[kind]
    if name in NAMES[setting]:
        raise UsageError(f"there is a part model.{setting}={name} already", fix="choose another name")
    table[name] = part
    NAMES[setting].append(name)
