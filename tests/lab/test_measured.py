"""The experiments that measure without a comparison: paths (N10) and teacher forcing (N15), made small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from regard.lab import forcing, paths
from regard.lab.finding import Asked
from regard.lab.recipes import RECIPES
from regard.models.interface import EncoderDecoder
from regard.trainer import Listener

pytestmark = pytest.mark.usefixtures("unchecked")  # many equal steps: tests/training checks one

SMALL = Asked(settings={"model": {"size": 16, "heads": 2, "inner": 16}}, seeds=1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (paths, forcing):
        monkeypatch.setattr(module, "STEPS", 3)
        monkeypatch.setattr(module, "ROWS", 4)
    monkeypatch.setattr(paths, "LENGTHS", (4, 8, 16))
    monkeypatch.setattr(paths, "DISTANCES", (2, 12))
    monkeypatch.setattr(paths, "ASKED_OFTEN", 8)
    monkeypatch.setattr(forcing, "HELD_OUT", 20)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["paths", "teacher-forcing"])
def test_they_run_and_say_what_was_found(name: str, tmp_path: Path) -> None:
    finding = RECIPES[name].run(tmp_path, SMALL, Listener())
    assert finding.claim == RECIPES[name].claim
    assert finding.holds in (True, False)
    assert finding.tables
    for table in finding.tables:
        assert all(len(row) == len(table.head) for row in table.rows)


@pytest.mark.parametrize(
    ("recurrent", "verdict"),
    [([55, 56, 56, 57, 57, 58, 900], True), ([140, 150, 155, 158, 160, 165, 170], None), ([300] * 7, False)],
)
def test_n10_the_growth_of_time_is_judged_beyond_its_noise(recurrent: list[float], verdict: bool | None) -> None:
    transformer = [40.0, 150.0, 152.0, 155.0, 157.0, 160.0, 161.0]
    growth = {"transformer": transformer, "recurrent": recurrent, "convolutional": [30.0] * 7}
    assert paths._grows_fastest("transformer", growth) is verdict


def test_n10_the_first_symbol_is_known_where_a_path_leads_there() -> None:
    encoder = paths._encoder("transformer", {}, seed=1)
    assert paths.recall(encoder, 3, seed=1) > 0.9
    blind = paths._encoder("convolutional", {"model": {"kernel": 1}}, seed=1)
    assert paths.recall(blind, 3, seed=1) < 0.2


def model() -> EncoderDecoder:
    return forcing._model({"model": {"size": 16, "heads": 2, "inner": 16}}, seed=3)


def test_n15_step_by_step_gives_the_logits_of_all_at_once() -> None:
    assert forcing.unlike(model()) < 1e-4


def test_n15_its_own_output_is_what_the_model_would_say() -> None:
    made = model().eval()
    batch = forcing.as_batch(forcing.draw(forcing.TASKS["reverse"], 1, 0, 6))
    previous = forcing.its_own(made, batch)
    assert previous.ids.shape == batch.previous.ids.shape
    with torch.no_grad():
        said = made(batch.source, previous).argmax(-1)  # reading its own output it says the same again
    assert torch.equal(said[:, :-1], previous.ids[:, 1:])
    assert torch.equal(forcing.the_right_ones(made, batch).ids, batch.previous.ids)
