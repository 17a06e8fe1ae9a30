"""What `import regard` offers, pinned: a name leaves or comes only on purpose."""

from __future__ import annotations

import subprocess
import sys

import pytest

import regard

NAMES = [
    "Answer", "Encoded", "Listener", "Look", "Pair", "PairFormat", "PairReader", "Recipe", "RegardError", "Tokenizer",
    "Translation", "Translator", "UserError", "__version__", "add_part", "changed", "evaluate", "main", "recorded",
    "resume", "train",
]  # fmt: skip


def test_the_public_names() -> None:
    assert sorted(regard.__all__) == sorted(NAMES) == sorted(dir(regard))
    for name in NAMES:
        assert getattr(regard, name) is not None


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Transformer'"):
        _ = regard.Transformer


def test_importing_it_brings_no_torch() -> None:
    code = "import sys, regard; sys.exit(bool({'torch', 'pydantic', 'tokenizers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
