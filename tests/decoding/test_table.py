from __future__ import annotations

import pytest
import torch

from regard.decoding.interface import FREE, Vocabulary
from regard.decoding.table import Table


@pytest.mark.parametrize("going_on", [[1, 1, 1], [0, 0, 0], [0, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 0, 1, 1, 0, 1]])
def test_the_last_lines_take_the_places_of_those_that_leave(going_on: list[int]) -> None:
    count, stays = len(going_on), torch.tensor(going_on, dtype=torch.bool)
    table = Table(torch.arange(count) + 10, 2, Vocabulary(5, 1, 2, ()), FREE)
    order = table.keep(stays)
    assert sorted(order.tolist()) == stays.nonzero().flatten().tolist()
    assert int((order != torch.arange(len(order))).sum()) <= count - len(order)
    assert table.sentence.tolist() == order.tolist()
    assert table.limit.tolist() == (order + 10).tolist()
