"""What holds for every encoder with every decoder and every option of the tables (contracts 1, 4 and 6 of the design).

The tables are looped over: what is listed there is tested here. Numbers are compared in float64: close means equal.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from regard.attention.record import recorded
from regard.attention.relative import RELATIVE
from regard.attention.scores import SCORES
from regard.config import NAMES, Model
from regard.data.tokens import Tokens
from regard.layers.convolution import CONVOLUTIONS
from regard.layers.feed_forward import ACTIVATIONS
from regard.layers.norms import NORMS, make_norm
from regard.layers.positions import POSITIONS
from regard.layers.recurrent import CELLS
from regard.models import DECODERS, ENCODERS, build
from regard.models.interface import EncoderDecoder, State

VOCABULARY = 13
BASE = {"layers": 2, "size": 16, "heads": 4, "inner": 24, "dropout": 0.0, "longest": 12, "norm_first": False}
SOURCE = [[4, 5, 6, 7, 8], [9, 10, 11], [12]]
TARGET = [[1, 4, 5, 6], [1, 7], [1, 8, 9, 10, 11, 12]]


def variants(encoder: str, decoder: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Every entry of every table that the architectures read, once, the other options as they are in BASE."""
    yield "base", {}
    if encoder != decoder:
        yield "pre-norm-batch", {"norm_first": True, "norm": "batch", "decoder_norm": "rms", "score": "additive"}
        yield "sizes", {"layers": 1, "decoder_layers": 2, "positions": "learned", "decoder_positions": "none"}
        return
    relative = RELATIVE if encoder == "transformer" else ()
    yield from ((f"score={name}", {"score": name}) for name in SCORES)
    yield from ((f"norm={name}", {"norm": name, "decoder_norm": _causal(name)}) for name in NORMS)
    yield from ((f"positions={name}", {"positions": name}) for name in [*POSITIONS, *relative])
    yield from ((f"share={name}", {"share_embeddings": name}) for name in ("none", "output", "all"))
    yield "pre-norm", {"norm_first": True}
    yield "pre-norm-switchable", {"norm_first": True, "norm": "switchable", "decoder_norm": "group"}
    yield "no-bias", {"bias": False}
    yield "decoder-layers", {"decoder_layers": 1}
    yield "all-dropouts", {"dropout": 0.1, "attention_dropout": 0.1, "inner_dropout": 0.1}
    yield from OWN[encoder]()


def _causal(norm: str) -> str:
    return "layer" if make_norm(norm, 16).why_not_causal else norm


def transformers() -> Iterator[tuple[str, dict[str, object]]]:
    """What only the Transformer reads."""
    for name in ACTIVATIONS:
        yield from ((f"{name}{'-gated' * gated}", {"activation": name, "gated": gated}) for gated in (False, True))


def recurrents() -> Iterator[tuple[str, dict[str, object]]]:
    """What only the recurrent models read."""
    for cell in CELLS:
        yield f"{cell}-luong", {"cell": cell, "look": "after"}
        yield f"{cell}-feeding", {"cell": cell, "look": "after", "input_feeding": True}
        yield f"{cell}-one-way", {"cell": cell, "bidirectional": False}
        yield f"{cell}-classical", {"cell": cell, "layers": 1, "norm": "none", "positions": "none", "heads": 1}


def convolutionals() -> Iterator[tuple[str, dict[str, object]]]:
    """What only the convolutional models read."""
    for name in CONVOLUTIONS:
        yield f"convolution={name}", {"convolution": name, "layers": 3}
        yield f"{name}-5", {"convolution": name, "kernel": 5, "norm": "none"}
    yield "kernel=1", {"kernel": 1}


OWN = {"transformer": transformers, "recurrent": recurrents, "convolutional": convolutionals}
ALL = {
    f"{encoder}-{decoder}-{name}": {**BASE, "encoder": encoder, "decoder": decoder, **options}
    for encoder in ENCODERS
    for decoder in DECODERS
    for name, options in variants(encoder, decoder)
}
every_model = pytest.mark.parametrize("settings", ALL.values(), ids=ALL.keys())
base_models = pytest.mark.parametrize("settings", [ALL[key] for key in ALL if key.endswith("base")])


def make(settings: Mapping[str, object], dtype: torch.dtype = torch.float64) -> EncoderDecoder:
    """A model in evaluation whose biases and scales are not at their special first values."""
    model = build(Model.model_validate(settings), VOCABULARY, VOCABULARY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.to(dtype).eval()


def padded(tokens: Tokens, more: int) -> Tokens:
    """With `more` columns of padding, all padding being ids of any value."""
    ids = torch.cat((tokens.ids, torch.zeros(len(tokens.ids), more, dtype=torch.int64)), dim=1)
    noise = torch.randint(0, VOCABULARY, ids.shape)
    return Tokens(torch.where(Tokens(ids, tokens.lengths).is_real, ids, noise), tokens.lengths)


def run_steps(model: EncoderDecoder, state: State, ids: Tensor) -> tuple[Tensor, State]:
    """Logits [B, T, V] of one step after another."""
    logits = []
    for last in ids.unbind(1):
        one, state = model.decoder.step(last, state)
        logits.append(one)
    return torch.stack(logits, dim=1), state


def greedy(model: EncoderDecoder, source: Tokens, steps: int) -> tuple[Tensor, Tensor]:
    """Ids [B, steps] chosen one at a time from bos on, and the logits they were chosen by."""
    state, last = model.decoder.start(model.encode(source)), torch.ones(len(source.ids), dtype=torch.int64)
    ids, logits = [], []
    for _ in range(steps):
        one, state = model.decoder.step(last, state)
        last = one.argmax(-1)
        ids.append(last)
        logits.append(one)
    return torch.stack(ids, 1), torch.stack(logits, 1)


@pytest.mark.parametrize(("setting", "table"), [("encoder", ENCODERS), ("decoder", DECODERS)])
def test_the_table_and_the_setting_name_the_same_architectures(setting: str, table: Mapping[str, object]) -> None:
    assert sorted(table) == sorted(NAMES[setting])


@every_model
@torch.no_grad()
def test_n15_step_by_step_is_all_at_once(settings: Mapping[str, object]) -> None:
    model, source, previous = make(settings), Tokens.of(SOURCE), Tokens.of(TARGET)
    stepped, _ = run_steps(model, model.decoder.start(model.encode(source)), previous.ids)
    at_once = model(source, previous)
    assert at_once.shape == (3, 6, VOCABULARY)
    assert_close(stepped[previous.is_real], at_once[previous.is_real], atol=1e-10, rtol=0)


@pytest.mark.usefixtures("unchecked")
@every_model
@torch.no_grad()
def test_alone_is_in_any_batch_with_any_padding(settings: Mapping[str, object]) -> None:
    model = make(settings)
    alone = [model(Tokens.of([source]), Tokens.of([target]))[0] for source, target in zip(SOURCE, TARGET, strict=True)]
    states = [model.encode(Tokens.of([source])).states[0] for source in SOURCE]
    for more, order in [(0, [0, 1, 2]), (3, [2, 0, 1]), (1, [1, 1, 0, 2])]:
        source = padded(Tokens.of([SOURCE[i] for i in order]), more)
        previous = padded(Tokens.of([TARGET[i] for i in order]), more)
        memory, logits = model.encode(source), model(source, previous)
        stepped, _ = run_steps(model, model.decoder.start(memory), previous.ids)
        for row, i in enumerate(order):
            assert_close(logits[row, : len(TARGET[i])], alone[i], atol=1e-10, rtol=0)
            assert_close(stepped[row, : len(TARGET[i])], alone[i], atol=1e-10, rtol=0)
            assert_close(memory.states[row, : len(SOURCE[i])], states[i], atol=1e-10, rtol=0)


@pytest.mark.usefixtures("unchecked")
@every_model
@torch.no_grad()
def test_n14_a_later_target_id_changes_no_earlier_logit(settings: Mapping[str, object]) -> None:
    model, source = make(settings), Tokens.of([SOURCE[0]])
    ids = torch.tensor([[1, 4, 5, 6, 7, 8]])
    lengths = torch.tensor([6])
    logits = model(source, Tokens(ids, lengths))
    for t in range(1, 6):
        changed = ids.clone()
        changed[:, t:] = torch.randint(4, VOCABULARY, (1, 6 - t))
        changed[:, t] = (ids[:, t] - 4 + 1) % (VOCABULARY - 4) + 4
        other = model(source, Tokens(changed, lengths))
        assert_close(other[:, :t], logits[:, :t], atol=1e-12, rtol=0)
        assert not torch.allclose(other[:, t], logits[:, t])


@every_model
def test_every_parameter_gets_a_gradient(settings: Mapping[str, object]) -> None:
    model, previous = make(settings).train(), Tokens.of(TARGET)
    (model(Tokens.of(SOURCE), previous)[previous.is_real].log_softmax(-1)[:, 4:7]).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias of the keys adds the same to all scores of a query: the softmax does not see it.
        assert parameter.grad.count_nonzero() > 0 or name.endswith("key.bias"), name


@pytest.mark.usefixtures("unchecked")
@every_model
def test_every_option_learns(settings: Mapping[str, object]) -> None:
    model = build(Model.model_validate(settings), VOCABULARY, VOCABULARY).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    source, previous, losses = Tokens.of(SOURCE), Tokens.of(TARGET), []
    gold = torch.randint(4, VOCABULARY, previous.ids.shape)[previous.is_real]
    for _ in range(10):
        loss = functional.cross_entropy(model(source, previous)[previous.is_real], gold)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@every_model
@torch.no_grad()
def test_selected_rows_go_on_as_if_they_had_always_been_there(settings: Mapping[str, object]) -> None:
    model, ids, rows = make(settings), torch.randint(4, VOCABULARY, (3, 3)), torch.tensor([2, 0, 0, 1, 2])
    next_ids = torch.randint(4, VOCABULARY, (5, 2))
    _, state = run_steps(model, model.decoder.start(model.encode(Tokens.of(SOURCE))), ids)
    chosen, _ = run_steps(model, state.select(rows), next_ids)
    source = Tokens.of([SOURCE[row] for row in rows])
    always, _ = run_steps(model, model.decoder.start(model.encode(source)), torch.cat((ids[rows], next_ids), dim=1))
    assert_close(chosen, always[:, 3:], atol=1e-10, rtol=0)


@base_models
@torch.no_grad()
def test_rows_may_be_selected_before_the_first_step_and_down_to_none(settings: Mapping[str, object]) -> None:
    model = make(settings)
    start = model.decoder.start(model.encode(Tokens.of(SOURCE)))
    assert isinstance(start, State)
    last = torch.tensor([1, 1])
    alone, _ = model.decoder.step(last[:1], model.decoder.start(model.encode(Tokens.of(SOURCE[1:2]))))
    chosen, state = model.decoder.step(last, start.select(torch.tensor([1, 1])))
    assert_close(chosen, alone.expand(2, -1), atol=1e-10, rtol=0)
    none, _ = model.decoder.step(last[:0], state.select(torch.tensor([], dtype=torch.int64)))
    assert none.shape == (0, VOCABULARY)


@every_model
@torch.no_grad()
def test_n18_recorder_on_is_recorder_off(settings: Mapping[str, object]) -> None:
    model, source, previous = make(settings, torch.float32), Tokens.of(SOURCE), Tokens.of(TARGET)
    logits, (ids, by) = model(source, previous), greedy(model, source, 8)
    with recorded(model) as weights:
        seen = model(source, previous)
        kept = dict(weights)
        seen_ids, seen_by = greedy(model, source, 8)
    assert torch.equal(seen_ids, ids)
    assert_close(seen, logits, atol=1e-6, rtol=1e-6)
    assert_close(seen_by, by, atol=1e-6, rtol=1e-6)
    assert torch.equal(model(source, previous), logits)
    for name, one in kept.items():
        assert_close(one.sum(-1), torch.ones_like(one[..., 0]), msg=name)
        assert (one >= 0).all()


@every_model
@torch.no_grad()
def test_e3_a_second_sentence_does_not_continue_the_first(settings: Mapping[str, object]) -> None:
    model, second = make(settings), Tokens.of([[10, 11, 12]])
    fresh = greedy(model, second, 5)
    greedy(model, Tokens.of([[4, 5, 6, 7]]), 7)
    again = greedy(model, second, 5)
    assert torch.equal(again[0], fresh[0])
    assert torch.equal(again[1], fresh[1])


@every_model
@torch.no_grad()
def test_e3_a_step_leaves_the_state_it_got_alone(settings: Mapping[str, object]) -> None:
    model = make(settings)
    _, state = run_steps(model, model.decoder.start(model.encode(Tokens.of(SOURCE))), torch.tensor([[1, 4]] * 3))
    once, _ = run_steps(model, state, torch.tensor([[5, 6]] * 3))
    run_steps(model, state, torch.tensor([[7, 8, 9]] * 3))
    state.select(torch.tensor([1]))
    again, _ = run_steps(model, state, torch.tensor([[5, 6]] * 3))
    assert torch.equal(once, again)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@every_model
def test_e3_e6_nothing_is_set_on_any_module(
    settings: Mapping[str, object], training: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make(settings).train(training)
    before = {name: {key: id(value) for key, value in vars(module).items()} for name, module in model.named_modules()}
    buffers = {name: value.clone() for name, value in model.state_dict().items()}

    def refuse(module: nn.Module, name: str, value: object) -> None:
        raise AssertionError(f"{type(module).__name__}.{name} was set")

    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "__setattr__", refuse)
        model(Tokens.of(SOURCE), Tokens.of(TARGET))
        run_steps(model, model.decoder.start(model.encode(Tokens.of(SOURCE))), torch.tensor([[1, 4]] * 3))
    after = {name: {key: id(value) for key, value in vars(module).items()} for name, module in model.named_modules()}
    assert after == before
    for name, value in model.state_dict().items():  # batch norm learns from what it sees in training, and only there
        learns = training and name.endswith(("running_mean", "running_var"))
        assert torch.equal(value, buffers[name]) != learns, name
    assert capsys.readouterr() == ("", "")  # fault E7: nothing is printed either


@every_model
@torch.no_grad()
def test_n21_evaluation_is_deterministic(settings: Mapping[str, object]) -> None:
    model = make({**settings, "dropout": 0.3})
    first, second = (model(Tokens.of(SOURCE), Tokens.of(TARGET)) for _ in range(2))
    assert torch.equal(first, second)
    model.train()
    first, second = (model(Tokens.of(SOURCE), Tokens.of(TARGET)) for _ in range(2))
    assert not torch.allclose(first, second)


@base_models
@pytest.mark.parametrize("rate", ["dropout", "attention_dropout", "inner_dropout"])
@torch.no_grad()
def test_n21_each_dropout_acts_in_training_alone(settings: Mapping[str, object], rate: str) -> None:
    model, plain = make({**settings, rate: 0.5}), make(settings)
    plain.load_state_dict(model.state_dict())
    exact = plain(Tokens.of(SOURCE), Tokens.of(TARGET))
    assert torch.equal(model(Tokens.of(SOURCE), Tokens.of(TARGET)), exact)
    assert not torch.allclose(model.train()(Tokens.of(SOURCE), Tokens.of(TARGET)), exact)


@every_model
@torch.no_grad()
def test_a_source_without_tokens_is_read_like_any_other(settings: Mapping[str, object]) -> None:
    model = make(settings)
    alone = model(Tokens.of([[]]), Tokens.of([[1, 4]]))
    beside = model(Tokens.of([[4, 5], []]), Tokens.of([[1, 7, 8], [1, 4]]))
    assert alone.isfinite().all()
    assert_close(beside[1:, :2], alone, atol=1e-10, rtol=0)


@every_model
def test_same_seed_same_weights(settings: Mapping[str, object]) -> None:
    def draw(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return build(Model.model_validate(settings), VOCABULARY, VOCABULARY).state_dict()

    first, again, other = draw(3), draw(3), draw(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.usefixtures("unchecked")
@base_models
@torch.no_grad()
def test_any_batch_of_many(settings: Mapping[str, object]) -> None:
    model, generator = make(settings), random.Random(0)

    def draw(least: int) -> list[int]:
        return [generator.randrange(4, VOCABULARY) for _ in range(generator.randrange(least, 9))]

    sources, targets = [draw(0) for _ in range(20)], [[1, *draw(0)] for _ in range(20)]
    logits = model(padded(Tokens.of(sources), 2), padded(Tokens.of(targets), 2))
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        alone = model(Tokens.of([source]), Tokens.of([target]))[0]
        assert_close(logits[row, : len(target)], alone, atol=1e-10, rtol=0)
