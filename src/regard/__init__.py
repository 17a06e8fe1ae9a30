"""regard: trains, runs and looks inside attention models that turn one sequence into another.

    import regard
    regard.train({"data": {"pairs": ["pairs.tsv"]}}, Path("runs/pairs"))
    translator = regard.Translator.load("runs/pairs")
    [translation] = translator.translate(["hello"])

The names below are imported when they are first used, so `import regard` is quick and brings no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from regard.attention.record import recorded as recorded
    from regard.cli import main as main
    from regard.config import Recipe as Recipe
    from regard.errors import RegardError as RegardError
    from regard.errors import UserError as UserError
    from regard.inside.interventions import changed as changed
    from regard.inside.result import Look as Look
    from regard.metrics.evaluate import evaluate as evaluate
    from regard.parts import add_part as add_part
    from regard.text.pairs import Pair as Pair
    from regard.text.pairs import PairFormat as PairFormat
    from regard.text.pairs import PairReader as PairReader
    from regard.text.tokenizer import Tokenizer as Tokenizer
    from regard.trainer import Listener as Listener
    from regard.trainer import resume as resume
    from regard.trainer import train as train
    from regard.translator import Answer as Answer
    from regard.translator import Encoded as Encoded
    from regard.translator import Translation as Translation
    from regard.translator import Translator as Translator

HOME = {
    "Answer": "regard.translator",
    "Encoded": "regard.translator",
    "Listener": "regard.trainer",
    "Look": "regard.inside.result",
    "Pair": "regard.text.pairs",
    "PairFormat": "regard.text.pairs",
    "PairReader": "regard.text.pairs",
    "Recipe": "regard.config",
    "RegardError": "regard.errors",
    "Tokenizer": "regard.text.tokenizer",
    "Translation": "regard.translator",
    "Translator": "regard.translator",
    "UserError": "regard.errors",
    "add_part": "regard.parts",
    "changed": "regard.inside.interventions",
    "evaluate": "regard.metrics.evaluate",
    "main": "regard.cli",
    "recorded": "regard.attention.record",
    "resume": "regard.trainer",
    "train": "regard.trainer",
}
__all__ = sorted([*HOME, "__version__"])


def __getattr__(name: str) -> Any:
    """Imports a public name on first use."""
    if name not in HOME:
        raise AttributeError(f"module 'regard' has no attribute {name!r}")
    return getattr(import_module(HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
