"""Muon beside torch's own and beside the singular value decomposition."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from regard.config import Training
from regard.training import muon
from regard.training.muon import Muon, of_one_shape, orthogonal
from regard.training.optimiser import OPTIMISERS
from small import untrained

SHAPES = [(8, 8), (6, 10), (8, 8), (10, 6), (6, 10)]


def matrices(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def trained(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int = 4) -> list[torch.Tensor]:
    """The parameters after some steps on gradients that follow from them."""
    for step in range(steps):
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.cos(parameter.detach() * (number + step + 1))
        optimiser.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_it_is_that_of_torch(decay: float) -> None:
    ours, theirs = matrices(), matrices()
    one = trained(Muon(ours, 0.05, decay, products=torch.bfloat16), ours)
    other = trained(torch.optim.Muon(theirs, lr=0.05, weight_decay=decay, adjust_lr_fn="match_rms_adamw"), theirs)
    for mine, its, start in zip(one, other, matrices(), strict=True):
        # bfloat16 has three digits, and theirs is rounded once more, before it is divided by its length
        assert (mine - its).norm() < 0.02 * (its - start).norm()


def test_it_goes_on_from_a_state_of_torch() -> None:
    theirs = matrices()
    other = torch.optim.Muon(theirs, lr=0.05)
    trained(other, theirs)
    ours = copy.deepcopy(theirs)
    mine = Muon(ours, 0.05, 0.0)
    for parameter, its in zip(ours, theirs, strict=True):
        mine.state[parameter] = dict(other.state[its])
    before = [mine.state[parameter]["momentum_buffer"].clone() for parameter in ours]
    trained(mine, ours, steps=1)
    for parameter, average in zip(ours, before, strict=True):
        assert parameter.grad is not None
        expected = 0.95 * average + 0.05 * parameter.grad
        assert torch.allclose(mine.state[parameter]["momentum_buffer"], expected, atol=1e-6)
        assert set(mine.state[parameter]) == {"momentum_buffer"}


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(12, 12), (5, 12), (12, 5), (1, 7)])
def test_singular_values_become_alike_and_singular_vectors_stay(shape: tuple[int, int], products: torch.dtype) -> None:
    random = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(random, full_matrices=False)
    matrix = left @ torch.linspace(3.0, 0.3, min(shape)).diag() @ right
    turned = left.mT @ orthogonal(matrix[None], products)[0] @ right.mT
    near = 1e-4 if products == torch.float32 else 0.05
    assert (turned - turned.diag().diag()).abs().max() < near
    assert 0.65 < float(turned.diag().min()) <= float(turned.diag().max()) < 1.25


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_together_is_alone(products: torch.dtype) -> None:
    several = torch.randn(5, 6, 9, generator=torch.Generator().manual_seed(2))
    alone = torch.cat([orthogonal(each[None], products) for each in several])
    assert torch.allclose(orthogonal(several, products), alone, atol=1e-5 if products == torch.float32 else 0.02)


def test_no_gradient_no_step_and_nothing_of_nothing() -> None:
    parameters = matrices()
    parameters[0].grad = None
    parameters[1].grad = torch.zeros_like(parameters[1])
    before = [parameter.detach().clone() for parameter in parameters]
    Muon(parameters, 0.1, 0.0).step()
    assert all(torch.equal(one, other.detach()) for one, other in zip(before, parameters, strict=True))


def test_matrices_go_together_by_shape_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = matrices()
    assert [[tuple(p.shape) for p in group] for group in of_one_shape(parameters)] == [
        [(8, 8), (8, 8)],
        [(6, 10), (6, 10)],
        [(10, 6)],
    ]
    monkeypatch.setattr(muon, "MOST_AT_ONCE", 64)
    assert [len(group) for group in of_one_shape(parameters)] == [1] * 5


@pytest.mark.parametrize(("units", "products"), [({"amx_bf16": True}, torch.bfloat16), ({}, torch.float32)])
def test_products_are_in_what_the_device_is_fast_with(
    units: dict[str, bool], products: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[torch.dtype] = []
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    monkeypatch.setattr(muon, "orthogonal", lambda ahead, products: used.append(products) or ahead)
    net = untrained().model
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    settings = Training(steps=1, learning_rate=1e-3, warmup=1, checkpoint_every=1, metric="loss")
    OPTIMISERS["muon"](net, settings).step()
    assert set(used) == {products}
