"""Where and in which numbers a model is trained."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from regard.config import Training
from regard.errors import UsageError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str, local_rank: int = 0, *, asked: str = "training.device=", fix: str = "") -> torch.device:
    """The device of that name; `auto` is a GPU (CUDA, then MPS) where there is one. UsageError if it is not there.

    Processes of one machine share its GPUs out by `local_rank`. `asked` is what a user wrote before the name, `fix`
    what to write instead.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    chosen = next(kind for kind, is_there in there.items() if is_there) if name == "auto" else name
    if not there[chosen]:
        found = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise UsageError(f"{asked}{name} is not to be had here, only {found}", fix=fix or "leave it at auto")
    if chosen != "cuda":
        return torch.device(chosen)
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """In what products are computed. `auto`: bfloat16 on a GPU with units for it (compute capability 8), else float32.

    On a CPU autocast is never chosen by itself: docs/training.md has the measurements.
    """
    if name != "auto":
        return PRECISIONS[name]
    return torch.bfloat16 if device.type == "cuda" and has_bfloat16(device) else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether it has units for bfloat16: a GPU of compute capability 8, a CPU with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    units = ("avx512_bf16", "amx_bf16")
    there: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older releases do not tell
    return device.type == "cpu" and any(there.get(unit, False) for unit in units)


def could_be_faster(device: torch.device, precision: torch.dtype) -> str | None:
    """What a CPU would be faster with: bfloat16 if it has units for it, float32 if not; None if it is that already."""
    faster = "bfloat16" if has_bfloat16(device) else "float32"
    return faster if device.type == "cpu" and precision != PRECISIONS[faster] else None


def set_products(training: Training) -> None:
    """Whether float32 products on a GPU may round to TF32; they do not unless asked to."""
    torch.backends.cuda.matmul.allow_tf32 = training.tf32
    torch.backends.cudnn.allow_tf32 = training.tf32


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Inside, no product on a GPU rounds to TF32: a search may take float32's rounding for granted (settle.py)."""
    if device.type != "cuda":
        yield
        return
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = False
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def describe(device: torch.device, precision: torch.dtype, training: Training) -> str:
    """`cpu (2 threads), float32`; `cuda:0 (NVIDIA ...), bfloat16, TF32 off`."""
    words = str(precision).removeprefix("torch.")
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)}), {words}, TF32 {'on' if training.tf32 else 'off'}"
    if device.type == "mps":
        return f"mps ({platform.processor() or 'Apple'}), {words}"
    return f"cpu ({torch.get_num_threads()} of {os.cpu_count()} threads), {words}"
