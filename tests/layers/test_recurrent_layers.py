"""Recurrent layers against torch's own, against the equations, and against each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close

from regard.errors import RecipeError
from regard.layers.recurrent import CELLS, GRU, LSTM, BothWays, Cell, CellState, backwards_order, reorder

TORCH = {"gru": nn.GRU, "lstm": nn.LSTM}
every_cell = pytest.mark.parametrize("name", CELLS)
with_and_without_bias = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])


def make(name: str, inputs: int, size: int, bias: bool = True) -> Cell:
    """A cell in float64 whose biases are not at their special first values."""
    cell = CELLS[name](inputs, size, bias).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return cell


def state_of(cell: Cell, rows: int) -> CellState:
    return tuple(torch.randn(rows, cell.size, dtype=torch.float64) for _ in range(cell.kept))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_n23_parameters_of_64_to_32() -> None:
    gru, lstm = count(GRU(64, 32)), count(LSTM(64, 32))
    assert (gru, lstm, gru / lstm) == (9408, 12544, 0.75)
    assert count(BothWays(64, 64, "gru")) == 2 * 9408  # 32 features in each direction
    assert count(BothWays(64, 64, "lstm")) == 2 * 12544
    assert count(BothWays(64, 32, "gru", bidirectional=False)) == 9408
    assert count(GRU(64, 32, bias=False)) == 3 * 32 * (64 + 32)


def test_the_table_makes_the_cells_that_are_named() -> None:
    assert {name: type(make(name, 3, 4)) for name in CELLS} == {"gru": GRU, "lstm": LSTM}


@every_cell
@with_and_without_bias
def test_step_by_step_is_all_at_once(name: str, bias: bool) -> None:
    cell = make(name, 5, 4, bias)
    x, state = torch.randn(3, 7, 5, dtype=torch.float64), state_of(cell, 3)
    assert_close(cell(x, state), Cell.forward(cell, x, state), atol=1e-12, rtol=0)
    assert_close(cell(x), Cell.forward(cell, x), atol=1e-12, rtol=0)
    zeros = tuple(torch.zeros_like(one) for one in state)
    assert_close(cell(x), cell(x, zeros), atol=0, rtol=0)


@every_cell
def test_step_by_step_has_the_gradients_of_all_at_once(name: str) -> None:
    cell = make(name, 5, 4)
    x, state = torch.randn(3, 7, 5, dtype=torch.float64), state_of(cell, 3)
    wanted = torch.randn(3, 7, 4, dtype=torch.float64)
    leaves = [x.requires_grad_(), *(one.requires_grad_() for one in state), *cell.parameters()]
    at_once = torch.autograd.grad((cell(x, state) * wanted).sum(), leaves)
    stepped = torch.autograd.grad((Cell.forward(cell, x, state) * wanted).sum(), leaves)
    assert_close(stepped, at_once, atol=1e-12, rtol=0)
    assert all(one.count_nonzero() == one.numel() for one in at_once)


def test_n23_the_equations_of_a_gru() -> None:
    cell = make("gru", 2, 3)
    x, (h,) = torch.randn(1, 2, dtype=torch.float64), state_of(cell, 1)
    w, u, b, c = (parameter.detach() for parameter in cell.layer.parameters())
    (wr, wz, wn), (ur, uz, un), (br, bz, bn), (cr, cz, cn) = (one.chunk(3) for one in (w, u, b, c))
    r = torch.sigmoid(x @ wr.T + br + h @ ur.T + cr)
    z = torch.sigmoid(x @ wz.T + bz + h @ uz.T + cz)
    n = torch.tanh(x @ wn.T + bn + r * (h @ un.T + cn))
    assert_close(cell.step(x, (h,))[0], (1 - z) * n + z * h, atol=1e-14, rtol=0)


def test_n23_the_equations_of_an_lstm() -> None:
    cell = make("lstm", 2, 3)
    x, (h, memory) = torch.randn(1, 2, dtype=torch.float64), state_of(cell, 1)
    w, u, b, c = (parameter.detach() for parameter in cell.layer.parameters())
    i, f, g, o = (x @ w.T + b + h @ u.T + c).chunk(4, dim=1)
    after = f.sigmoid() * memory + i.sigmoid() * g.tanh()
    assert_close(cell.step(x, (h, memory)), (o.sigmoid() * after.tanh(), after), atol=1e-14, rtol=0)


@every_cell
def test_nothing_to_read(name: str) -> None:
    cell = make(name, 5, 4)
    assert cell(torch.zeros(2, 0, 5, dtype=torch.float64)).shape == (2, 0, 4)
    assert cell(torch.zeros(0, 3, 5, dtype=torch.float64)).shape == (0, 3, 4)


class Sum(Cell):
    """The smallest cell a user may write: what was read so far, added up."""

    kept = 1

    def step(self, x: Tensor, state: CellState) -> CellState:
        return (state[0] + x,)


def test_a_cell_needs_only_a_step() -> None:
    x = torch.randn(2, 5, 3)
    assert_close(Sum(3)(x), x.cumsum(1))
    assert_close(Sum(3)(x, (torch.ones(2, 3),)), 1 + x.cumsum(1))
    assert Sum(3)(x[:, :0]).shape == (2, 0, 3)


def packed(layer: nn.RNNBase, x: Tensor, lengths: Tensor) -> Tensor:
    """What torch's layer says to packed sequences; 0 at padding."""
    sequence = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(sequence)[0], batch_first=True, total_length=x.shape[1])[0]


@every_cell
@with_and_without_bias
@pytest.mark.parametrize("bidirectional", [True, False], ids=["both", "forwards"])
def test_both_ways_is_torchs_layer_on_packed_sequences(name: str, bias: bool, bidirectional: bool) -> None:
    ours = BothWays(6, 8, name, bidirectional, bias).double()
    width = 4 if bidirectional else 8
    theirs = TORCH[name](6, width, bias=bias, batch_first=True, bidirectional=bidirectional).double()
    weights = dict(ours.forwards.layer.state_dict())
    if ours.backwards is not None:
        state = ours.backwards.layer.state_dict()
        weights |= {f"{key}_reverse": value for key, value in state.items()}
    theirs.load_state_dict(weights)
    x, lengths = torch.randn(4, 7, 6, dtype=torch.float64), torch.tensor([3, 7, 1, 5])
    is_real = torch.arange(7) < lengths[:, None]
    outputs = ours(x, backwards_order(lengths, 7))
    assert_close(outputs[is_real], packed(theirs, x, lengths)[is_real], atol=1e-12, rtol=0)


def test_backwards_order_turns_what_is_real_and_nothing_else() -> None:
    order = backwards_order(torch.tensor([3, 0, 4]), 4)
    assert order.tolist() == [[2, 1, 0, 3], [0, 1, 2, 3], [3, 2, 1, 0]]
    x = torch.randn(3, 4, 5)
    assert torch.equal(reorder(x, order)[0], x[0, [2, 1, 0, 3]])
    assert torch.equal(reorder(reorder(x, order), order), x)
    assert reorder(x[:, :0], order[:, :0]).shape == (3, 0, 5)


@every_cell
def test_padding_is_never_seen(name: str) -> None:
    layer = BothWays(6, 8, name).double()
    lengths = torch.tensor([2, 0, 5])
    x = torch.randn(3, 6, 6, dtype=torch.float64)
    is_real = (torch.arange(6) < lengths[:, None])[..., None]
    other = torch.where(is_real, x, torch.full_like(x, torch.nan))
    turned = backwards_order(lengths, 6)
    kept = is_real.expand(-1, -1, 8)
    assert torch.equal(layer(x, turned)[kept], layer(other, turned)[kept])


def test_both_ways_each_position_hears_of_all() -> None:
    layer, order = BothWays(4, 6).double(), backwards_order(torch.tensor([5]), 5)
    x = torch.randn(1, 5, 4, dtype=torch.float64, requires_grad=True)
    for position in range(5):
        (gradient,) = torch.autograd.grad(layer(x, order)[0, position].sum(), x)
        assert (gradient[0].abs().sum(-1) > 0).all()


def test_two_directions_need_an_even_size() -> None:
    with pytest.raises(RecipeError, match=r"two directions cannot share 7 features evenly\n.*even model.size"):
        BothWays(6, 7)
    assert BothWays(6, 7, bidirectional=False).backwards is None


@every_cell
def test_first_weights(name: str) -> None:
    cell = CELLS[name](24, 16, True)
    gates = {"gru": 3, "lstm": 4}[name]
    named = {key.removeprefix("layer.").removesuffix("_l0"): value for key, value in cell.named_parameters()}
    for gate in named["weight_hh"].chunk(gates):
        assert_close(gate @ gate.T, torch.eye(16), atol=1e-5, rtol=0)
    bound = (6 / (24 + 16)) ** 0.5
    assert 0.9 * bound < named["weight_ih"].abs().max().item() <= bound
    assert named["bias_hh"].count_nonzero() == 0
    forget = torch.zeros(gates, 16)
    forget[1] = name == "lstm"
    assert torch.equal(named["bias_ih"], forget.flatten())
    assert not any(key.startswith("bias") for key, _ in CELLS[name](24, 16, False).layer.named_parameters())
