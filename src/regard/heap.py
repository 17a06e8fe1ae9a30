"""How the C library keeps memory that was freed."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of <malloc.h>
SWITCH = "REGARD_KEEP_HEAP"


def keep_heap() -> bool:
    """Makes glibc keep what is freed instead of giving it back to the system; returns whether it could.

    Large tensors come and go at every step, and the pages of each new one have to be found and cleared: keeping them
    saves a tenth to a fifth of the time of large steps. For the whole process, so only commands call it; the
    environment variable REGARD_KEEP_HEAP=0 switches it off. Elsewhere than on Linux with glibc it does nothing.
    """
    if sys.platform != "linux" or os.environ.get(SWITCH) == "0":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
