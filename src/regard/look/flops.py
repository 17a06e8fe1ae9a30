"""torch's counter of operations, with the kernels of the CPU that it does not know: LSTM, oneDNN's product, addmm_."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def flop_counter() -> FlopCounterMode:
    """Counts what runs inside it: two a multiply-add, of matrix products, convolutions, attention and recurrence.

    with flop_counter() as counter:
        model(source, previous)
    counter.get_total_flops()
    """
    known: dict[Any, Any] = {
        torch.ops.aten.mkldnn_rnn_layer: _lstm_forward,
        torch.ops.aten.mkldnn_rnn_layer_backward: _lstm_backward,
        torch.ops.aten.addmm_: _added_product,
    }
    if torch._C._has_mkldnn:
        known[torch.ops.mkldnn._linear_pointwise] = _product
    return FlopCounterMode(display=False, custom_mapping=known)


def _product(x: Any, weight: Any, *others: Any, out_shape: Any = None) -> int:
    """Shapes [N, K], [M, K]."""
    return int(2 * math.prod(x) * weight[0])


def _added_product(total: Any, left: Any, right: Any, out_shape: Any = None) -> int:
    """Shapes [N, M], [N, K], [K, M]."""
    return int(2 * math.prod(left) * right[1])


def _lstm_forward(x: Any, to_gates: Any, from_state: Any, *others: Any, out_shape: Any = None) -> int:
    """Shapes [T, B, I], [4H, I], [4H, H]."""
    positions, rows, _ = x
    return int(2 * positions * rows * to_gates[0] * (to_gates[1] + from_state[1]))


def _lstm_backward(x: Any, to_gates: Any, from_state: Any, *others: Any, out_shape: Any = None) -> int:
    """A product each for the gradients of the inputs and of the weights."""
    return 2 * _lstm_forward(x, to_gates, from_state)
