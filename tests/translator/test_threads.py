from __future__ import annotations

import threading
from itertools import chain

import pytest
import torch

from regard.translator.threads import FEW, share_out, side_by_side, threads, work_of_a_row
from small import untrained

LARGE = FEW  # the work of a row that is worth a thread alone


@pytest.fixture
def four_threads() -> object:
    with threads(4):
        yield


@pytest.mark.parametrize(
    ("sizes", "rows", "work", "parts", "each"),
    [
        ([64], 1, 10, [64], 1),  # so small that a second thread only gets in the way
        ([64], 5, LARGE, [16, 16, 16, 16], 1),  # a part for each thread
        ([6], 1, LARGE, [2, 2, 2], 1),
        ([1], 5, LARGE, [1], 4),  # one sentence: its operations are shared
        ([2], 1, FEW // 2, [2], 4),
        ([64, 64, 9], 5, LARGE, [64, 64, 9], 1),  # batches enough
        ([64, 64, 9], 1, 10, [64, 64, 9], 1),
        ([], 1, 10, [], 1),
    ],
)
@pytest.mark.usefixtures("four_threads")
def test_work_is_shared_out_by_its_size(sizes: list[int], rows: int, work: int, parts: list[int], each: int) -> None:
    numbers = iter(range(1000))
    batches = [[next(numbers) for _ in range(size)] for size in sizes]
    found, threads_each = share_out(batches, rows, work, torch.device("cpu"))
    assert list(chain(*found)) == list(chain(*batches))
    assert ([len(part) for part in found], threads_each) == (parts, each)


@pytest.mark.usefixtures("four_threads")
def test_parts_run_side_by_side_and_come_back_in_order() -> None:
    together = threading.Barrier(3, timeout=20)  # passes only if three run at once

    def search(part: int) -> tuple[int, int]:
        together.wait()
        return part, torch.get_num_threads()

    assert side_by_side(search, [5, 6, 7], 1) == [(5, 1), (6, 1), (7, 1)]
    assert torch.get_num_threads() == 4
    assert side_by_side(lambda part: (part, torch.get_num_threads()), [5], 4) == [(5, 4)]


@pytest.mark.usefixtures("four_threads")
def test_a_fault_in_a_part_is_raised_and_threads_are_as_before() -> None:
    def fail(part: int) -> int:
        raise ValueError(str(part))

    with pytest.raises(ValueError, match="1"):
        side_by_side(fail, [1, 2], 1)
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("way", [{"beam": 1}, {"beam": 4, "n_best": 2}, {"strategy": "sampling"}])
def test_answers_do_not_depend_on_threads(way: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.translator.threads.FEW", 1)  # everything is worth a thread
    translator, lines = untrained(), ["fox", "lazy dogs", "the quick fox", "", "over", "jumps"]
    told = []
    for count in (1, 2, 3):
        with threads(count):
            results = list(translator.translate(lines, options=way, batch_size=2 if count == 3 else 64))
        told.append([[answer.symbols for answer in result.answers] for result in results])
    assert told[0] == told[1] == told[2]


def test_the_work_of_a_row_counts_every_matrix_of_the_decoder_once() -> None:
    model = untrained().model
    weights = [weight for name, weight in model.decoder.named_parameters() if weight.dim() > 1]
    assert work_of_a_row([model]) == sum(weight.numel() for weight in weights)
    assert work_of_a_row([model, model]) == 2 * work_of_a_row([model])
