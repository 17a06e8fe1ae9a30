"""One step: in pieces as in one, recomputed as kept, in other precisions, averaged, and when there is no number."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.config import Model, Training
from regard.data.tokens import Batch, Tokens
from regard.errors import RecipeError, TrainingError
from regard.models import build
from regard.models.interface import EncoderDecoder
from regard.training.recompute import recompute_blocks
from regard.training.step import AVERAGED, Outcome, Stepper, pieces_of
from regard.training.world import World

SETTINGS = {"steps": 10, "learning_rate": 1e-3, "warmup": 2, "checkpoint_every": 5, "metric": "loss"}
Gradients = dict[str, torch.Tensor]


def training(**changes: object) -> Training:
    return Training.model_validate({**SETTINGS, **changes})


def model(architecture: str = "transformer", drop: float = 0.3) -> EncoderDecoder:
    torch.manual_seed(0)
    shape = Model(
        architecture=architecture, layers=2, size=8, heads=2, inner=16, dropout=drop, attention_dropout=drop,
        positions="none" if architecture == "recurrent" else "sinusoidal",
    )  # fmt: skip
    return build(shape, 12, 12).double()


def batch(*lengths: int) -> Batch:
    ids = [[4 + (row + place) % 8 for place in range(length)] for row, length in enumerate(lengths)]
    return Batch(Tokens.of(ids), Tokens.of([[1, *row, 2] for row in ids]))


BATCH = batch(3, 5, 2, 7, 4, 1, 6)


def stepped(net: EncoderDecoder, fits: Callable[[Batch], bool] = lambda batch: True) -> tuple[Gradients, Outcome]:
    stepper = Stepper(net, training(clip=None), fits=fits)
    outcome = stepper.step([BATCH], 3, rate=1e-3)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}, outcome


def assert_close(ours: Gradients, theirs: Gradients) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("architecture", ["transformer", "recurrent", "convolutional"])
@pytest.mark.parametrize("most", [1, 3])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole_dropout_included(architecture: str, most: int) -> None:
    whole, one = stepped(model(architecture))
    parts, two = stepped(model(architecture), lambda piece: len(piece.source.ids) <= most)
    assert_close(parts, whole)
    assert two.loss == pytest.approx(one.loss, rel=1e-12)


class Narrow(torch.nn.Module):
    """A loss whose memory ends at so many rows."""

    def __init__(self, inner: torch.nn.Module, rows: int) -> None:
        super().__init__()
        self.inner, self.rows = inner, rows

    def forward(self, batch: Batch, smoothing: float) -> torch.Tensor:
        loss: torch.Tensor = self.inner(batch, smoothing)
        if len(batch.source.ids) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss


def _end_of_memory(gradient: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate")


@given(rows=st.integers(1, 30), size=st.integers(1, 5), most=st.integers(0, 12), limit=st.integers(1, 40))
def test_processes_make_as_many_pieces_each_and_lose_no_row(rows: int, size: int, most: int, limit: int) -> None:
    """They may meet in every pass: one that made fewer would leave the others waiting."""
    whole = batch(*(1 + row % 3 for row in range(rows)))
    worlds = [World(rank, size) for rank in range(size)]
    found = [pieces_of(whole, world, lambda piece: len(piece.source.ids) <= most, limit) for world in worlds]
    assert len({len(pieces) for pieces, _ in found}) == 1
    seen = [row for pieces, left in found for span in (*pieces, left) for row in range(span.start, span.stop)]
    assert seen == list(range(rows))
    if most:
        assert all(piece.stop - piece.start <= min(most, limit) for pieces, _ in found for piece in pieces)
    else:
        assert all(piece.start == piece.stop for pieces, _ in found for piece in pieces)
    if size == 1:
        assert all(piece.stop > piece.start for pieces, _ in found for piece in pieces)


def test_where_memory_runs_out_the_step_is_done_again_in_pieces() -> None:
    whole, _ = stepped(model())
    net = model()
    stepper = Stepper(net, training(clip=None))
    stepper.loss = Narrow(stepper.loss, rows=2)
    outcome = stepper.step([BATCH], 3, rate=1e-3)
    assert_close({name: p.grad for name, p in net.named_parameters() if p.grad is not None}, whole)
    assert (outcome.applied, outcome.left_out) == (True, 0)


def test_what_does_not_fit_even_alone_is_left_out_and_counted() -> None:
    long, rest = batch(2, 9), batch(2)
    want, net = model(drop=0.0), model(drop=0.0)
    Stepper(want, training(clip=None)).step([rest], 0, rate=0.0)
    stepper = Stepper(net, training(clip=None), fits=lambda piece: int(piece.source.lengths.max()) < 9)
    outcome = stepper.step([rest, long.rows(slice(1, 2))], 0, rate=0.0)
    assert (outcome.left_out, outcome.applied) == (1, True)
    share = rest.real_targets / (rest.real_targets + 10)
    for (_, ours), (_, theirs) in zip(net.named_parameters(), want.named_parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad * share)


def test_memory_that_ends_in_the_backward_pass_leaves_nothing_behind() -> None:
    net = model()
    stepper = Stepper(net, training(clip=None))
    plain, calls = stepper.loss, []

    class Once(torch.nn.Module):
        def forward(self, batch: Batch, smoothing: float) -> torch.Tensor:
            loss: torch.Tensor = plain(batch, smoothing)
            calls.append(len(batch.source.ids))
            if len(calls) == 1:
                loss.register_hook(_end_of_memory)
            return loss

    stepper.loss = Once()
    stepper.step([BATCH], 3, rate=1e-3)
    assert calls == [7, 3, 3, 1]
    whole, _ = stepped(model())
    assert_close({name: p.grad for name, p in net.named_parameters() if p.grad is not None}, whole)


@pytest.mark.parametrize("architecture", ["transformer", "convolutional"])
def test_recomputed_blocks_have_equal_gradients(architecture: str) -> None:
    kept, _ = stepped(model(architecture))
    net = model(architecture)
    recompute_blocks(net)
    again, _ = stepped(net)
    for name in kept:
        assert torch.equal(kept[name], again[name])


def test_a_model_without_blocks_cannot_be_recomputed() -> None:
    with pytest.raises(RecipeError, match="no blocks"):
        recompute_blocks(model("recurrent"))


def test_the_moving_average_is_that_of_the_formula() -> None:
    net = model()
    stepper = Stepper(net, training(ema=0.75))
    expected = {name: p.detach().clone() for name, p in net.named_parameters(remove_duplicate=False)}
    for number in range(3):
        stepper.step([BATCH], number, rate=0.01)
        for name, p in net.named_parameters(remove_duplicate=False):
            expected[name] = 0.75 * expected[name] + 0.25 * p.detach()
    for name, average in stepper.averages.items():
        torch.testing.assert_close(average, expected[name])
    judged = stepper.judged()
    assert all(torch.equal(p, stepper.averages[name]) for name, p in judged.named_parameters())
    other = Stepper(model(), training(ema=0.75))
    other.restore(stepper.tensors(), scale={})
    assert other.averages.keys() == {name.removesuffix(AVERAGED) for name in stepper.tensors() if AVERAGED in name}
    assert all(torch.equal(other.averages[name], average) for name, average in stepper.averages.items())


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_other_precisions_come_near(precision: torch.dtype) -> None:
    net, wide = model(drop=0.0).float(), model(drop=0.0).float()
    one = Stepper(net, training(), precision=precision).step([BATCH], 0, rate=1e-3)
    two = Stepper(wide, training()).step([BATCH], 0, rate=1e-3)
    assert one.applied
    assert one.loss == pytest.approx(two.loss, rel=0.02)
    assert one.loss != two.loss
    assert one.gradient == pytest.approx(two.gradient, rel=0.1)
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_an_overflow_of_float16_lowers_the_scale_and_moves_nothing() -> None:
    net = model(drop=0.0).float()
    stepper = Stepper(net, training(), precision=torch.float16)
    stepper.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    before = {name: p.clone() for name, p in net.named_parameters()}
    outcome = stepper.step([BATCH], 0, rate=1e-3)
    assert (outcome.applied, outcome.overflow) == (False, True)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert stepper.scale()["scale"] == 2.0**59
    again = Stepper(net, training(), precision=torch.float16)
    again.restore(stepper.tensors(), stepper.scale())
    assert again.scale() == stepper.scale()


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_a_step_without_a_number_is_not_applied(spoil: float) -> None:
    net = model()
    stepper = Stepper(net, training())
    stepper.step([BATCH], 0, rate=1e-3)
    with torch.no_grad():
        net.decoder.output.weight[5, 0] = spoil
    before = {name: tensor.clone() for name, tensor in stepper.tensors().items()}
    outcome = stepper.step([BATCH], 1, rate=1e-3)
    assert not outcome.applied
    assert not outcome.overflow
    assert all(torch.equal(tensor, before[name]) for name, tensor in stepper.tensors().items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the compiler itself
def test_a_compiled_step_is_the_step() -> None:
    plain, compiled = model(drop=0.0).float(), model(drop=0.0).float()
    one = Stepper(plain, training()).step([BATCH], 0, rate=1e-3)
    two = Stepper(compiled, training(compile=True)).step([BATCH], 0, rate=1e-3)
    assert two.loss == pytest.approx(one.loss, rel=1e-5)
    assert two.gradient == pytest.approx(one.gradient, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the compiler itself
def test_what_cannot_be_compiled_says_which_setting_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/no/such/compiler",))
    with pytest.raises(TrainingError, match="could not be compiled") as caught:
        Stepper(model(), training(compile=True)).step([BATCH], 0, rate=1e-3)
    assert "training.compile=false" in caught.value.fix
