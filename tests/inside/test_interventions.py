"""Heads changed for a while: exact, obeyed by every way to compute a model, and undone bit for bit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from regard.attention.attend import Attend
from regard.attention.multi_head import MultiHeadAttention
from regard.attention.record import observed, recorded
from regard.attention.relative import RELATIVE
from regard.attention.scores import SCORES
from regard.config import Model
from regard.data.tokens import Tokens
from regard.engine import why_not
from regard.errors import UsageError
from regard.inside.heads import heads
from regard.inside.interventions import Change, changed, describe, parse
from regard.inside.patterns import PATTERNS, taken
from regard.inside.record import Answered, record
from regard.models import DECODERS, ENCODERS, build
from regard.models.interface import EncoderDecoder
from regard.translator import Translation, Translator
from regard.translator.translator import Mates
from small import untrained

BASE = {"layers": 2, "size": 16, "heads": 4, "inner": 24, "dropout": 0.0, "longest": 16}
SOURCE = Tokens.of([[4, 5, 6, 7, 8], [9, 10, 11], [12]])
TARGET = Tokens.of([[1, 4, 5, 6], [1, 7], [1, 8, 9, 10, 11, 12]])
WORDS = ["fox", "the lazy dogs", "jumps over"]


def variants() -> Iterator[tuple[str, dict[str, object]]]:
    """Each encoder with each decoder, each score and each kind of position inside attention."""
    pairs = [(encoder, decoder) for encoder in ENCODERS for decoder in DECODERS]
    yield from ((f"{encoder}-{decoder}", {"encoder": encoder, "decoder": decoder}) for encoder, decoder in pairs)
    yield from ((f"score={score}", {"score": score}) for score in SCORES)
    yield from ((f"positions={name}", {"positions": name}) for name in RELATIVE)
    yield "luong", {"architecture": "recurrent", "look": "after"}
    yield "feeding", {"architecture": "recurrent", "look": "after", "input_feeding": True}


ALL = dict(variants())
QUICK = ("transformer-transformer", "feeding", "convolutional-convolutional", "luong", "positions=relative")


def _models(quick: Collection[str]) -> list[Any]:
    return [pytest.param(ALL[name], id=name, marks=() if name in quick else pytest.mark.slow) for name in ALL]


every_model = pytest.mark.parametrize("settings", _models(QUICK))
every_model_but_fewer_by_default = pytest.mark.parametrize("settings", _models(QUICK[:2]))


def make(settings: Mapping[str, object], dtype: torch.dtype = torch.float64) -> EncoderDecoder:
    """In evaluation, no weight at its special first value."""
    model = build(Model.model_validate({**BASE, **settings}), 13, 13)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.to(dtype).eval()


def bits(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all tensors."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def is_as_before(model: nn.Module, before: Mapping[str, Tensor]) -> bool:
    """Equal bits, and nothing left on any module."""
    equal = all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    attends = [module for module in model.modules() if isinstance(module, Attend)]
    hooks = [module for module in model.modules() if module._forward_hooks]
    return equal and not hooks and all(each.patch is None and not each.plain for each in attends)


def stepped(model: EncoderDecoder, ids: Tensor) -> Tensor:
    """Logits [B, T, V] of one step after another."""
    state, logits = model.decoder.start(model.encode(SOURCE)), []
    for last in ids.unbind(1):
        one, state = model.decoder.step(last, state)
        logits.append(one)
    return torch.stack(logits, dim=1)


def by_hand(attention: MultiHeadAttention, query: Tensor, source: Tensor, factors: list[float]) -> Tensor:
    """The module in loops over heads, each one's part of the sum times its factor; no mask."""
    size = attention.output.in_features // attention.heads
    total = attention.output.bias.expand(query.shape[0], query.shape[1], -1)
    q, k, v = attention.query(query), attention.key(source), attention.value(source)
    for head, factor in enumerate(factors):
        own = slice(head * size, (head + 1) * size)
        weights = torch.softmax(q[..., own] @ k[..., own].transpose(1, 2) / size**0.5, dim=-1)
        total = total + factor * (weights @ v[..., own]) @ attention.output.weight[:, own].T
    return total


@torch.no_grad()
def test_scaled_is_each_heads_part_times_its_factor() -> None:
    model = make({})
    [site] = [site for site in heads(model).sites if site.name == "cross.1"]
    attention, query, source = site.module, torch.randn(2, 3, 16).double(), torch.randn(2, 5, 16).double()
    assert isinstance(attention, MultiHeadAttention)
    as_it_is = attention(query, attention.remember(source))
    assert_close(as_it_is, by_hand(attention, query, source, [1, 1, 1, 1]), atol=1e-12, rtol=0)
    wanted = by_hand(attention, query, source, [1, 0, 0.5, -2])
    with changed(model, {"cross.1.1": 0, "cross.1.2": 0.5, "cross.1.3": -2.0}):
        assert_close(attention(query, attention.remember(source)), wanted, atol=1e-12, rtol=0)
    only_bias = by_hand(attention, query, source, [0, 0, 0, 0])
    with changed(model, {"cross.1": 0}):
        assert_close(attention(query, attention.remember(source)), only_bias, atol=1e-12, rtol=0)
    assert torch.equal(attention(query, attention.remember(source)), as_it_is)


@every_model
@torch.no_grad()
def test_off_is_nothing_mixed_by_that_head(settings: Mapping[str, object]) -> None:
    """Against another way to say it: what the head mixes is set to 0 before the output matrix."""
    model = make(settings)
    for site in heads(model).sites:

        def silence(module: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            mixed, weights = output
            return torch.cat((mixed[:, :2], torch.zeros_like(mixed[:, 2:3]), mixed[:, 3:]), dim=1), weights

        handle = site.attend.register_forward_hook(silence)
        wanted = model(SOURCE, TARGET)
        handle.remove()
        with changed(model, {f"{site.name}.2": 0}):
            off = model(SOURCE, TARGET)
        assert_close(off[TARGET.is_real], wanted[TARGET.is_real], atol=1e-12, rtol=0)
        assert not torch.allclose(off[TARGET.is_real], model(SOURCE, TARGET)[TARGET.is_real], atol=1e-6)


@every_model_but_fewer_by_default
@torch.no_grad()
def test_times_one_changes_no_bit_and_everything_is_restored(settings: Mapping[str, object]) -> None:
    model = make(settings, torch.float32)
    before, logits = bits(model), model(SOURCE, TARGET)
    with changed(model, {site.name: 1 for site in heads(model).sites}):
        assert torch.equal(model(SOURCE, TARGET), logits)
    every: dict[str, Change] = {head.name: 0.1 if head.number % 2 else "uniform" for head in heads(model).all}
    with changed(model, every), changed(model, {"cross.0": 1e30}):
        assert not torch.equal(model(SOURCE, TARGET), logits)
    assert is_as_before(model, before)
    with pytest.raises(ZeroDivisionError), changed(model, every), changed(model, {"cross.0": 1e30}):
        raise ZeroDivisionError
    assert is_as_before(model, before)
    assert torch.equal(model(SOURCE, TARGET), logits)


@every_model
@torch.no_grad()
def test_patched_step_by_step_is_all_at_once(settings: Mapping[str, object]) -> None:
    model = make(settings)
    given = torch.rand(6, 4) * (torch.rand(6, 4) > 0.5)
    for patterns in (["uniform", "previous", "diagonal", "first"], [given, lambda own, may_attend, first: own**2]):
        changes = {f"{site.name}.{head}": change for site in heads(model).sites for head, change in enumerate(patterns)}
        usual = model(SOURCE, TARGET)
        with changed(model, changes):
            with recorded(model) as weights:
                at_once = model(SOURCE, TARGET)
            assert_close(model(SOURCE, TARGET), at_once, atol=1e-12, rtol=0)
            steps = stepped(model, TARGET.ids)
        assert_close(steps[TARGET.is_real], at_once[TARGET.is_real], atol=1e-10, rtol=0)
        assert not torch.allclose(usual, at_once, atol=1e-6)
        for each in weights.values():
            assert_close(each.sum(-1), torch.ones_like(each[..., 0]), atol=1e-12, rtol=0)


@torch.no_grad()
def test_uniform_is_the_mean_of_what_may_be_seen() -> None:
    model = make({})
    [site] = [site for site in heads(model).sites if site.name == "decoder.0"]
    attention, x = site.module, torch.randn(1, 4, 16).double()
    assert isinstance(attention, MultiHeadAttention)
    usual, values = attention.all_at_once(x, is_causal=True), attention.value(x)
    kept = attention.all_at_once(x, is_causal=True)
    with changed(model, {"decoder.0.3": 0}):
        kept = attention.all_at_once(x, is_causal=True)
    means = torch.stack([values[0, : place + 1, 12:].mean(0) for place in range(4)])
    with changed(model, {"decoder.0.3": "uniform"}):
        uniform = attention.all_at_once(x, is_causal=True)
    assert_close(uniform[0], kept[0] + means @ attention.output.weight[:, 12:].T, atol=1e-12, rtol=0)
    assert torch.equal(attention.all_at_once(x, is_causal=True), usual)


@torch.no_grad()
def test_patterns_are_what_they_say_and_keep_to_masks() -> None:
    model = make({})
    rows = {}
    for name in PATTERNS:
        with changed(model, {"encoder.1.0": name, "decoder.1.0": name, "cross.1.0": name}), recorded(model) as weights:
            model(SOURCE, TARGET)
        rows[name] = {path: each[:, 0] for path, each in weights.items()}
    encoder, decoder, cross = (
        f"{side}.blocks.1.{kind}"
        for side, kind in (("encoder", "attention"), ("decoder", "attention"), ("decoder", "look"))
    )
    assert rows["uniform"][encoder][1].tolist() == [[1 / 3] * 3 + [0.0] * 2] * 5
    assert rows["first"][cross][0].argmax(-1).tolist() == [0] * 6
    assert rows["diagonal"][cross][1].argmax(-1).tolist() == [0, 1, 2, 2, 2, 2]
    assert rows["previous"][cross][0].argmax(-1).tolist() == [0, 0, 1, 2, 3, 4]
    assert rows["previous"][decoder][2].argmax(-1).tolist() == [0, 0, 1, 2, 3, 4]
    assert rows["diagonal"][decoder][2].argmax(-1).tolist() == [0, 1, 2, 3, 4, 5]
    for found in rows.values():
        assert not found[decoder].triu(1).any()
        assert not found[encoder][1, :, 3:].any()
        assert not found[cross][2, :, 1:].any()
        for each in found.values():
            assert_close(each.sum(-1), torch.ones_like(each[..., 0]), atol=1e-12, rtol=0)


@torch.no_grad()
def test_given_weights_stand_where_they_reach_and_others_stay() -> None:
    model, answered = make({}, torch.float32), Answered((4, 5, 6, 7), (8, 9, 10))
    usual = {each.name: each.weights for each in record(model, answered).attentions}
    given = torch.tensor([[0.0, 3.0, 1.0], [0.0, 0.0, 0.0]])
    with changed(model, {"cross.0.1": given}):
        seen = {each.name: each.weights for each in record(model, answered).attentions}
    wanted = usual["cross.0"].clone()
    wanted[1, 0] = torch.tensor([0.0, 0.75, 0.25, 0.0, 0.0])
    assert_close(seen["cross.0"], wanted, atol=1e-6, rtol=0)  # rows 1 to 3 are its own
    own = usual["cross.1"][2].clone()
    with changed(model, {"cross.1.2": own}):
        again = record(model, answered)
    assert_close(again.log_probabilities, record(model, answered).log_probabilities, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_function_of_the_heads_own_weights() -> None:
    model = make({})
    seen = []

    def sharper(own: Tensor, may_attend: Tensor, first: int) -> Tensor:
        seen.append((tuple(own.shape), tuple(may_attend.shape), first))
        return own**2 - 1e-3

    with recorded(model) as weights:
        model(SOURCE, TARGET)
    usual = weights["decoder.blocks.0.look"][:, 1]
    with changed(model, {"cross.0.1": sharper}), recorded(model) as weights:
        model(SOURCE, TARGET)
    wanted = (usual**2 - 1e-3).clamp(min=0)
    assert_close(weights["decoder.blocks.0.look"][:, 1], wanted / wanted.sum(-1, keepdim=True), atol=1e-12, rtol=0)
    assert seen == [((3, 6, 5), (3, 6, 5), 0)]


@torch.no_grad()
def test_who_observes_sees_the_pattern_whichever_came_first() -> None:
    model = make({})
    for inner in (True, False):
        seen: dict[str, Tensor] = {}
        first, second = (
            observed(model, lambda name, weights, _, seen=seen: seen.update({name: weights})),
            changed(model, {"cross.0.0": "first"}),
        )
        with first if inner else second, second if inner else first:
            model(SOURCE, TARGET)
        assert bool((seen["decoder.blocks.0.look"][:, 0, :, 0] == 1).all())
    assert is_as_before(model, bits(model))


@every_model_but_fewer_by_default
@torch.no_grad()
def test_taken_from_another_run_is_what_that_run_mixed(settings: Mapping[str, object]) -> None:
    """Against another way to say it: a hook that puts in what a hook saw."""
    model = make(settings)
    here, there = Answered((4, 5, 6, 7), (8, 9, 10)), Answered((7, 11, 4, 12), (9, 9, 5))
    source, previous = here.sources, here.previous
    usual = model(source, previous)
    for site in heads(model).sites:
        name, mixed = f"{site.name}.1", list[Tensor]()
        handle = site.attend.register_forward_hook(lambda module, inputs, output, mixed=mixed: mixed.append(output[0]))
        model(there.sources, there.previous)
        handle.remove()
        steps = iter(mixed)

        def put(
            module: nn.Module, inputs: object, output: tuple[Tensor, Tensor], steps: Iterator[Tensor] = steps
        ) -> tuple[Tensor, Tensor]:
            return torch.cat((output[0][:, :1], next(steps)[:, 1:2], output[0][:, 2:]), dim=1), output[1]

        handle = site.attend.register_forward_hook(put)
        wanted = model(source, previous)
        handle.remove()
        with changed(model, taken(model, [name], there)):
            assert_close(model(source, previous), wanted, atol=1e-12, rtol=0)
            state, logits = model.decoder.start(model.encode(source)), []
            for last in previous.ids.unbind(1):
                one, state = model.decoder.step(last, state)
                logits.append(one)
            assert_close(torch.stack(logits, 1), wanted, atol=1e-10, rtol=0)
        assert not torch.allclose(wanted, usual, atol=1e-6)
        with changed(model, taken(model, [name], here)):
            assert_close(model(source, previous), usual, atol=1e-12, rtol=0)


def test_taken_from_a_source_of_another_length_is_refused() -> None:
    model = make({})
    before, shorter = bits(model), taken(model, ["encoder.0", "cross.1.2"], Answered((4, 5), (8,)))
    assert sorted(shorter) == ["cross.1.2", *(f"encoder.0.{head}" for head in range(4))]
    assert describe(shorter)[0] == "encoder.0.0 = as in another answer"
    for name, change in shorter.items():
        with (
            changed(model, {name: change}),
            pytest.raises(UsageError, match="of 3 tokens with its end, this one has 1, 3, 5"),
        ):
            model(SOURCE, TARGET)
    assert is_as_before(model, before)


@torch.no_grad()
def test_steps_past_those_that_were_taken_are_the_models_own() -> None:
    model, source = make({}, torch.float32), (4, 5, 6, 7)
    long, short = Answered(source, (8, 9, 10, 11)), Answered(source, (8, 9), ends=False)
    usual = {each.name: each.weights for each in record(model, long).attentions}
    with changed(model, taken(model, ["cross.0.1", "decoder.0.1"], short)):
        seen = {each.name: each.weights for each in record(model, long).attentions}
    for name in ("cross.0", "decoder.0"):
        assert_close(seen[name], usual[name], atol=1e-5, rtol=0)
    other = Answered((7, 7, 7, 7), (9, 9), ends=False)
    theirs = {each.name: each.weights for each in record(model, other).attentions}
    with changed(model, taken(model, ["cross.0.1"], other)):
        seen = {each.name: each.weights for each in record(model, long).attentions}
    assert_close(seen["cross.0"][1, :2], theirs["cross.0"][1], atol=1e-6, rtol=0)
    assert not torch.allclose(seen["cross.0"][1, 2:], theirs["cross.0"][1, :1], atol=1e-3)


@torch.no_grad()
def test_nested_changes_add_up_and_end_in_turn() -> None:
    model = make({}, torch.float32)
    before, logits = bits(model), model(SOURCE, TARGET)
    with changed(model, {"encoder.0.1": 0.3, "cross.1.0": "uniform"}):
        outer = model(SOURCE, TARGET)
        with changed(model, {"encoder.0.1": 0, "cross.1.0": "first", "cross.1.1": "uniform"}):
            inner = model(SOURCE, TARGET)
        assert torch.equal(model(SOURCE, TARGET), outer)
    with changed(model, {"encoder.0.1": 0, "cross.1.0": "first", "cross.1.1": "uniform"}):
        assert_close(model(SOURCE, TARGET), inner, atol=1e-6, rtol=0)
    assert is_as_before(model, before)
    assert torch.equal(model(SOURCE, TARGET), logits)


MANNERS: list[dict[str, object]] = [
    {"beam": 1},
    {"beam": 4, "n_best": 3},
    {"options": {"strategy": "sampling", "seed": 3}, "n_best": 4},
    {"options": {"beam": 4, "groups": 2, "diversity": 0.5}},
    {"beam": 2, "options": {"exact": True}},
]
CHANGES: list[dict[str, Change]] = [
    {"encoder.0.1": 0, "decoder.0": 0, "cross.1.0": 3.0},
    {"encoder.1": "previous", "decoder.1.1": "first", "cross.0": "uniform", "cross.1": "diagonal"},
]


def varied(seed: int = 2) -> Translator:
    """A model whose answers differ from word to word, cut short."""
    settings = {"model": {"layers": 2, "share_embeddings": "none"}, "decoding": {"limit_factor": 0.4, "limit_extra": 3}}
    translator = untrained(settings, seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in translator.model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return translator


@pytest.mark.parametrize("manner", MANNERS, ids=str)
@pytest.mark.parametrize("changes", CHANGES, ids=["scaled", "patched"])
def test_every_search_obeys_and_forgets(manner: dict[str, object], changes: dict[str, Change]) -> None:
    translator = varied()
    before, usual = bits(translator.model), list(translator.translate(WORDS, **manner))  # type: ignore[arg-type]
    with changed(translator, changes):
        answers = list(translator.translate(WORDS, **manner))  # type: ignore[arg-type]
        forced = forced_scores(translator, answers)
        alone = next(translator.translate(WORDS[1:2], **manner))  # type: ignore[arg-type]
    assert said(answers) == pytest.approx(forced, abs=1e-4)
    assert alone.text == answers[1].text
    assert sum(ours.text != theirs.text for ours, theirs in zip(answers, usual, strict=True)) >= 2
    assert list(translator.translate(WORDS, **manner)) == usual  # type: ignore[arg-type]
    assert is_as_before(translator.model, before)


def said(answers: list[Translation]) -> list[float]:
    """The log-probability of every token of every answer; of its end too, if it ended."""
    return [value for each in answers for answer in each.answers for value in answer.log_probabilities]


def forced_scores(translator: Translator, answers: list[Translation]) -> list[float]:
    """The same from the modules, all positions at once."""
    given = [(each.source, answer) for each in answers for answer in each.answers]
    forced = translator.force([(source, answer.text) for source, answer in given])
    pairs = zip(given, forced, strict=True)
    return [value for (_, answer), each in pairs for value in each.log_probabilities[: len(answer.log_probabilities)]]


def test_the_engine_computes_scaled_heads_and_leaves_patched_ones_to_the_modules() -> None:
    model = untrained({"model": {"layers": 2}}).model
    with changed(model, {"cross.0.1": 0}):
        assert why_not(model.encoder) is None
        assert why_not(model.decoder) is None
    with changed(model, {"cross.0.1": "uniform"}):
        assert why_not(model.encoder) is None
        assert "another was put in its place" in str(why_not(model.decoder))
    assert why_not(model.decoder) is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"encoder.9": 0}, "no head 'encoder.9'"),
    ({"encoder.0": 0, "encoder.0.1": 0}, "encoder.0.1 is named twice"),
    ({"encoder.0.0": float("nan")}, "finite number"),
    ({"encoder.0.0": float("inf")}, "finite number"),
    ({"encoder.0.0": "sideways"}, "one of uniform, previous, diagonal, first .* 'sideways'"),
    ({"encoder.0.0": torch.zeros(3)}, r"\(3,\) of torch.float32"),
    ({"encoder.0.0": torch.tensor([[-1.0]])}, "numbers from 0 on"),
    ({"encoder.0.0": torch.tensor([[torch.nan]])}, "numbers from 0 on"),
    ({"encoder.0.0": torch.ones(2, 2, dtype=torch.int64)}, "torch.int64"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_before_anything_is_changed(changes: dict[str, Change], message: str) -> None:
    model = make({})
    before = bits(model)
    with pytest.raises(UsageError, match=message), changed(model, {"cross.0.0": 0, **changes}):
        pass
    assert is_as_before(model, before)


def test_an_attention_without_an_output_matrix_takes_patterns_alone() -> None:
    model = make({})
    [site] = [site for site in heads(model).sites if site.name == "cross.0"]
    assert isinstance(site.module, MultiHeadAttention)
    site.module.output = nn.Sequential(site.module.output)  # type: ignore[assignment]
    with (
        pytest.raises(UsageError, match=r"decoder.blocks.0.look has no output matrix"),
        changed(model, {"cross.0.0": 0}),
    ):
        pass
    with changed(model, {"cross.0.0": "first"}):
        assert site.attend.patch is not None


def test_an_ensemble_must_say_which_model() -> None:
    first, second = varied(2), varied(3)
    both = Translator(first.model, first.tokenizers, first.recipe, Mates((second.model,), (1.0, 1.0)))
    with pytest.raises(UsageError, match="a head is one model's"), changed(both, {"cross.0.0": 0}):
        pass
    usual = list(both.translate(WORDS))
    for model in (first.model, second.model):
        with changed(model, {"cross.0": 0}):
            answers = list(both.translate(WORDS))
            assert said(answers) == pytest.approx(forced_scores(both, answers), abs=1e-4)
        assert said(answers) != pytest.approx(said(usual), abs=1e-2)
    assert list(both.translate(WORDS)) == usual


def test_changes_on_a_command_line() -> None:
    changes = parse(["encoder.2.5", "cross.1=0.5, decoder.0.1=-1", "cross.0.3=uniform"])
    assert changes == {"encoder.2.5": 0.0, "cross.1": 0.5, "decoder.0.1": -1.0, "cross.0.3": "uniform"}
    assert describe(changes) == ("encoder.2.5 x 0", "cross.1 x 0.5", "decoder.0.1 x -1", "cross.0.3 = uniform")
    assert describe({"cross.0": torch.ones(1, 1)}) == ("cross.0 = a given pattern",)
    with pytest.raises(UsageError, match=r"encoder.1 is named twice"):
        parse(["encoder.1", "encoder.1=first"])
    with pytest.raises(UsageError, match=r"number or a pattern in 'cross.0=half', found 'half'"):
        parse(["cross.0=half"])
    with pytest.raises(UsageError, match="found ''"):
        parse(["cross.0="])


@torch.no_grad()
def test_what_is_shared_changes_in_all_its_places_and_comes_back() -> None:
    model = make({}, torch.float32)
    first, second = (site.module for site in heads(model).sites if site.part == "cross")
    assert isinstance(first, MultiHeadAttention)
    assert isinstance(second, MultiHeadAttention)
    second.output.weight = first.output.weight
    before, columns = bits(model), slice(4, 8)
    with changed(model, {"cross.0.1": 0.5, "cross.1.1": 0.25}):
        assert torch.equal(
            second.output.weight[:, columns], before["decoder.blocks.0.look.output.weight"][:, columns] / 8
        )
    assert is_as_before(model, before)
    model.decoder.blocks[1] = model.decoder.blocks[0]  # type: ignore[operator, index, union-attr]
    before, usual = bits(model), model(SOURCE, TARGET)
    with changed(model, {"cross.0.1": "uniform"}):
        steps, at_once = stepped(model, TARGET.ids), model(SOURCE, TARGET)
    assert_close(steps[TARGET.is_real], at_once[TARGET.is_real], atol=1e-5, rtol=0)
    assert not torch.allclose(usual, at_once, atol=1e-5)
    assert is_as_before(model, before)
