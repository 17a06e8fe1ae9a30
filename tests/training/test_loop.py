"""One step, the schedule, the loss, the journal, the optimiser's state."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from regard.config import Model, Training
from regard.data.tokens import Batch, Tokens
from regard.errors import ModelFolderError
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.training.journal import Journal
from regard.training.loss import cross_entropy
from regard.training.optimiser import (
    OPTIMISERS,
    hidden_matrices,
    optimiser_tensors,
    restore_optimiser,
    state_bytes,
)
from regard.training.schedule import SCHEDULES, rate_factor
from regard.training.step import Stepper

MODEL = Model(layers=1, size=8, heads=2, inner=16, dropout=0.0)


def training(**changes: object) -> Training:
    settings = {"steps": 10, "learning_rate": 1e-3, "warmup": 2, "checkpoint_every": 5, "metric": "loss"}
    return Training.model_validate({**settings, **changes})


def model() -> EncoderDecoder:
    torch.manual_seed(0)
    return build(MODEL, 12, 12)


def batch(*lengths: int) -> Batch:
    ids = [[4 + (row + place) % 8 for place in range(length)] for row, length in enumerate(lengths)]
    return Batch(Tokens.of(ids), Tokens.of([[1, *row, 2] for row in ids]))


def gradients_of(batches: list[Batch]) -> dict[str, torch.Tensor]:
    net, settings = model(), training(clip=None)
    Stepper(net, settings).step(batches, 0, rate=1e-3)
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def test_accumulated_gradients_equal_one_large_batch() -> None:
    large = gradients_of([batch(3, 5, 2, 7)])
    whole = batch(3, 5, 2, 7)
    parts = [
        Batch(Tokens(side.ids[:2], side.lengths[:2]), Tokens(other.ids[:2], other.lengths[:2]))
        for side, other in [(whole.source, whole.target)]
    ] + [
        Batch(Tokens(side.ids[2:], side.lengths[2:]), Tokens(other.ids[2:], other.lengths[2:]))
        for side, other in [(whole.source, whole.target)]
    ]
    small = gradients_of(parts)
    assert large.keys() == small.keys()
    for name in large:
        torch.testing.assert_close(large[name], small[name], atol=1e-6, rtol=1e-4)


def test_every_parameter_gets_a_gradient() -> None:
    assert gradients_of([batch(3, 4)]).keys() == dict(model().named_parameters()).keys()


def test_cross_entropy_equals_torch_on_the_real_positions_alone() -> None:
    torch.manual_seed(0)
    logits, gold = torch.randn(2, 3, 5), torch.tensor([[1, 2, 0], [3, 0, 0]])
    is_real = torch.tensor([[True, True, False], [True, False, False]])
    expected = functional.cross_entropy(logits[is_real], gold[is_real], reduction="sum")
    torch.testing.assert_close(cross_entropy(logits, gold, is_real), expected)
    log_p = logits[is_real].log_softmax(-1)
    smooth = 0.9 * expected - 0.1 * log_p.mean(-1).sum()  # by hand: 0.1 of the probability spread over 5 symbols
    torch.testing.assert_close(cross_entropy(logits, gold, is_real, 0.1), smooth)


def test_padding_changes_no_loss() -> None:
    net, one = model().eval(), batch(3)
    wide = Batch(
        Tokens(functional.pad(one.source.ids, (0, 4), value=7), one.source.lengths),
        Tokens(functional.pad(one.target.ids, (0, 4), value=7), one.target.lengths),
    )
    losses = [cross_entropy(net(b.source, b.previous), b.gold.ids, b.gold.is_real) for b in (one, wide)]
    torch.testing.assert_close(losses[0], losses[1])


def test_nothing_moves_when_the_loss_is_no_number() -> None:
    net = model()
    stepper = Stepper(net, training())
    with torch.no_grad():
        net.decoder.output.weight[0, 0] = float("nan")
    before = {name: p.clone() for name, p in net.named_parameters()}
    outcome = stepper.step([batch(3)], 0, rate=1e-3)
    assert not outcome.applied
    assert math.isnan(outcome.loss)
    for name, p in net.named_parameters():
        assert torch.equal(p.nan_to_num(7.0), before[name].nan_to_num(7.0))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_rise_to_one_and_never_pass_it(name: str) -> None:
    warmup = 0.25
    rising = [rate_factor(name, done, warmup) for done in (0.05, 0.1, 0.2)]
    assert rising == pytest.approx([0.2, 0.4, 0.8])
    assert rate_factor(name, warmup, warmup) == pytest.approx(1.0)
    later = [rate_factor(name, warmup + step / 100, warmup) for step in range(75)]
    assert all(0.0 <= new <= old <= 1.0 + 1e-9 for old, new in pairwise(later))


def test_schedules_by_their_formulas() -> None:
    assert rate_factor("linear", 0.625, 0.25) == pytest.approx(0.5)
    assert rate_factor("cosine", 0.625, 0.25) == pytest.approx(0.5)
    assert rate_factor("inverse_sqrt", 1.0, 0.25) == pytest.approx(0.5)
    assert rate_factor("constant", 0.9, 0.25) == 1.0
    assert rate_factor("linear", 1.0, 0.25) == rate_factor("cosine", 1.0, 0.25) == 0.0


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_goes_on_where_it_stopped(name: str) -> None:
    settings = training(optimiser=name)

    def two_steps(stop_between: bool) -> dict[str, torch.Tensor]:
        net = model()
        stepper = Stepper(net, settings)
        stepper.step([batch(3, 4)], 0, rate=1e-3)
        if stop_between:
            kept = {key: value.clone() for key, value in stepper.tensors().items()}
            stepper = Stepper(net, settings)
            stepper.restore(kept, scale={})
        stepper.step([batch(2, 5)], 1, rate=1e-3)
        return net.state_dict()

    whole, parts = two_steps(False), two_steps(True)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_state_of_another_model_is_refused() -> None:
    net, settings = model(), training()
    with pytest.raises(ModelFolderError, match="does not belong"):
        restore_optimiser(OPTIMISERS["adam"](net, settings), net, {"nowhere.exp_avg": torch.zeros(3)})


def test_adamw_decays_matrices_alone() -> None:
    groups = OPTIMISERS["adamw"](model(), training(weight_decay=0.5)).param_groups
    assert {(group["weight_decay"], parameter.dim() > 1) for group in groups for parameter in group["params"]} == {
        (0.5, True),
        (0.0, False),
    }


@pytest.mark.parametrize("share", ["output", "none"])
def test_muon_turns_hidden_matrices_and_leaves_the_rest_to_adamw(share: str) -> None:
    net = build(MODEL.model_copy(update={"share_embeddings": share}), 12, 12)
    settings = training(optimiser="muon", weight_decay=0.0)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    hidden = {names[id(parameter)] for parameter in hidden_matrices(net)}
    matrices = {name for name, parameter in net.named_parameters() if parameter.dim() == 2}
    assert matrices - hidden == {name for name in matrices if "embed" in name or name == "decoder.output.weight"}
    optimiser = OPTIMISERS["muon"](net, settings)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimiser.step()
    for name, parameter in net.named_parameters():
        moved = before[name] - parameter.detach()
        if name in hidden:  # all directions at once, none longer than the others by much: Jordan et al. 2024
            lengths = torch.linalg.svdvals(moved) / (0.2 * max(moved.shape) ** 0.5 * settings.learning_rate)
            assert 0.5 < float(lengths.min()) <= float(lengths.max()) < 1.5, name
        else:  # the first step of Adam is as long as the learning rate, everywhere
            assert torch.allclose(moved.abs(), torch.full_like(moved, settings.learning_rate), rtol=1e-4), name


def test_the_journal_rewinds_and_passes_over_half_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in (10, 20, 30):
        journal.write({"event": "step", "step": step, "loss": 1 / 3})
    with open(journal.path, "a", encoding="utf-8") as file:
        file.write('{"event": "step", "st')
    journal.rewind(20)
    assert [event["step"] for event in journal.read()] == [10, 20]
    assert journal.read()[0]["loss"] == 1 / 3
    with pytest.raises(ValueError, match="JSON compliant"):
        journal.write({"event": "step", "loss": math.nan})


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_bytes_of_an_optimiser_are_counted(name: str) -> None:
    net, settings = model(), training(optimiser=name)
    optimiser = OPTIMISERS[name](net, settings)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    kept = optimiser_tensors(optimiser, net)
    assert state_bytes(net, name) == sum(tensor.nbytes for key, tensor in kept.items() if not key.endswith(".step"))
