"""Guided attention: links stay with their pairs through reading, files, splits and batches; its loss and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_step import Gradients, assert_close, model
from test_world import numbers, together

from regard import trainer
from regard.config import Data, Training, build_recipe, merge
from regard.data.corpus import EncodedPairs, Left, PairEncoder
from regard.data.links import token_links
from regard.data.origin import open_origin
from regard.data.tokens import Batch, Tokens
from regard.errors import DataError, RecipeError, UsageError
from regard.inside.choosing import Chosen
from regard.inside.crossing import crossings
from regard.models.interface import EncoderDecoder
from regard.text.pairs import Links, Pair, is_blank
from regard.text.tokenizer import Tokenizer
from regard.training.guide import HEAD, Guide
from regard.training.loop import Interrupted
from regard.training.loss import Loss
from regard.training.step import Stepper
from regard.translator import Translator
from regard.translator.aligning import align
from small import SETTINGS
from test_trainer import stop_after, untimed

GUIDED = {"training": {"guide": 0.7}}
LINKED = [(4, ((0, 0), (1, 2), (1, 0))), (2, ()), (5, ((4, 4), (3, 0), (0, 3), (0, 4)))]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))


def linked_batch() -> Batch:
    """Rows of some lengths with links (target, source); one row has none."""
    ids = [[4 + (row + place) % 8 for place in range(length)] for row, (length, _) in enumerate(LINKED)]
    links = Tokens.of([list(itertools.chain(*sorted(pairs))) for _, pairs in LINKED])
    return Batch(Tokens.of([[*row, 2] for row in ids]), Tokens.of([[1, *row, 2] for row in ids]), links)


def by_hand(net: EncoderDecoder, layer: int) -> float:
    """For each target token with links, the mean surprise of its links."""
    batch = linked_batch()
    weights = crossings(net.eval(), batch.source, batch.previous)[layer].weights[:, HEAD]
    total = 0.0
    for row, (_, pairs) in enumerate(LINKED):
        for target in {target for target, _ in pairs}:
            surprises = [-weights[row, target, source].log() for other, source in pairs if other == target]
            total += float(sum(surprises)) / len(surprises)
    return total


@pytest.mark.parametrize(("architecture", "layer"), [("transformer", 0), ("convolutional", 0), ("recurrent", 0)])
def test_the_loss_is_the_mean_surprise_of_the_links_of_each_token(architecture: str, layer: int) -> None:
    net = model(architecture, drop=0.0)
    assert Guide(net, 1.0).layer == layer
    plain, guided = Loss(net)(linked_batch()), Loss(net, 0.7)(linked_batch())
    assert (guided - plain).item() == pytest.approx(0.7 * by_hand(net, layer), rel=1e-9)


def test_without_weight_links_change_nothing() -> None:
    net, batch = model(), linked_batch()
    bare = Batch(batch.source, batch.target)
    for loss in (Loss(net), Loss(net, 0.0)):
        assert loss.guide is None
        torch.manual_seed(1)
        with_links = loss(batch)
        torch.manual_seed(1)
        assert torch.equal(with_links, loss(bare))
    assert torch.isfinite(Loss(net, 1.0)(bare))


def stepped(net: EncoderDecoder, batches: list[Batch], fits: Callable[[Batch], bool] = lambda batch: True) -> Gradients:
    training = {"steps": 10, "learning_rate": 1e-3, "warmup": 2, "checkpoint_every": 5, "metric": "loss", "guide": 0.7}
    Stepper(net, Training.model_validate({**training, "clip": None}), fits=fits).step(batches, 3, rate=1e-3)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("architecture", ["transformer", "recurrent", "convolutional"])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(architecture: str) -> None:
    whole = stepped(model(architecture), [linked_batch()])
    assert_close(stepped(model(architecture), [linked_batch()], lambda piece: len(piece.source.ids) <= 1), whole)
    bare = stepped(model(architecture), [Batch(linked_batch().source, linked_batch().target)])
    with pytest.raises(AssertionError):  # the links are part of it
        assert_close(bare, whole)


def test_accumulated_batches_have_the_gradient_of_one() -> None:
    batch = linked_batch()
    apart = [batch.rows(slice(row, row + 1)) for row in range(len(LINKED))]
    assert_close(stepped(model(drop=0.0), apart), stepped(model(drop=0.0), [batch]))


# Words to tokens.

BPE = Tokenizer.train(["low lower lowest newest"] * 3, "bpe", vocabulary=275)


def links_of(source: str, target: str, text: str, tokenizer: Tokenizer = BPE) -> list[tuple[int, int]]:
    flat = token_links(Pair(source, target, 1, Links(text, "links:9")), tokenizer, tokenizer)
    return list(zip(flat[1::2], flat[0::2], strict=True))


def test_links_of_words_are_spread_over_their_tokens() -> None:
    assert BPE.pieces("low newest") == [" low", " ", "n", "ew", "est"]
    assert BPE.pieces("lowest low") == [" lowest", " low"]
    assert links_of("low newest", "lowest low", "1-0 0?1") == [(1, 0), (2, 0), (3, 0), (4, 0), (0, 1)]
    assert links_of("lowest low", "low newest", "0-1 1-1") == [(a, b) for b in (1, 2, 3, 4) for a in (0, 1)]
    assert links_of("low newest", "lowest low", "") == []


def test_links_are_between_tokens_where_they_are_letters() -> None:
    letters = Tokenizer.train(["abc d"], "characters", vocabulary=300)
    assert links_of("a bc", "cd", "3-0 1-1", letters) == [(3, 0), (1, 1)]


@pytest.mark.parametrize(("text", "fault"), [("0-0 2-1", "source 2"), ("0-2", "target 2"), ("0=1", "is no link")])
def test_faults_in_links_are_named_with_their_place(text: str, fault: str) -> None:
    with pytest.raises(DataError, match=f"links:9.*{fault}"):
        links_of("low newest", "lowest low", text)


# Links stay with their pairs. Here the links of a pair follow from its words: word i is linked to its own twin.

WORDS = ["ab", "cd", "ef", "gh", "ij"]


def shuffled(count: int = 60) -> list[tuple[str, str, str]]:
    """Source, target (the same words in another order) and links of each pair; some are blank, some are long."""
    generator, made = torch.Generator().manual_seed(5), []
    for number in range(count):
        size = 0 if number % 9 == 4 else 40 if number % 9 == 7 else 1 + number % 5
        words = [WORDS[place % 5] + str(place // 5) for place in torch.randperm(size, generator=generator).tolist()]
        order = torch.randperm(size, generator=generator).tolist()
        links = " ".join(f"{source}-{target}" for target, source in enumerate(order))
        made.append((" ".join(words), " ".join(words[source] for source in order), links))
    return made


def write(folder: Path, rows: list[tuple[str, str, str]], shards: int = 1, header: bool = False) -> Data:
    paths, links = [], folder / "links"
    size = len(rows) // shards
    for number in range(shards):
        part = rows[number * size : (number + 1) * size]
        path = folder / f"{number}.tsv"
        lines = ["right\tleft"] * header + [
            f"{target}\t{source}" if header else f"{source}\t{target}" for source, target, _ in part
        ]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        paths.append(str(path))
    links.write_text("".join(f"{each}\n" for _, _, each in rows), encoding="utf-8")
    columns = ["left", "right"] if header else None
    return Data.model_validate({"pairs": paths, "alignments": str(links), "hold_out": 0.3, "columns": columns})


TOKENIZER = Tokenizer.train([row[0] for row in shuffled()], "symbols", vocabulary=300)


def assert_linked_to_twins(encoded: EncodedPairs, count: int) -> None:
    assert len(encoded) == count
    seen = 0
    for rows in torch.randperm(count).split(7):  # in any order, in batches
        batch = encoded.batch(rows)
        assert batch.links is not None
        for row in range(len(rows)):
            flat = batch.links.ids[row, : batch.links.lengths[row]]
            assert torch.equal(batch.target.ids[row, 1:][flat[0::2]], batch.source.ids[row][flat[1::2]])
            assert len(flat) // 2 == batch.source.lengths[row] - 1
            seen += len(flat)
    assert seen


@pytest.mark.parametrize(("shards", "header"), [(1, False), (1, True), (3, False), (3, True)])
def test_links_stay_with_their_pairs_in_files_splits_and_batches(tmp_path: Path, shards: int, header: bool) -> None:
    rows = shuffled()
    origin = open_origin(write(tmp_path, rows, shards, header), seed=1)
    encoder = PairEncoder(TOKENIZER, TOKENIZER, 30, links=True)
    kept = [row for row in rows if 0 < len(row[0].split()) <= 30]
    train, held_out = (encoder.in_memory(pairs) for pairs in (origin.train, origin.valid))
    assert len(train) + len(held_out) == len(kept)
    assert min(len(train), len(held_out)) > 5
    assert_linked_to_twins(train, len(train))
    assert_linked_to_twins(held_out, len(held_out))
    for _ in range(2):  # written, then found in the cache
        mapped, left = encoder.on_disk(origin.train, origin.content, origin.bad_lines)
        assert_linked_to_twins(mapped, len(train))
    assert left.pairs == len(train)
    bare, _ = PairEncoder(TOKENIZER, TOKENIZER, 30).on_disk(origin.train, origin.content, origin.bad_lines)
    assert bare.links is None
    assert torch.equal(bare.source.ids, mapped.source.ids)
    assert all(len(row) == 2 for row in encoder.rows(origin.train, Left()))


def test_a_shifted_file_of_links_is_found(tmp_path: Path) -> None:
    rows = shuffled()
    links = [each for _, _, each in rows]
    data = write(tmp_path, [(a, b, c) for (a, b, _), c in zip(rows, [*links[1:], links[0]], strict=True)])
    with pytest.raises(DataError, match=r"links:\d+.*counted from 0, but the"):
        PairEncoder(TOKENIZER, TOKENIZER, 30, links=True).in_memory(open_origin(data, 1).train)
    (tmp_path / "links").write_text("\n".join(links[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"links:60: 59 lines of alignments for 60 lines of pairs"):
        list(open_origin(data, 1).train)


def test_content_and_pairs_without_alignments_are_as_before(tmp_path: Path) -> None:
    data = write(tmp_path, shuffled())
    bare = open_origin(data.model_copy(update={"alignments": ()}), 1)
    guided = open_origin(data, 1)
    assert bare.content != guided.content
    assert all(pair.links is None for pair in bare.train)
    assert [(pair.source, pair.line) for pair in bare.train] == [(pair.source, pair.line) for pair in guided.train]
    before = guided.content
    (tmp_path / "links").write_text("x\n", encoding="utf-8")
    assert open_origin(data, 1).content != before


# Settings, and whole runs.


def test_settings_that_do_not_go_together() -> None:
    for changes, fault in (
        ({"training": {"guide": 0.1}}, "guide needs data.alignments"),
        ({"training": {"guide": 0.1, "recompute": True}, "data": {"alignments": ["a"]}}, "set recompute=false"),
        ({"training": {"guide": 0.1, "compile": True}, "data": {"alignments": "a"}}, "compile=false"),
    ):
        with pytest.raises(RecipeError, match=fault):
            build_recipe(merge(SETTINGS, changes))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not to a task"):
        open_origin(Data.model_validate({"task": "copy", "alignments": ["a"]}), 1)


def settings(folder: Path, more: dict[str, Any] | None = None) -> dict[str, Any]:
    data = write(folder, [row for row in shuffled(90) if len(row[0]) < 30])
    tiny: dict[str, Any] = {
        "data": {"pairs": list(data.pairs), "alignments": list(data.alignments), "tokens_per_batch": 150},
        "tokenizer": {side: {"kind": "symbols"} for side in ("source", "target")},
        "model": {"layers": 1, "size": 16, "heads": 2, "inner": 32, "dropout": 0.1, "attention_dropout": 0.1},
        "training": {"steps": 4, "checkpoint_every": 2, "average": 2, "warmup": 2, "valid_pairs": 5, "guide": 0.5},
        "decoding": {"beam": 2},
    }
    return merge(tiny, more or {})


def test_a_guided_run_resumes_with_equal_bits_and_says_which_head_it_guided(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer.train(settings(tmp_path), whole)
    with pytest.raises(Interrupted):
        trainer.train(settings(tmp_path), parts, stop_after(3))
    trainer.resume(parts)
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()
    assert untimed(whole) == untimed(parts)
    assert (whole / "alignment.json").read_bytes() == (parts / "alignment.json").read_bytes()
    chosen = Chosen.load(whole)
    assert chosen is not None
    assert (chosen.by, chosen.how) == ("cross.0.0", "the head that training.guide guided")


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"accumulate": 2}, {"shard": True}], ids=str)
def test_several_processes_train_what_one_trains(more: dict[str, Any], tmp_path: Path) -> None:
    made, run, alone = settings(tmp_path, {"training": more}), tmp_path / "run", tmp_path / "alone"
    ended = together(2, [(made, run)])
    assert [code for code, _ in ended] == [0, 0], ended
    trainer.train(made, alone)
    for kind in ("step", "checkpoint", "end"):
        for ours, theirs in zip(numbers(run, kind), numbers(alone, kind), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.slow
def test_a_guided_head_looks_where_the_links_say_however_odd_that_is(tmp_path: Path) -> None:
    """Words are copied, but each is linked to the word before it, the first to the last."""
    generator, lines, links = torch.Generator().manual_seed(3), [], []
    for _ in range(600):
        size = int(torch.randint(2, 7, (1,), generator=generator))
        words = [WORDS[place] for place in torch.randint(5, (size,), generator=generator).tolist()]
        lines.append(" ".join(words))
        links.append(" ".join(f"{(place - 1) % size}-{place}" for place in range(size)))
    pairs, links_file = tmp_path / "pairs.tsv", tmp_path / "links"
    pairs.write_text("".join(f"{line}\t{line}\n" for line in lines), encoding="utf-8")
    links_file.write_text("".join(f"{each}\n" for each in links), encoding="utf-8")
    (tmp_path / "other").mkdir()
    made = settings(tmp_path / "other", {
        "data": {"pairs": [str(pairs)], "alignments": [str(links_file)], "tokens_per_batch": 1000},
        "model": {"layers": 2, "size": 32, "dropout": 0.0, "attention_dropout": 0.0},
        "training": {"steps": 300, "checkpoint_every": 100, "guide": 1.0},
    })  # fmt: skip
    trainer.train(made, tmp_path / "run")
    translator = Translator.load(tmp_path / "run")
    found = list(align(translator, [(line, line) for line in lines[:200]]))
    wanted = [{tuple(map(int, each.split("-"))) for each in line.split()} for line in links[:200]]
    right = sum(len(set(one.links) & two) for one, two in zip(found, wanted, strict=True))
    assert right / sum(map(len, wanted)) > 0.9
    assert not any(is_blank(line) for line in lines)
