"""The end of a run: which weights are published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from regard import trainer
from regard.models.interface import EncoderDecoder
from regard.trainer.validation import Validator
from regard.training.checkpoint import list_checkpoints, load_checkpoint
from regard.training.journal import Journal
from regard.training.loop import Validation

SETTINGS = {
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32},
    "training": {"steps": 12, "checkpoint_every": 4, "average": 3, "warmup": 2},
    "data": {"tokens_per_batch": 150},
    "decoding": {"beam": 2},
}


@pytest.mark.parametrize("better", ["mean", "best"])
def test_candidates_are_judged_by_the_search_that_is_set(
    better: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedily the first checkpoint was better than both will be with the beam: that is not held against the mean."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{a}{b}\t{b} {a}\n" for a in "abcdefgh" for b in "ijklm"), encoding="utf-8")
    with_beam = iter([60.0, 80.0] if better == "mean" else [80.0, 60.0])
    greedy = iter([10.0, 20.0, 30.0])
    measure = Validator.__call__

    def judged(self: Validator, model: EncoderDecoder, beam: int = 1) -> Validation:
        value = next({1: greedy, 2: with_beam}[beam])
        found = measure(self, model, beam)
        return replace(found, value=value, numbers={**found.numbers, "wer": value})

    monkeypatch.setattr(Validator, "__call__", judged)
    run = tmp_path / "run"
    trainer.train({**SETTINGS, "data": {**SETTINGS["data"], "pairs": [str(path)]}}, run)
    end = Journal(run).read()[-1]
    assert (end["event"], end["wer"], end["search"]) == ("end", 60.0, "beam 2")
    assert end["published"] == {"mean": "the average of steps 4, 8, 12", "best": "step 4"}[better]
    assert "beam 2 (percent" in (run / "README.md").read_text("utf-8")
    three = [load_checkpoint(folder).weights for folder in list_checkpoints(run)]
    for name, tensor in load_file(run / "model.safetensors").items():
        mean = torch.stack([weights[name].double() for weights in three]).mean(0).to(tensor.dtype)
        assert torch.equal(tensor, mean if better == "mean" else three[0][name]), name
