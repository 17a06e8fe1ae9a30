"""A model's tensors to safetensors bytes and back. Nothing is unpickled, and nothing is copied before all fits.

A tensor that a model knows by several names (tied embeddings) is stored once, under the first name in alphabetical
order; the other names stand in the header, under "tied", as a JSON object {name: stored name}.

A file may hold float16 wherever the model has float32 (`halved` makes such tensors): half the bytes, each weight the
nearest that 16 bits can say. All of its floating tensors are so or none; loaded, they are float32 again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from regard.errors import ModelFolderError

SHOWN = 200  # differences in one message: a hostile header can hold a million
OWN = "a tensor of its own"
LARGEST = 65_504  # that float16 holds
FLOATING = ("F", "BF", "C")  # how the format's names of such dtypes begin


def save_weights(model_or_dict: nn.Module | Mapping[str, Tensor]) -> bytes:
    """The safetensors file of a model's parameters and buffers, or of named tensors; equal tensors give equal bytes."""
    tensors = model_or_dict.state_dict() if isinstance(model_or_dict, nn.Module) else model_or_dict
    tied = tied_names(tensors)
    stored: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name in sorted(set(tensors) - set(tied)):
        own = tensors[name].detach().to("cpu").contiguous()
        if own.untyped_storage().data_ptr() in storages:  # two views of one memory: the format has no such thing
            own = own.clone()
        storages.add(own.untyped_storage().data_ptr())
        stored[name] = own
    return save(stored, metadata={"tied": json.dumps(tied, sort_keys=True)} if tied else None)


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with float16 in place of float32, each value the nearest; tied ones stay tied, integers as they are.

    Below 3e-8 the nearest is 0. ModelFolderError for a value above 65,504, and for floating tensors of other dtypes.
    """
    tied = tied_names(tensors)
    halves = {name: tensors[name].detach() for name in sorted(set(tensors) - set(tied))}
    halves = {name: one.half() if one.dtype == torch.float32 else one for name, one in halves.items()}
    faults = [f"{name} holds {float(tensors[name].abs().max()):.6g}" for name in not_finite(halves)]
    if faults:
        message = f"float16 holds at most {LARGEST:,}:\n  " + "\n  ".join(faults[:SHOWN])
        raise ModelFolderError(message, fix="keep this model in float32")
    others = [one for one in halves.values() if _is_floating(one) and one.dtype != torch.float16]
    if others:
        message = f"all weights are wanted in float32, found {', '.join(map(_layout, others[:SHOWN]))}"
        raise ModelFolderError(message, fix="keep this model as it is")
    return halves | {name: halves[stored] for name, stored in tied.items()}


def is_halved(path: Path) -> bool:
    """Whether all floating tensors of a file are float16, of which only the header is read. Raises ModelFolderError."""
    with _opened(path) as file:
        return _is_halved(file)


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file by name, on the CPU. Raises ModelFolderError."""
    with _opened(path) as file:
        # Copies, because tensors in a mapped file lie at other alignments, and then kernels may round otherwise.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors | {name: tensors[stored] for name, stored in _tied_in(file).items()}


def load_weights(model: nn.Module, path: Path) -> None:
    """Copies a file written by `save_weights` into a model, if every name, shape, dtype and value is right.

    float16 for float32 is right where all floating tensors of the file are float16: see `halved`.
    Raises one ModelFolderError that lists all differences; the model is then as it was.
    """
    expected = model.state_dict()
    tied = tied_names(expected)
    with _opened(path) as file:
        faults = list(_differences(expected, tied, file))
        if faults:
            message = f"{len(faults):,} differences to the model:\n  " + "\n  ".join(faults[:SHOWN])
            raise ModelFolderError(message, where=str(path), fix="use the recipe.toml that these weights came with")
        with torch.no_grad():
            for name in expected.keys() - tied.keys():
                expected[name].copy_(file.get_tensor(name))


def tied_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """{name: first name in alphabetical order of the same tensor}, for the names that are not the first."""
    first: dict[object, str] = {}
    stored = {name: first.setdefault(_identity(name, tensors[name]), name) for name in sorted(tensors)}
    return {name: other for name, other in stored.items() if other != name}


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold a NaN or an infinity."""
    return [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]


def _identity(name: str, tensor: Tensor) -> object:
    if not tensor.numel():  # all empty tensors lie at address 0
        return name
    return tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        message = f"expected a safetensors file, found a fault: {error}"
        raise ModelFolderError(message, where=str(path), fix="copy it again from where it came") from error


def _tied_in(file: Any) -> dict[str, str]:
    tied = json.loads((file.metadata() or {}).get("tied", "{}"))
    if not isinstance(tied, dict) or not {str(stored) for stored in tied.values()} <= set(file.keys()) - tied.keys():
        raise ValueError('"tied" in its header is not {name: stored name}')
    return {name: str(stored) for name, stored in tied.items()}


def _is_floating(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _is_halved(file: Any) -> bool:
    kinds = {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    return {kind for kind in kinds if kind.startswith(FLOATING)} == {"F16"}


def _differences(expected: Mapping[str, Tensor], tied: Mapping[str, str], file: Any) -> Iterator[str]:
    found_tied, halves = _tied_in(file), _is_halved(file)
    found = set(file.keys()) | found_tied.keys()
    yield from (f"missing: {name} {_layout(expected[name])}" for name in sorted(expected.keys() - found))
    yield from (f"unexpected: {name}" for name in sorted(found - expected.keys()))
    for name in sorted(found & expected.keys()):
        if tied.get(name) != found_tied.get(name):
            yield f"wrong tie: {name}: expected {tied.get(name, OWN)}, found {found_tied.get(name, OWN)}"
        elif name not in tied:
            yield from _difference(name, expected[name], file.get_tensor(name), halves)


def _difference(name: str, expected: Tensor, found: Tensor, halves: bool) -> Iterator[str]:
    dtype = torch.float16 if halves and expected.dtype == torch.float32 else expected.dtype
    if (found.shape, found.dtype) != (expected.shape, dtype):
        kind = "dtype" if found.shape == expected.shape else "shape"
        yield f"wrong {kind}: {name}: expected {_layout(expected)}, found {_layout(found)[:100]}"
    elif not_finite({name: found}):
        yield f"not finite: {name} holds a NaN or an infinity"


def _layout(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
