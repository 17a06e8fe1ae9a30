"""Who takes part in `decode.py`: a name and a maker each, looked up only when asked for.

A maker gets a subject (a model of ours, a shape, a number of threads) and gives a `Contender`. Those that need a
library import it in their own file; a library that is not there leaves its contender out, and the benchmark says so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from peers.subject import Contender, Subject

MAKERS: dict[str, str] = {  # a function of a file of this folder
    "regard": "ours:regard",
    "ctranslate2": "ct2:float32",
    "ctranslate2-int8": "ct2:int8",
    "transformers": "marian:generate",
    "x-transformers": "xt:generate",
    "rerun": "ours:rerun",
}


def maker(name: str) -> Callable[[Subject], Contender]:
    """The maker of that name; ImportError where its library is missing."""
    file, _, function = MAKERS[name].partition(":")
    found: Callable[[Subject], Contender] = getattr(importlib.import_module(f"peers.{file}"), function)
    return found
