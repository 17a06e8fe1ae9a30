"""The recorder: all attentions, the right rows, no trace left on the model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from regard.attention.attend import Attend
from regard.attention.record import recorded
from regard.config import Model
from regard.data.tokens import Tokens
from regard.models import build
from regard.models.interface import EncoderDecoder

SOURCE, PREVIOUS = Tokens.of([[4, 5, 6, 7], [8, 9], []]), Tokens.of([[1, 4, 5], [1, 6, 7], [1]])


@pytest.fixture
def model() -> EncoderDecoder:
    settings = {"layers": 2, "size": 16, "heads": 4, "inner": 24, "dropout": 0.0}
    return build(Model.model_validate(settings), 13, 13).eval()


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def traces(model: nn.Module) -> list[object]:
    """What a recorder may have left behind."""
    hooks = [hook for module in model.modules() for hook in module._forward_hooks]
    plain = [module for module in model.modules() if isinstance(module, Attend) and module.plain]
    tensors = [value for module in model.modules() for value in vars(module).values() if torch.is_tensor(value)]
    return [*hooks, *plain, *tensors]


def test_n18_all_three_attentions_of_every_layer_and_head(model: EncoderDecoder) -> None:
    with recorded(model) as weights:
        model(SOURCE, PREVIOUS)
    wanted = [("encoder", "attention", (4, 4)), ("decoder", "attention", (3, 3)), ("decoder", "look", (3, 4))]
    shapes = {f"{part}.blocks.{i}.{name}": (3, 4, *shape) for part, name, shape in wanted for i in range(2)}
    assert {name: tuple(one.shape) for name, one in weights.items()} == shapes


def test_n18_rows_sum_to_1_and_forbidden_cells_are_exactly_0(model: EncoderDecoder) -> None:
    with recorded(model) as weights:
        model(SOURCE, PREVIOUS)
    for i in range(2):
        own = weights[f"decoder.blocks.{i}.attention"]
        assert own.triu(1).count_nonzero() == 0
        assert_close(own.sum(-1), torch.ones(3, 4, 3))
        for name in (f"encoder.blocks.{i}.attention", f"decoder.blocks.{i}.look"):
            one = weights[name]
            assert one[1, :, :, 2:].count_nonzero() == 0
            assert (one[1, :, :, :2] > 0).all()
            assert_close(one[:2].sum(-1), torch.ones_like(one[:2, ..., 0]))
            assert one[2].count_nonzero() == 0  # the third source has no token: nothing to look at


def test_e6_filled_while_it_runs_and_nothing_is_kept_on_the_model(model: EncoderDecoder) -> None:
    before = traces(model)
    logits = model(SOURCE, PREVIOUS)
    with recorded(model) as weights:
        assert weights == {}
        seen = model(SOURCE, PREVIOUS)
    assert len(weights) == 6
    assert_close(seen, logits, atol=1e-6, rtol=1e-6)
    assert traces(model) == before == []
    kept = {name: one.clone() for name, one in weights.items()}
    assert torch.equal(model(SOURCE, PREVIOUS), logits)
    model(Tokens.of([[4]]), Tokens.of([[1]]))
    assert all(torch.equal(weights[name], one) for name, one in kept.items())


def test_steps_show_the_rows_of_the_pass_at_once(model: EncoderDecoder) -> None:
    with recorded(model) as weights:
        model(SOURCE, PREVIOUS)
        at_once = dict(weights)
        state = model.decoder.start(model.encode(SOURCE))
        for t in range(3):
            _, state = model.decoder.step(PREVIOUS.ids[:, t], state)
            for i in range(2):
                own, look = (weights[f"decoder.blocks.{i}.{name}"] for name in ("attention", "look"))
                assert_close(own[:2, :, 0], at_once[f"decoder.blocks.{i}.attention"][:2, :, t, : t + 1])
                assert_close(look[:2, :, 0], at_once[f"decoder.blocks.{i}.look"][:2, :, t])


def test_undone_after_an_exception(model: EncoderDecoder) -> None:
    with pytest.raises(ZeroDivisionError), recorded(model):
        raise ZeroDivisionError
    assert traces(model) == []
    with pytest.raises(IndexError), recorded(model):
        model(Tokens.of([[99]]), PREVIOUS)
    assert traces(model) == []


def test_a_recorder_within_a_recorder(model: EncoderDecoder) -> None:
    with recorded(model) as outer:
        with recorded(model.decoder) as inner:
            model(SOURCE, PREVIOUS)
        assert len(inner) == 4
        outer.clear()
        model(SOURCE, PREVIOUS)
        assert len(outer) == 6
    assert traces(model) == []


def test_another_model_is_not_touched(model: EncoderDecoder) -> None:
    settings = {"layers": 1, "size": 8, "heads": 2, "inner": 8, "dropout": 0.0}
    other = build(Model.model_validate(settings), 13, 13).eval()
    with recorded(model) as weights:
        assert traces(other) == []
        other(SOURCE, PREVIOUS)
    assert weights == {}


def test_training_with_dropout_of_weights_is_the_same_too() -> None:
    settings = {"layers": 1, "size": 8, "heads": 2, "inner": 8, "dropout": 0.2, "attention_dropout": 0.3}
    model = build(Model.model_validate(settings), 13, 13).train()
    torch.manual_seed(5)
    logits = model(SOURCE, PREVIOUS)
    torch.manual_seed(5)
    with recorded(model) as weights:
        assert_close(model(SOURCE, PREVIOUS), logits, atol=1e-6, rtol=1e-6)
    assert not any(one.requires_grad for one in weights.values())
    look = weights["decoder.blocks.0.look"]
    assert_close(look[:2].sum(-1), torch.ones_like(look[:2, ..., 0]))
