"""How much memory a step takes, by taking some, and how much there is."""

from __future__ import annotations

import copy
import ctypes
import math
import sys
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from regard.config import Training
from regard.data.tokens import Batch, Tokens
from regard.models.interface import EncoderDecoder
from regard.training.loss import Loss

SAFE = 0.8  # share of the free memory that is planned with: other programs live too
FIRST, TIMES = 32, 4  # tokens of the shortest pair that is measured; each next one is so many times as long
AT_ONCE = 1024  # tokens that are measured together, or one pair
NEWEST_WORD = 4  # an id that every vocabulary has: the first after those of control


@dataclass(frozen=True)
class Footprint:
    """Bytes that a pair takes while a step is computed, measured at some lengths (tokens of both sides, padded)."""

    lengths: tuple[int, ...]
    row_bytes: tuple[float, ...]

    def row(self, length: int) -> float:
        """Of one pair: between measured lengths by a power law, beyond them by a steeper one."""
        place = bisect_left(self.lengths, length)
        if place == 0:
            return self.row_bytes[0] * length / self.lengths[0]
        if place == len(self.lengths):
            return self.row_bytes[-1] * float((length / self.lengths[-1]) ** self._steepness())
        (short, long), (low, high) = self.lengths[place - 1 : place + 1], self.row_bytes[place - 1 : place + 1]
        return low * math.exp(math.log(high / low) * math.log(length / short) / math.log(long / short))

    def _steepness(self) -> float:
        """The power at the end and half a power more: what grows with the square comes to weigh."""
        if len(self.lengths) < 2:
            return 2.0
        (short, long), (low, high) = self.lengths[-2:], self.row_bytes[-2:]
        return min(2.0, max(1.0, math.log(high / low) / math.log(long / short)) + 0.5)

    def batch(self, batch: Batch) -> float:
        """Of a batch."""
        return len(batch.source.ids) * self.row(batch.source.ids.shape[1] + batch.target.ids.shape[1])

    def most_tokens(self, room: float, length: int) -> int:
        """Tokens of a batch of pairs of `length` that fits into `room` bytes; one pair's at least."""
        return max(length, int(room / (self.row(length) / length)))


def measure(
    model: EncoderDecoder, training: Training, precision: torch.dtype, longest: int, tokens: int, room: float
) -> Footprint | None:
    """Steps on made-up pairs, with a copy of the model; None where memory cannot be read.

    Pairs get longer up to `longest` tokens (both sides), until it is certain that a batch of `tokens` fits into `room`
    bytes, or a step might take more than half of them.
    """
    device = next(model.parameters()).device
    if peak_bytes(device) is None:
        return None
    trial = Loss(copy.deepcopy(model).train(), training.guide)
    lengths: list[int] = []
    row_bytes: list[float] = []
    _step(trial, training, precision, _pairs(1, 8))  # gradients, and what is made once, are there from now on
    length = FIRST
    while True:
        length = min(length, max(FIRST, longest))
        rows = max(1, AT_ONCE // length)
        so_far = Footprint(tuple(lengths), tuple(row_bytes))
        if lengths and (so_far.row(longest) * max(1, tokens / longest) <= room or so_far.row(length) * rows > room / 2):
            break
        with _peak(device) as found:
            _step(trial, training, precision, _pairs(rows, length // 2))
        lengths.append(length)
        row_bytes.append(max(found[0], 1.0) / rows)
        if length >= longest:
            break
        length *= TIMES
    return Footprint(tuple(lengths), tuple(row_bytes))


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be had: on a GPU what it says, else the least of the system's, the container's and the
    process's limit; None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [_meminfo(), _control_group(), _process_limit()]
    return min((each for each in found if each is not None), default=None)


def peak_bytes(device: torch.device) -> int | None:
    """The most that was ever taken since the last `_reset`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """Puts into the list how much more than at the start was taken at the worst moment."""
    found: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        _give_back()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # starts VmHWM anew
        before = _status("VmRSS") or 0
    yield found
    found.append((peak_bytes(device) or 0) - before)


def _step(trial: Loss, training: Training, precision: torch.dtype, batch: Batch) -> None:
    device = next(trial.parameters()).device
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        loss = trial(batch.to(device), training.label_smoothing)
    loss.backward()


def _pairs(rows: int, length: int) -> Batch:
    ids = torch.full((rows, max(2, length)), NEWEST_WORD)
    tokens = Tokens(ids, torch.full((rows,), ids.shape[1]))
    linked = torch.arange(ids.shape[1] - 1).repeat_interleave(2).expand(rows, -1)  # for a guided head; else unused
    return Batch(tokens, tokens, Tokens(linked, torch.full((rows,), linked.shape[1])))


def _give_back() -> None:
    """What the C library keeps of freed memory would hide what a step takes."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(key: str) -> int | None:
    if sys.platform != "linux":
        return None
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n"):
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return None


def _meminfo() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").split("\n"):
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _control_group() -> int | None:
    """Room left in a container (cgroup version 2, then 1); pages of files that could be dropped count as room."""
    for folder, limit, usage in (
        (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            most, now = (int((folder / name).read_text(encoding="ascii")) for name in (limit, usage))
            return max(0, most - now + _droppable(folder))
    return None


def _droppable(folder: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in (folder / "memory.stat").read_text(encoding="ascii").split("\n"):
            if line.startswith(("inactive_file ", "total_inactive_file ")):
                return int(line.split()[1])
    return 0


def _process_limit() -> int | None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        if soft != resource.RLIM_INFINITY:
            return max(0, soft - (_status("VmSize") or 0))
    return None
