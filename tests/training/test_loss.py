"""The loss from states, some rows of logits at a time, equals the loss from all logits; values and gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import init_process_group
from torch.nn import functional

from regard.config import Model
from regard.data.tokens import Batch, Tokens
from regard.models import DECODERS, build
from regard.models.interface import Decoder, EncoderDecoder, Memory, ReadoutDecoder, State
from regard.training import loss as module
from regard.training.loss import Loss, cross_entropy, readout_cross_entropy

N, D, V = 11, 6, 9


def numbers(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """States, weights, gold ids; the states are large enough for a softmax to be far from even."""
    states = (3 * torch.randn(N, D, dtype=dtype)).requires_grad_()
    weight = torch.randn(V, D, dtype=dtype).requires_grad_()
    return states, weight, torch.randint(V, (N,))


def plain(states: Tensor, weight: Tensor, gold: Tensor, smoothing: float) -> Tensor:
    return functional.cross_entropy(states @ weight.T, gold, reduction="sum", label_smoothing=smoothing)


@pytest.fixture(params=[1, 4, 100])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "FEWEST_ROWS", request.param)
    monkeypatch.setattr(module, "MOST_AT_ONCE", {"cpu": 0})
    return int(request.param)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_it_is_torchs_cross_entropy_of_the_logits(rows: int, smoothing: float) -> None:
    states, weight, gold = numbers()
    found, expected = (f(states, weight, gold, smoothing) for f in (readout_cross_entropy, plain))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(expected * 0.7, (states, weight))
    for one, other in zip(torch.autograd.grad(found * 0.7, (states, weight)), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_gradient_is_the_slope(rows: int) -> None:
    states, weight, gold = numbers()
    assert torch.autograd.gradcheck(lambda x, w: readout_cross_entropy(x, w, gold, 0.1), (states, weight))


@pytest.mark.parametrize("far", [1.0, 1e3])
def test_sure_and_wrong_by_far_is_still_a_number(far: float) -> None:
    """The probability of gold is 0 in float32; its logarithm is not minus infinity."""
    states = torch.tensor([[far, 0.0], [0.0, far]])
    weight, gold = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), torch.tensor([1, 1])
    torch.testing.assert_close(readout_cross_entropy(states, weight, gold), plain(states, weight, gold, 0.0))


def test_no_rows_have_no_loss() -> None:
    states, weight, gold = numbers()
    found = readout_cross_entropy(states[:0], weight, gold[:0], 0.1)
    assert found.item() == 0.0
    assert not torch.autograd.grad(found, weight)[0].any()


def test_one_of_two_gradients() -> None:
    states, weight, gold = numbers()
    (alone,) = torch.autograd.grad(readout_cross_entropy(states, weight.detach(), gold), states)
    (other,) = torch.autograd.grad(readout_cross_entropy(states.detach(), weight, gold), weight)
    assert alone.shape == states.shape
    assert other.shape == weight.shape
    with torch.no_grad():
        assert not readout_cross_entropy(states, weight, gold).requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_rounds_the_product_and_sums_in_float32(dtype: torch.dtype, rows: int) -> None:
    states, weight, gold = numbers(torch.float32)
    with torch.autocast("cpu", dtype):
        found = readout_cross_entropy(states, weight, gold, 0.1)
        expected = functional.cross_entropy((states @ weight.T).float(), gold, reduction="sum", label_smoothing=0.1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    wanted = torch.autograd.grad(expected, (states, weight))
    for one, other in zip(torch.autograd.grad(found, (states, weight)), wanted, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.1)


def model(architecture: str = "transformer", **settings: object) -> EncoderDecoder:
    torch.manual_seed(0)
    sizes = {"layers": 1, "size": 8, "heads": 2, "inner": 16, "dropout": 0.0, "architecture": architecture}
    return build(Model.model_validate(sizes | settings), 12, 12)


def batch(*lengths: int) -> Batch:
    ids = [[4 + (row + place) % 8 for place in range(length)] for row, length in enumerate(lengths)]
    return Batch(Tokens.of(ids), Tokens.of([[1, *row, 2] for row in ids]))


@pytest.mark.parametrize("pairs", [batch(3, 5, 2), batch(4, 4)], ids=["padded", "full"])
@pytest.mark.parametrize("architecture", DECODERS)
def test_of_a_model_it_is_that_of_its_logits(architecture: str, pairs: Batch) -> None:
    net = model(architecture)
    assert isinstance(net.decoder, ReadoutDecoder)
    found = Loss(net)(pairs, 0.1)
    expected = cross_entropy(net(pairs.source, pairs.previous), pairs.gold.ids, pairs.gold.is_real, 0.1)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, list(net.parameters()))
    for one, other in zip(torch.autograd.grad(found, list(net.parameters())), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class LogitsAlone(Decoder):
    """A user's decoder: it has no states to show."""

    longest = None

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 12)

    def forward(self, previous: Tokens, memory: Memory) -> Tensor:
        logits: Tensor = self.table(previous.ids) + memory.states.sum()
        return logits

    def start(self, memory: Memory) -> State:
        raise AssertionError

    def step(self, last_ids: Tensor, state: State) -> tuple[Tensor, State]:
        raise AssertionError


def test_a_decoder_of_logits_alone_takes_the_plain_way() -> None:
    net, pairs = model(), batch(3, 5)
    net.decoder = LogitsAlone()
    logits = net(pairs.source, pairs.previous)
    assert torch.equal(Loss(net)(pairs, 0.1), cross_entropy(logits, pairs.gold.ids, pairs.gold.is_real, 0.1))


def test_a_readout_with_a_bias_takes_the_plain_way() -> None:
    net, pairs = model(share_embeddings="none"), batch(3, 5)
    assert isinstance(net.decoder, ReadoutDecoder)
    net.decoder.output.bias = nn.Parameter(torch.randn(12))
    logits = net(pairs.source, pairs.previous)
    assert torch.equal(Loss(net)(pairs), cross_entropy(logits, pairs.gold.ids, pairs.gold.is_real))


def test_logits_are_never_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor of a step has as many numbers as are allowed at a time, far fewer than there are logits."""
    monkeypatch.setattr(module, "FEWEST_ROWS", 8)
    monkeypatch.setattr(module, "MOST_AT_ONCE", {"cpu": 8 * 500})
    states, weight = torch.randn(400, 4, requires_grad=True), torch.randn(500, 4, requires_grad=True)
    largest = Largest()
    with largest:
        readout_cross_entropy(states, weight, torch.randint(500, (400,)), 0.1).backward()
    assert largest.found == 8 * 500


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """The most numbers of any tensor that is made."""

    found = 0

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        out = func(*args, **(kwargs or {}))
        self.found = max([self.found, *(one.numel() for one in [out] if isinstance(one, Tensor))])
        return out


def test_data_parallel_sees_every_parameter(tmp_path: Path) -> None:
    """One process is enough for the wrapper to hook every gradient; it says so if one never comes."""
    init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped, alone, pairs = nn.parallel.DistributedDataParallel(Loss(model())), Loss(model()), batch(3, 5)
        for net in (wrapped, alone):
            for _ in range(2):
                net(pairs, 0.1).backward()
        for one, other in zip(wrapped.parameters(), alone.parameters(), strict=True):
            assert one.grad is not None
            torch.testing.assert_close(one.grad, other.grad)
    finally:
        torch.distributed.destroy_process_group()
