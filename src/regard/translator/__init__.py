"""Text to text: the only object that the commands, metrics, pictures and servers use."""

from __future__ import annotations

from regard.translator.folders import Tokenizers, check_size, read_recipe, verified
from regard.translator.forcing import ForcedScore
from regard.translator.lexicon import Lexicon
from regard.translator.requests import Glossary, Request, read_glossary, with_glossary
from regard.translator.results import Answer, Encoded, Translation
from regard.translator.translator import Translator

__all__ = [
    "Answer",
    "Encoded",
    "ForcedScore",
    "Glossary",
    "Lexicon",
    "Request",
    "Tokenizers",
    "Translation",
    "Translator",
    "check_size",
    "read_glossary",
    "read_recipe",
    "verified",
    "with_glossary",
]
