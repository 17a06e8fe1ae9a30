"""The processes that train one model together: one alone, or those that `torchrun` started (torch.distributed).

Every process knows the same recipe and the same order of batches; of each batch it computes a share of the rows.
Process 0 alone writes and talks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from regard.errors import TrainingError, UsageError

PATIENCE = timedelta(hours=4)  # the others wait while process 0 validates and saves
Made = TypeVar("Made")
FAILED = -1  # in place of a number of bytes


class Elsewhere(TrainingError):
    """Another process stopped, and says itself why."""


@dataclass(frozen=True)
class World:
    """This process's place among all: `rank` of `size`, and `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each number added up over all processes, in float64. Elsewhere if one of them is gone."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        with together():
            dist.all_reduce(total)
        return [float(value) for value in total]

    def share(self, make: Callable[[], bytes]) -> bytes:
        """What `make` gives in process 0, in every process. If it raises there, the others raise Elsewhere."""
        if self.size == 1:
            return make()
        content = b""
        try:
            content = make() if self.is_first else b""
        except BaseException:
            _broadcast(torch.tensor(FAILED))
            raise
        length = _broadcast(torch.tensor(len(content)))
        if length == FAILED:
            raise Elsewhere("process 0 could not go on; its own message says why")
        if not int(length):
            return b""
        buffer = torch.frombuffer(bytearray(content or bytes(int(length))), dtype=torch.uint8)
        return _broadcast(buffer).numpy().tobytes()

    def in_first(self, make: Callable[[], Made]) -> Made | None:
        """What `make` gives in process 0, None in the others. If it raises there, the others raise Elsewhere."""
        made: list[Made] = []

        def keep() -> bytes:
            made.append(make())
            return b""

        self.share(keep)
        return made[0] if made else None

    def gather(self, value: float) -> list[float]:
        """The number of each process, in their order."""
        mine = [0.0] * self.size
        mine[self.rank] = value
        return self.sum(mine)

    def require_same(self, what: str, value: str, fix: str) -> None:
        """UsageError in every process unless all have the same `value`; names the ones that differ."""
        first = self.share(lambda: value.encode()).decode()
        others = [rank for rank, differs in enumerate(self.gather(float(first != value))) if differs]
        if others:
            ranks = ", ".join(map(str, others))
            message = f"all processes need the same {what}; others than process 0 have processes {ranks}"
            raise UsageError(f"{message}; this is process {self.rank} and has {value}", fix=fix)

    def first_here(self, make: Callable[[], Made]) -> Made:
        """`make` in the first process of each machine, then in the others, who find what it left on the disk.

        If it raises there, the others raise Elsewhere.
        """
        made: list[Made] = []
        error: Exception | None = None
        if self.local_rank == 0:
            try:
                made.append(make())
            except Exception as raised:
                error = raised
        failed = self.sum([float(error is not None)])[0]
        if error:
            raise error
        if failed:
            raise Elsewhere("a process could not go on; its own message says why")
        return made[0] if made else make()

    def wait(self) -> None:
        """Until all processes are here."""
        self.sum([0.0])

    def rows(self, count: int) -> slice:
        """Which of `count` rows of a batch are this process's: shares that differ by one row at most."""
        small, more = divmod(count, self.size)
        start = self.rank * small + min(self.rank, more)
        return slice(start, start + small + (self.rank < more))


ALONE = World()


def world_size() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[World]:
    """Meets the other processes of `torchrun`; without it, or with one process, there is nobody to meet.

    Inside another `joined` they have met already.
    """
    if world_size() < 2:
        yield ALONE
        return
    if dist.is_initialized():
        yield _here()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        dist.init_process_group(backend, store=_fresh(store), rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"the processes do not find each other: {error}", fix="start them with torchrun") from None
    try:
        yield _here()
    finally:
        dist.destroy_process_group()


def _fresh(store: dist.Store) -> dist.Store:
    """Where torchrun starts the processes of one machine anew, its store still holds the addresses of the dead ones.

    Several machines do not count their restarts together: docs/scale.md has how their store is made anew.
    """
    if os.environ.get("GROUP_WORLD_SIZE", "1") != "1":
        return store
    return PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _here() -> World:
    return World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def together() -> Iterator[None]:
    """A process that is gone closes its connections: nothing can be done together any more, and Elsewhere says so."""
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        if not any(name in words.lower() for name in ("gloo", "nccl", "connection", "socket")):
            raise
        raise Elsewhere(
            f"another process is gone: {words.split(chr(10))[0][:200]}",
            fix="go on with the same command and --resume; the last checkpoint is intact",
        ) from None


def _broadcast(tensor: Tensor) -> Tensor:
    with together():
        dist.broadcast(tensor, src=0)
    return tensor
