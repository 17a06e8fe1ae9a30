"""A model that reads neighbours is trained, saved, asked, looked into and begun with as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from regard import Translator, trainer
from regard.cli import run
from regard.config import build_recipe, merge
from regard.errors import RecipeError, UserError
from regard.models.weights import read_weights
from regard.presets import choose
from regard.text.neighbours import NeighbourTokenizer
from regard.text.pairs import Pair
from regard.text.survey import survey
from regard.trainer.beginning import READ
from regard.trainer.job import Job, plan
from regard.trainer.setup import set_up
from regard.training.loop import Interrupted
from regard.training.world import ALONE
from regard.translator import read_recipe
from regard.translator.aligning import align
from test_trainer import state_of, stop_after, untimed

TINY: dict[str, Any] = {
    "tokenizer": {"neighbours": True},
    "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.1, "attention_dropout": 0.1},
    "training": {"steps": 6, "checkpoint_every": 3, "average": 1, "warmup": 2, "valid_pairs": 20},
    "data": {"tokens_per_batch": 300, "hold_out": 0.1},
    "decoding": {"beam": 2},
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))


def written(path: Path, letters: str = "abcdefgh", case: str = "upper") -> Path:
    """Words of four letters, each with its letters as symbols; three of them begin many words."""
    words = [f"{a}{b}{b}{c}" for a in letters[:4] for b in letters[4:] for c in letters]
    spoken = {word: " ".join(getattr(word, case)()) for word in words}
    path.write_text("".join(f"{word}\t{target}\n" for word, target in spoken.items()), encoding="utf-8")
    return path


def settings(pairs: Path, **more: Any) -> dict[str, Any]:
    return merge(TINY, {"data": {"pairs": [str(pairs)]}, **more})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("trained")
    trainer.train(settings(written(where / "pairs.tsv")), where / "run")
    return where / "run"


@pytest.fixture
def model(folder: Path) -> Translator:
    return Translator.load(folder)


def source_of(translator: Translator) -> NeighbourTokenizer:
    assert isinstance(translator.tokenizers.source, NeighbourTokenizer)
    return translator.tokenizers.source


def test_the_folder_has_the_training_pairs_and_says_so(
    folder: Path, model: Translator, capsys: pytest.CaptureFixture[str]
) -> None:
    known = dict(source_of(model).pairs)
    given = dict(line.split("\t") for line in (folder.parent / "pairs.tsv").read_text("utf-8").split("\n")[:-1])
    assert known.items() < given.items()
    assert len(known) == 115  # of 128: the others are held out
    assert "115 pairs it was trained on" in " ".join((folder / "README.md").read_text("utf-8").split())
    run(["info", str(folder), "--json"])
    assert json.loads(capsys.readouterr().out)["neighbours"] == "of 115 pairs"
    (folder.parent / "cut").mkdir()
    for file in [*folder.glob("*.*"), *folder.glob("tokenizer/*")]:
        copy = folder.parent / "cut" / file.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (folder.parent / "cut" / "tokenizer" / "neighbours.jsonl").unlink()
    with pytest.raises(UserError, match="neighbours"):
        Translator.load(folder.parent / "cut")


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    pairs = written(tmp_path / "pairs.tsv")
    trainer.train(settings(pairs), tmp_path / "whole")
    with pytest.raises(Interrupted):
        trainer.train(settings(pairs), tmp_path / "cut", stop_after(4))
    trainer.resume(tmp_path / "cut")
    assert untimed(tmp_path / "cut") == untimed(tmp_path / "whole")
    for one, two in zip(state_of(tmp_path / "cut"), state_of(tmp_path / "whole"), strict=True):
        for ours, theirs in zip(one, two, strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (tmp_path / "cut/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_other_pairs_in_the_cache_are_not_taken_for_these(tmp_path: Path) -> None:
    """The same pairs and tokenizers, without neighbours and then with them."""
    pairs = written(tmp_path / "pairs.tsv")
    jobs = [plan(merge(settings(pairs), {"tokenizer": {"neighbours": reads}})) for reads in (False, True)]
    assert jobs[0].tokenizers.source.to_json() == jobs[1].tokenizers.source.to_json()
    alone, beside = (set_up(job, ALONE).corpus.epoch(0).source for job in jobs)
    assert int(alone.ids.max()) < len(jobs[0].tokenizers.source) <= int(beside.ids.max())


def test_every_process_has_the_same(tmp_path: Path) -> None:
    job = plan(settings(written(tmp_path / "pairs.tsv")))
    again = Job.from_bytes(job.to_bytes())
    assert again.files() == job.files()
    found = again.tokenizers.source.encode("aeez")
    assert found == job.tokenizers.source.encode("aeez")
    assert again.tokenizers.source.own(found) == 4 < len(found)


def test_answers_alone_are_those_of_a_batch_and_are_forced_alike(model: Translator) -> None:
    words = ["aeea", "bffh", "xyz", "aeeaeb", "dggd"]
    together = list(model.translate(words))
    for word, found in zip(words, together, strict=True):
        [alone] = model.translate([word])
        assert alone.answers[0].text == found.answers[0].text
        [forced] = model.force([(word, found.answers[0].text)])
        known = found.answers[0].log_probabilities  # without an end, if it was cut
        assert forced.log_probabilities[: len(known)] == pytest.approx(known, abs=1e-4)


def test_what_it_answers_depends_on_its_neighbours(model: Translator) -> None:
    source = source_of(model)
    model.tokenizers = type(model.tokenizers)(
        NeighbourTokenizer(source.plain, source.target, [("aeeb", "D D D")]), source.target
    )
    [other] = model.force([("aeea", "A E E A")])
    model.tokenizers = type(model.tokenizers)(NeighbourTokenizer(source.plain, source.target, []), source.target)
    [none] = model.force([("aeea", "A E E A")])
    assert other.log_probability != pytest.approx(none.log_probability, abs=1e-4)


def test_a_page_shows_the_neighbours_and_a_link_never_does(model: Translator) -> None:
    look = model.look("aeeab")
    own, rest = look.source.tokens[:5], look.source.tokens[5:]
    assert (own, rest[-1]) == (("a", "e", "e", "a", "b"), "⟨end⟩")
    assert "=" in rest
    assert look.source.words == tuple((place, place + 1) for place in range(len(look.source.tokens)))
    widths = {each.weights.shape[-1] for each in look.attentions if each.part == "cross"}
    assert widths == {len(look.source.tokens)}
    for units in ("tokens", "words"):
        [found] = align(model, [("aeeab", "A E E A B")], units=units)
        assert found.links
        assert {source for source, _ in found.links} <= set(range(5 if units == "tokens" else 1))


def test_it_is_shrunk_with_them(folder: Path, model: Translator, tmp_path: Path) -> None:
    run(["shrink", str(folder), str(tmp_path / "small")])
    small = Translator.load(tmp_path / "small")
    assert source_of(small).pairs == source_of(model).pairs


def test_a_training_that_begins_with_it_keeps_what_each_token_is(
    folder: Path, model: Translator, tmp_path: Path
) -> None:
    """New letters and symbols come between others; new pairs before known ones of the same source."""
    pairs = written(tmp_path / "new.tsv", "abéßefgh", "lower")
    begun = {"training": {**TINY["training"], "begin_with": str(folder), "learning_rate": 1e-30, "optimiser": "adamw"}}
    trainer.train(
        merge({key: TINY[key] for key in ("data", "decoding")}, {"data": {"pairs": [str(pairs)]}, **begun}),
        tmp_path / "run",
    )
    before, now = source_of(model), source_of(Translator.load(tmp_path / "run"))
    places = now.places(before)
    assert now.symbols(places) == before.symbols(range(len(before)))
    tables = [read_weights(where / "model.safetensors")[READ] for where in (folder, tmp_path / "run")]
    assert len(tables[1]) == len(now) > len(before)
    assert torch.equal(tables[1][places], tables[0])
    assert dict(now.pairs).items() > {"aeea": "a e e a", "ceec": "C E E C"}.items()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"tokenizer": {"joint": True}}, "joint"),
        ({"data": {"task": "reverse"}}, "task"),
        ({"tokenizer": {"source": {"vocabulary": 2_000_000}}}, "1,000,000"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], why: str, folder: Path) -> None:
    with pytest.raises(RecipeError, match=why):
        build_recipe(merge(read_recipe(folder).model_dump(), wrong))


def test_a_batch_has_as_many_pairs() -> None:
    pairs = [Pair(f"word{number:05}", "W ER D " + " ".join(f"{number:05}"), number) for number in range(30_000)]
    looked = survey(pairs)
    plain, _ = choose(looked, {})
    beside, reasons = choose(looked, {"tokenizer": {"neighbours": True}})
    assert beside.training.steps == pytest.approx(plain.training.steps, rel=0.05)
    assert 2 < beside.data.tokens_per_batch / plain.data.tokens_per_batch < 3
    assert (plain.model.encoder, beside.model.encoder, beside.model.positions) == ("convolutional", None, "relative")
    assert any(reason.key == "model.positions" and "neighbours" in reason.why for reason in reasons)
