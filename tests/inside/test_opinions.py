"""Second opinions: against plain loops, finite differences and forced scores; nothing is left on the model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from regard.attention import attend
from regard.config import NAMES
from regard.data.tokens import Tokens
from regard.inside import influence, opinions
from regard.inside.influence import drops, gradient_times_input, occlusion, shares
from regard.inside.opinions import OPINIONS, by_norms, rollout
from regard.inside.record import Answered, record
from regard.inside.result import Attention
from regard.models.interface import Encoder, EncoderDecoder, Memory
from regard.text.tokenizer import EOS, UNK
from regard.translator import Translator
from small import untrained

SETTINGS: dict[str, Any] = {"layers": 2, "size": 8, "heads": 2, "inner": 16}
PAIR = Answered((5, 9, 5, 7), (6, 4, 8))


def model_of(settings: dict[str, Any] | None = None, double: bool = True) -> EncoderDecoder:
    model = untrained({"model": {**SETTINGS, **(settings or {})}}).model
    return model.double() if double else model


def written(model: EncoderDecoder, answered: Answered, source: Tokens | None = None) -> Tensor:
    """The log-probability of what each step wrote [T]."""
    with torch.no_grad():
        values = model(source or answered.sources, answered.previous)[0].log_softmax(-1)
    return values[torch.arange(len(answered.written)), answered.written]


SIDES: list[dict[str, Any]] = [
    {"encoder": one, "decoder": other} for one, other in itertools.product(NAMES["encoder"], NAMES["decoder"])
]
KINDS = itertools.zip_longest(NAMES["score"], NAMES["norm"], NAMES["positions"])
EACH: list[dict[str, Any]] = [
    *SIDES,
    *(
        {"score": score or "dot", "norm": norm or "rms", "positions": positions or "none", "decoder_norm": "layer"}
        for score, norm, positions in KINDS
    ),
    {"decoder": "recurrent", "look": "after"},
    {"decoder": "recurrent", "look": "after", "input_feeding": True, "cell": "lstm"},
]


# Gradients.


def finite_differences(model: EncoderDecoder, answered: Answered, width: float = 1e-5) -> Tensor:
    """How each step changes as a source token's vector grows: the slope by its length, which is gradient x input.

    A row of the batch for each token's vector a little longer, and for each a little shorter.
    """
    places = len(answered.source) + 1
    longer = 1 + width * torch.eye(places, dtype=torch.float64)
    factors = torch.cat((longer, 2 - longer))[..., None]
    handle = model.encoder.get_submodule("embed.table").register_forward_hook(
        lambda _, inputs, output: output * factors
    )
    sources = Tokens(answered.sources.ids.repeat(2 * places, 1), answered.sources.lengths.repeat(2 * places))
    previous = Tokens(answered.previous.ids.repeat(2 * places, 1), answered.previous.lengths.repeat(2 * places))
    with torch.no_grad():
        values = model(sources, previous).log_softmax(-1)
    handle.remove()
    steps = values[:, torch.arange(len(answered.written)), answered.written]
    return ((steps[:places] - steps[places:]) / (2 * width)).T


@pytest.mark.parametrize("settings", EACH, ids=lambda each: "-".join(map(str, each.values())))
def test_gradients_are_finite_differences(settings: dict[str, Any]) -> None:
    model = model_of(settings)
    found = gradient_times_input(model, PAIR)
    assert found is not None
    assert_close(found, shares(finite_differences(model, PAIR).abs()), atol=1e-5, rtol=1e-4)
    assert_close(found.sum(1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("way", ["plain", "fused", "by hand"])
def test_gradients_are_those_of_every_path_of_attention(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    wanted = gradient_times_input(model, PAIR)
    if way == "fused":
        monkeypatch.setattr(attend, "SHORT", 0)
    for module in model.modules():
        if isinstance(module, attend.Attend):
            module.plain = way == "plain"
    assert_close(gradient_times_input(model, PAIR), wanted)


def test_the_size_of_a_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    before = gradient_times_input(model, PAIR), drops(model, PAIR)
    for name, most in (("MOST_TOKENS", 2 * 9), ("MOST_LOGITS", 1)):  # two copies, then one
        monkeypatch.setattr(influence, name, most)
        assert_close((gradient_times_input(model, PAIR), drops(model, PAIR)), before)


def state(model: EncoderDecoder) -> list[object]:
    hooks = [len(module._forward_hooks) for module in model.modules()]
    return [hooks, [module.training for module in model.modules()], [each.grad for each in model.parameters()]]


def test_nothing_is_left_on_the_model() -> None:
    model = model_of()
    before = state(model)
    opinions.opinions(model, PAIR, record(model, PAIR).attentions)
    assert state(model) == before

    def fail(module: nn.Module, inputs: object) -> None:
        raise RuntimeError("stopped")

    handle = model.decoder.register_forward_pre_hook(fail)
    hooked = state(model)
    with pytest.raises(RuntimeError, match="stopped"), influence._vectors(model.encoder, PAIR.sources.ids):
        model(PAIR.sources, PAIR.previous)
    assert state(model) == hooked
    handle.remove()


def test_it_works_where_the_caller_wants_no_gradients() -> None:
    model = model_of()
    wanted = gradient_times_input(model, PAIR)
    with torch.inference_mode():
        assert_close(gradient_times_input(model, PAIR), wanted)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        assert_close(gradient_times_input(model, PAIR), wanted)


class Own(Encoder):
    """Two tables that both read the ids, one that reads places, and one product in place of a table."""

    longest = None

    def __init__(self, tables: int) -> None:
        super().__init__()
        self.size = 8
        self.tables = nn.ModuleList(nn.Embedding(40, 8) for _ in range(tables))
        self.places = nn.Embedding(40, 8)
        self.weight = nn.Parameter(torch.randn(40, 8))

    def forward(self, source: Tokens) -> Memory:
        x = nn.functional.one_hot(source.ids, 40).to(self.weight.dtype) @ self.weight
        x = x * 0.1 + self.places(torch.arange(source.ids.shape[1]))
        return Memory(sum((table(source.ids) for table in self.tables), x), source.lengths)


def test_an_encoder_of_the_users_own() -> None:
    decoder = model_of().decoder
    two = EncoderDecoder(Own(2).double(), decoder).eval()
    found = gradient_times_input(two, PAIR)
    one = EncoderDecoder(Own(1).double(), decoder).eval()
    one.load_state_dict(two.state_dict(), strict=False)
    with torch.no_grad():  # the same states from one table
        one.encoder.get_submodule("tables.0").weight.add_(two.encoder.get_submodule("tables.1").weight)
    assert_close(one.encode(PAIR.sources).states, two.encode(PAIR.sources).states)
    assert_close(gradient_times_input(one, PAIR), found)
    none = EncoderDecoder(Own(0).double(), decoder).eval()
    assert gradient_times_input(none, PAIR) is None
    assert set(opinions.opinions(none, PAIR, record(none, PAIR).attentions)) == {"rollout", "norms", "occlusion"}


# Occlusion.


@pytest.mark.parametrize("settings", SIDES, ids=lambda each: "-".join(map(str, each.values())))
def test_drops_are_what_each_source_loses(settings: dict[str, Any]) -> None:
    model = model_of(settings)
    found = drops(model, PAIR)
    assert found.shape == (4, 5)
    for place in (0, 3, 4):
        source = PAIR.sources
        source.ids[0, place] = UNK
        assert_close(found[:, place], written(model, PAIR) - written(model, PAIR, source))
    assert_close(occlusion(model, PAIR), shares(found.clamp(min=0)), atol=1e-5, rtol=1e-3)


def test_drops_are_differences_of_forced_scores() -> None:
    translator: Translator = untrained({"model": SETTINGS})
    texts, answer = ["fox", "☃ox", "f☃x", "fo☃"], "B A D"
    before, *without = (score.log_probabilities for score in translator.force([(text, answer) for text in texts]))
    ids = translator.tokenizers.source.encode("fox"), translator.tokenizers.target.encode(answer)
    found = drops(translator.model, Answered(tuple(ids[0]), tuple(ids[1])))
    wanted = torch.tensor(before) - torch.tensor(without)
    assert_close(found[:, :3].T, wanted.to(found.dtype), atol=1e-5, rtol=1e-4)


def test_what_is_unknown_anyway_is_never_missed() -> None:
    model = model_of(double=False)
    pair = Answered((UNK, 5, UNK), (6, 4))
    assert drops(model, pair)[:, [0, 2]].abs().max() < influence.ROUNDING
    assert torch.equal(occlusion(model, pair)[:, [0, 2]], torch.zeros(3, 2))


# Rollout and norms.


def attention(part: Any, layer: int, heads: int, queries: int, keys: int) -> Attention:
    scores = torch.randn(heads, queries, keys)
    if part == "decoder":
        scores = scores.masked_fill(~torch.ones(queries, keys).tril().bool(), -torch.inf)
    return Attention(part, layer, scores.softmax(-1), torch.rand(heads, queries, keys))


def walks(encoder: int, decoder: int, cross: int) -> Iterator[tuple[tuple[str, int, bool], ...]]:
    """Each way from the top of a decoder down to embeddings, as (part, layer, does it go through the attention)."""
    layers = [each for layer in range(max(decoder, cross)) for each in (("decoder", layer), ("cross", layer))]
    own = [each for each in layers if each[1] < {"decoder": decoder, "cross": cross}[each[0]]][::-1]
    for choice in itertools.product((False, True), repeat=len(own)):
        walk = [(part, layer, through) for (part, layer), through in zip(own, choice, strict=True)]
        entry = next((place for place, step in enumerate(walk) if step[0] == "cross" and step[2]), None)
        if entry is None or any(step[2] for step in walk[entry + 1 :]):
            continue  # it never gets to the source; what is below the place where it does is counted once
        for below in itertools.product((False, True), repeat=encoder):
            tail = [("encoder", layer, through) for layer, through in zip(reversed(range(encoder)), below, strict=True)]
            yield (*walk[: entry + 1], *tail)


@pytest.mark.parametrize(("encoder", "decoder", "cross"), [(2, 2, 2), (0, 0, 1), (1, 0, 2), (0, 3, 3), (2, 2, 1)])
def test_rollout_is_the_sum_over_all_ways_down(encoder: int, decoder: int, cross: int) -> None:
    steps, source = 3, 2
    attentions = [
        *(attention("encoder", layer, 2, source, source) for layer in range(encoder)),
        *(attention("decoder", layer, 2, steps, steps) for layer in range(decoder)),
        *(attention("cross", layer, 2, steps, source) for layer in range(cross)),
    ]
    means = {(each.part, each.layer): each.weights.double().mean(0).tolist() for each in attentions}
    total = [[0.0] * source for _ in range(steps)]
    for walk in walks(encoder, decoder, cross):
        for step in range(steps):
            standing = {step: 1.0}
            for part, layer, through in walk:
                moved: dict[int, float] = {}
                for place, mass in standing.items():
                    for to, weight in enumerate(means[part, layer][place]) if through else [(place, 1.0)]:
                        moved[to] = moved.get(to, 0.0) + mass * weight / 2
                standing = moved
            for place, mass in standing.items():
                total[step][place] += mass
    found = rollout(attentions)
    assert found is not None
    assert found.dtype == torch.float32
    wanted = [[mass / sum(row) for mass in row] for row in total]
    assert_close(found, torch.tensor(wanted))


def test_rollout_worked_by_hand() -> None:
    encoder = Attention("encoder", 0, torch.tensor([[[0.0, 1.0], [0.5, 0.5]]]))  # E = [[1/2, 1/2], [1/4, 3/4]]
    cross = Attention("cross", 0, torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]]))  # the mean is [3/4, 1/4]
    assert_close(rollout([encoder, cross]), torch.tensor([[0.4375, 0.5625]]))
    assert rollout([encoder]) is None


def test_norms_are_shares_of_lengths_as_loops_have_them() -> None:
    layers = [attention("cross", layer, 3, 2, 4) for layer in range(2)]
    found = by_norms([*layers, attention("encoder", 0, 3, 4, 4)])
    assert found is not None
    for step in range(2):
        rows = []
        for layer in layers:
            assert layer.norms is not None
            added = [sum(layer.norms[head, step, key].item() for head in range(3)) for key in range(4)]
            rows.append([each / sum(added) for each in added])
        assert found[step].tolist() == pytest.approx([sum(pair) / 2 for pair in zip(*rows, strict=True)])
    assert by_norms([Attention("cross", 0, torch.ones(1, 1, 1))]) is None


# Together.


@pytest.mark.parametrize("settings", SIDES[::4], ids=lambda each: "-".join(map(str, each.values())))
def test_every_model_has_every_opinion(settings: dict[str, Any]) -> None:
    model = model_of(settings, double=False)
    seen = record(model, PAIR)
    found = opinions.opinions(model, PAIR, seen.attentions)
    assert list(found) == list(OPINIONS)
    for rows in found.values():
        assert (rows.dtype, rows.shape, bool((rows >= 0).all())) == (torch.float32, (4, 5), True)
        sums = rows.sum(1)
        assert bool(((sums - 1).abs() < 1e-5).logical_or(sums == 0).all())


def test_long_sentences_are_spared_what_runs_the_model_again() -> None:
    model = model_of(double=False)
    seen = record(model, PAIR)
    weights = sum(each.numel() for each in model.parameters())
    assert influence.work(model, PAIR) == (3 * 4 + 5) * 9 * weights
    few = opinions.opinions(model, PAIR, seen.attentions, most_work=influence.work(model, PAIR) - 1)
    assert list(few) == ["rollout", "norms"]
    assert list(opinions.opinions(model, PAIR, seen.attentions, influence.work(model, PAIR))) == list(OPINIONS)


def test_an_answer_of_nothing_and_a_source_of_nothing() -> None:
    model = model_of(double=False)
    nothing = Answered((5, 6), (), ends=False)
    assert opinions.opinions(model, nothing, record(model, nothing).attentions) == {}
    assert gradient_times_input(model, nothing) is None
    assert drops(model, nothing).shape == (0, 3)
    blank = Answered((), (), ends=True)
    assert blank.written == [EOS]
    for rows in opinions.opinions(model, blank, record(model, blank).attentions).values():
        assert rows.tolist() in ([[1.0]], [[0.0]])
