"""The processes that `torchrun` started, as a command sees them that needs no torch.distributed."""

from __future__ import annotations

import os
from typing import NamedTuple

from regard.errors import UsageError


class Place(NamedTuple):
    """Which of how many processes this is, as `torchrun` tells them; alone without it."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def this() -> Place:
        """From RANK and WORLD_SIZE. UsageError if they cannot be meant."""
        rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            message = f"the environment says RANK={rank} and WORLD_SIZE={size}; wanted a process of so many, from 0"
            raise UsageError(message, fix="start the processes with torchrun, or unset both")
        return Place(int(rank), int(size))


def local_rank() -> int:
    """Which of the processes of this machine this is, as `torchrun` tells it: which GPU is its own."""
    rank = os.environ.get("LOCAL_RANK", "0")
    return int(rank) if rank.isdecimal() else 0


def share_threads() -> None:
    """The processes of one machine share its cores out. `torchrun` itself gives each of them one, unless told."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if "OMP_NUM_THREADS" not in os.environ and here.isdecimal() and int(here) > 1:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // int(here)))
