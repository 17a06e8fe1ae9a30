"""Models that come with the package: each is a folder beside this file, and its name stands wherever a folder may.

A folder of that name in the current directory wins, and what is written as a path always means a path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

HERE = Path(__file__).parent


def ready_models() -> dict[str, Path]:
    """{name: folder} of those that are really there."""
    from regard.folder import MANIFEST  # 6 ms, which `regard --help` does not pay

    found = HERE.iterdir() if HERE.is_dir() else ()
    return {folder.name: folder for folder in sorted(found) if (folder / MANIFEST).is_file()}


def model_folder(run: str | Path) -> Path:
    """The folder that is meant: of a word which names no folder here, the model's of that name, if there is one."""
    # os.path, for a text that cannot be a path is no folder either, and no fault yet
    if isinstance(run, Path) or os.path.isdir(run) or Path(run).name != run:
        return Path(run)
    return ready_models().get(run, Path(run))


def names_like(wanted: str) -> list[str]:
    """All names of models that come with the package, the nearest first."""
    import difflib

    return sorted(ready_models(), key=lambda name: -difflib.SequenceMatcher(None, name, wanted).ratio())


def first_sentence(folder: Path) -> str:
    """What a model is, by the first paragraph of its README.md; empty if that says nothing."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    said = next((part for part in paragraphs if part and part[0].isalnum()), "")
    return re.split(r"(?<=[.!?]) ", said)[0]
