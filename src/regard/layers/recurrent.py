"""Recurrent layers: a state that goes along a sequence, one position after another (claim N23).

A cell runs over a whole sequence, or one step at a time with the same weights. To add one: write a `Cell`, add a line
to CELLS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from regard.errors import RecipeError

CellState = tuple[Tensor, ...]  # [B, D] each; the first of them is the output


class Cell(nn.Module, ABC):
    """The interface of an entry of CELLS: one layer in one direction, `size` features in its output and its state.

    `kept` is how many tensors a state has.
    """

    kept: int

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def step(self, x: Float[Tensor, "B I"], state: CellState) -> CellState:
        """The state after one more position."""

    def forward(self, x: Float[Tensor, "B T I"], state: CellState | None = None) -> Float[Tensor, "B T D"]:
        """The output at each position, from a state or from zeros."""
        state = state or (x.new_zeros(len(x), self.size),) * self.kept
        outputs = []
        for one in x.unbind(1):
            state = self.step(one, state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1) if outputs else x.new_zeros(len(x), 0, self.size)


class _OfTorch(Cell):
    """A cell with the weights of one of torch's layers, both of its biases too, and its loop over a whole sequence.

    At first each gate's recurrent matrix is orthogonal (Saxe et al. 2014), each gate's input matrix is Xavier's, and
    the biases are 0.
    """

    def __init__(self, layer: nn.RNNBase, gates: int) -> None:
        super().__init__(layer.hidden_size)
        self.layer = layer
        for name, parameter in layer.named_parameters():
            for gate in parameter.detach().chunk(gates):
                if "bias" in name:
                    nn.init.zeros_(gate)
                else:
                    nn.init.orthogonal_(gate) if "_hh_" in name else nn.init.xavier_uniform_(gate)

    def gates(self, x: Float[Tensor, "B I"], output: Float[Tensor, "B D"]) -> tuple[Tensor, Tensor]:
        """What the input and what the last output say to all gates, [B, gates D] each."""
        from_input, from_output, *biases = self.layer.all_weights[0]
        reads, recalls = biases or (None, None)
        return functional.linear(x, from_input, reads), functional.linear(output, from_output, recalls)


class GRU(_OfTorch):
    """Gated recurrent unit (Cho et al. 2014): 3 D (I + D + 2) parameters. Its state is its output."""

    kept = 1

    def __init__(self, inputs: int, size: int, bias: bool = True) -> None:
        super().__init__(nn.GRU(inputs, size, bias=bias, batch_first=True), gates=3)

    def step(self, x: Float[Tensor, "B I"], state: CellState) -> CellState:
        """The state after one more position."""
        (output,) = state
        read, recalled = self.gates(x, output)
        cut = 2 * self.size
        reset, update = (read[:, :cut] + recalled[:, :cut]).sigmoid().chunk(2, dim=1)
        new = torch.addcmul(read[:, cut:], reset, recalled[:, cut:]).tanh()
        return (torch.lerp(new, output, update),)

    def forward(self, x: Float[Tensor, "B T I"], state: CellState | None = None) -> Float[Tensor, "B T D"]:
        """As step by step."""
        if x.shape[1] == 0:  # torch refuses it
            return super().forward(x, state)
        return self.layer(x, state and state[0][None])[0]  # type: ignore[no-any-return]


class LSTM(_OfTorch):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): 4 D (I + D + 2) parameters. State: output and memory.

    The forget gate's bias is 1 at first, so that the memory is kept (Jozefowicz et al. 2015).
    """

    kept = 2

    def __init__(self, inputs: int, size: int, bias: bool = True) -> None:
        super().__init__(nn.LSTM(inputs, size, bias=bias, batch_first=True), gates=4)
        if bias:
            nn.init.ones_(cast(Tensor, self.layer.bias_ih_l0).detach()[size : 2 * size])

    def step(self, x: Float[Tensor, "B I"], state: CellState) -> CellState:
        """The state after one more position."""
        output, memory = state
        read, recalled = self.gates(x, output)
        enter, keep, new, say = (read + recalled).chunk(4, dim=1)
        memory = torch.addcmul(keep.sigmoid() * memory, enter.sigmoid(), new.tanh())
        return say.sigmoid() * memory.tanh(), memory

    def forward(self, x: Float[Tensor, "B T I"], state: CellState | None = None) -> Float[Tensor, "B T D"]:
        """As step by step."""
        if x.shape[1] == 0:  # torch refuses it
            return super().forward(x, state)
        return self.layer(x, state and tuple(one[None] for one in state))[0]  # type: ignore[no-any-return]


CELLS: dict[str, Callable[[int, int, bool], Cell]] = {  # from the numbers of features in and out, and biases or not
    "gru": GRU,
    "lstm": LSTM,
}


class BothWays(nn.Module):
    """A layer that reads forwards and, if asked, backwards too, half of the features each (Schuster and Paliwal 1997).

    The backward direction reads each sequence from its own last position, so neither direction meets padding before
    what is real. RecipeError where half of the features is no whole number.
    """

    def __init__(
        self, inputs: int, size: int, cell: str = "gru", bidirectional: bool = True, bias: bool = True
    ) -> None:
        super().__init__()
        if bidirectional and size % 2:
            raise RecipeError(
                f"two directions cannot share {size} features evenly",
                fix="choose an even model.size, or model.bidirectional=false",
            )
        width = size // 2 if bidirectional else size
        self.forwards = CELLS[cell](inputs, width, bias)
        self.backwards = CELLS[cell](inputs, width, bias) if bidirectional else None

    def forward(self, x: Float[Tensor, "B S I"], turned: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """`turned` as `backwards_order` gives it."""
        outputs: Tensor = self.forwards(x)
        if self.backwards is None:
            return outputs
        return torch.cat((outputs, reorder(self.backwards(reorder(x, turned)), turned)), dim=2)


def backwards_order(lengths: Int[Tensor, " B"], size: int) -> Int[Tensor, "B S"]:
    """The positions of each sequence from its last real one to its first; padding stays. Twice is as it was."""
    position = torch.arange(size, device=lengths.device).expand(len(lengths), size)
    last = lengths[:, None] - 1
    return torch.where(position <= last, last - position, position)


def reorder(x: Float[Tensor, "B S D"], order: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
    """The positions of each sequence in the given order."""
    rows, size, _ = x.shape
    flat = order + torch.arange(rows, device=x.device)[:, None] * size
    return x.flatten(0, 1).index_select(0, flat.flatten()).view(x.shape)
