"""All tests run under this: checked shapes and types, one torch thread, fixed seeds. Read before regard is."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; processes that tests start inherit it

import random
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

# In tests each call is checked against its annotations, tensor shapes included; normal use does not pay for that.
# An int may stand for a float; an annotation that cannot be checked at run time (a Protocol that is not
# `@runtime_checkable`) leaves its function unchecked.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, warning_cls_on_decorator_exception={}))"
PARTS = ("data", "attention", "layers", "models", "engine", "training", "decoding", "inside")
CHECKED = [f"regard.{part}" for part in PARTS]
install_import_hook(CHECKED, CHECKER.format("beartype.roar.BeartypeClawDecorWarning"))

# No deadline: on shared cores single calls are slow at times. Derandomised: a red test is red on the next machine too.
settings.register_profile("regard", deadline=None, derandomize=True)
settings.load_profile("regard")


def pytest_configure(config: pytest.Config) -> None:
    """Says nothing of the functions left unchecked (see above)."""
    config.addinivalue_line("filterwarnings", "ignore::beartype.roar.BeartypeClawDecorWarning")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """The same draws whatever test ran before. torch is seeded only where the test file has imported it."""
    random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the checks of shapes: for tests that make the same calls many times over, which others check."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)
