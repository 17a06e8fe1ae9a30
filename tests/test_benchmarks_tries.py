"""benchmarks/tries.py: what it puts in place of the package's own is what it says, and does take that place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn import functional

import regard
from regard import trainer
from regard.config import merge
from regard.config.reading import Settings
from regard.data.tokens import Batch, Tokens
from regard.trainer import job
from regard.training.loss import Loss, cross_entropy
from small import untrained

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SOON = """import sys, regard
sys.path.insert(0, {folder!r})
import tries
def told():
    from regard.lab import probe
    from regard.trainer import beginning
    from regard.training import memory, step
    builders = (beginning, probe)
    print({{each.Loss.__name__ for each in (step, memory, probe)}}, {{each.build.__name__ for each in builders}})
    print(sys.argv[1:])
regard.main = told
tries.main([{name!r}, "train", "x.tsv"])
"""


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import tries

    yield tries
    sys.modules.pop("tries")


def batch() -> Batch:
    return Batch(Tokens.of([[5, 6, 4, 2], [7, 2]]), Tokens.of([[1, 8, 2], [1, 9, 4, 4, 2]]))


def test_where_nothing_is_dropped_two_passes_cost_what_one_does(tries: ModuleType) -> None:
    model = untrained({"model": {"dropout": 0.0}}).model.train()
    assert tries.RDrop(model)(batch(), 0.1).item() == pytest.approx(Loss(model)(batch(), 0.1).item(), rel=1e-5)
    dropping = untrained({"model": {"dropout": 0.5}}).model.eval()  # development data
    assert tries.RDrop(dropping)(batch()).item() == Loss(dropping)(batch()).item()


def test_two_passes_pay_for_each_token_that_they_disagree_about(tries: ModuleType) -> None:
    model, gold = untrained({"model": {"dropout": 0.5}}).model.train(), batch().gold
    torch.manual_seed(3)
    one, two = (model(batch().source, batch().previous) for _ in range(2))
    wanted = torch.tensor(0.0)
    for logits, other in ((one, two), (two, one)):
        wanted += cross_entropy(logits, gold.ids, gold.is_real, 0.1) / 2
        p, q = functional.softmax(logits, -1), functional.softmax(other, -1)
        wanted += (p * (p / q).log()).sum(-1)[gold.is_real].sum()  # a weight of 4, a quarter of it each way
    torch.manual_seed(3)
    assert tries.RDrop(model)(batch(), 0.1).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_a_quiet_start_is_that_of_embeddings_and_last_norm(tries: ModuleType) -> None:
    recipe = untrained({"model": {"layers": 2}}).recipe
    model = tries.quiet(recipe.model, 30, 20).eval()
    embedded = model.decoder.embed(batch().previous.ids)
    same = model.decoder.norm(embedded) @ model.decoder.output.weight.T
    torch.testing.assert_close(model(batch().source, batch().previous), same)


def test_a_model_that_is_gone_on_with_keeps_its_neighbours_alone(
    tries: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(job, "_to_be_read", job._to_be_read)  # what tries puts in its place goes with the test
    words = ["scald", "scale", "scalp", "scaled", "scabs", "scared"]
    tiny: Settings = {"model": {"layers": 1, "size": 8, "heads": 1, "inner": 8}, "tokenizer": {"neighbours": True}}
    going_on: Settings = {"training": {"begin_with": str(tmp_path / "first")}}

    def train(name: str, known: list[str], settings: Settings) -> bytes:
        path = tmp_path / f"{name}.tsv"
        path.write_text("".join(f"{word}\t{' '.join(word)}\n" for word in known), encoding="utf-8")
        once: Settings = {"data": {"pairs": [str(path)], "hold_out": 0.3}, "training": {"steps": 1}}
        trainer.train(merge(once, settings), tmp_path / name)
        return (tmp_path / name / "tokenizer" / "neighbours.jsonl").read_bytes()

    first, plain = train("first", words[:3], tiny), train("plain", words, going_on)
    kept: list[bytes] = []
    monkeypatch.setattr(regard, "main", lambda: kept.append(train("kept", words, going_on)))
    tries.main(["old-neighbours", "train"])
    assert kept == [first] != [plain]


@pytest.mark.parametrize(("name", "said"), [("r-drop", "{'RDrop'} {'build'}"), ("quiet-start", "{'Loss'} {'quiet'}")])
def test_training_and_what_looks_ahead_have_what_is_tried(name: str, said: str) -> None:
    code = SOON.format(folder=str(BENCHMARKS), name=name)
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.split("\n")[:2] == [said, "['train', 'x.tsv']"]


@pytest.mark.parametrize("arguments", [[], ["train", "x.tsv"]])
def test_who_names_nothing_is_told_what_there_is(tries: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="wanted one of r-drop, quiet-start, old-neighbours"):
        tries.main(arguments)
