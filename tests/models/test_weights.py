"""Weights to bytes and back: equal bits, one error for all that does not fit, nothing copied unless all fits."""

from __future__ import annotations

import json
import pickle
import struct
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from regard.errors import ModelFolderError
from regard.models.weights import halved, is_halved, load_weights, not_finite, read_weights, save_weights, tied_names


class Small(nn.Module):
    """A tied pair (`embed` and `out`), a buffer, several dtypes, an empty tensor and a scalar."""

    def __init__(self, size: int = 3, tied: bool = True, extra: bool = False) -> None:
        super().__init__()
        self.out = nn.Linear(size, 7, bias=False)
        self.embed = nn.Embedding(7, size)
        if tied:
            self.out.weight = self.embed.weight
        self.norm = nn.LayerNorm(size)
        self.narrow = nn.Parameter(torch.randn(2, 2, dtype=torch.bfloat16))
        self.scale = nn.Parameter(torch.randn(()))
        self.register_buffer("steps", torch.arange(3))
        self.register_buffer("empty", torch.empty(0, 4))
        self.register_buffer("nothing", torch.empty(0, 4))
        if extra:
            self.extra = nn.Linear(2, 2)


def bits(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size, bytes]]:
    return {
        name: (
            one.dtype,
            one.shape,
            bytes(one.contiguous().reshape(-1).view(torch.uint8).tolist()) if one.numel() else b"",
        )
        for name, one in tensors.items()
    }


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def faults_of(model: nn.Module, path: Path) -> list[str]:
    """The lines of the error; the model must be as it was."""
    before = bits(model.state_dict())
    with pytest.raises(ModelFolderError) as caught:
        load_weights(model, path)
    assert caught.value.where == str(path)
    assert bits(model.state_dict()) == before
    return caught.value.message.split("\n  ")


def with_header(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize("tied", [True, False])
def test_load_gives_equal_bits(tmp_path: Path, tied: bool) -> None:
    saved, loaded = Small(tied=tied), Small(tied=tied)
    path = write(tmp_path / "model.safetensors", save_weights(saved))
    load_weights(loaded, path)
    assert bits(loaded.state_dict()) == bits(saved.state_dict()) == bits(read_weights(path))
    assert (loaded.out.weight is loaded.embed.weight) == tied


def test_tied_tensors_are_stored_once() -> None:
    model = Small()
    assert tied_names(model.state_dict()) == {"out.weight": "embed.weight"}
    content = save_weights(model)
    assert load(content).keys() == model.state_dict().keys() - {"out.weight"}
    assert len(content) < len(save_weights(Small(tied=False)))


def test_read_weights_keeps_names_and_ties(tmp_path: Path) -> None:
    tensors = read_weights(write(tmp_path / "file", save_weights(Small())))
    assert tensors["out.weight"] is tensors["embed.weight"]
    fresh = Small()
    fresh.load_state_dict(tensors)
    assert bits(fresh.state_dict()) == bits(tensors)
    assert all(tensor.data_ptr() % 16 == 0 for tensor in tensors.values())  # its own memory, not the mapped file


def test_equal_tensors_give_equal_bytes() -> None:
    model = Small()
    tensors = model.state_dict()
    backwards = {name: tensors[name] for name in reversed(tensors)}
    assert save_weights(model) == save_weights(tensors) == save_weights(backwards)
    copy = Small()
    copy.load_state_dict(tensors)
    assert save_weights(copy) == save_weights(model)


def test_views_of_one_memory_become_tensors_of_their_own() -> None:
    flat = torch.arange(12.0)
    views = {
        "all": flat,
        "table": flat.view(3, 4),
        "turned": flat.view(3, 4).T,
        "start": flat[:6],
        "middle": flat[3:9],
        "repeated": flat[:1].expand(4),
    }
    assert bits(load(save_weights(views))) == bits(views)


def test_a_model_in_training_is_saved_without_gradients() -> None:
    model = Small()
    model.out(torch.randn(2, 3)).sum().backward()
    assert not any(tensor.requires_grad for tensor in load(save_weights(model)).values())


def test_one_error_lists_every_difference(tmp_path: Path) -> None:
    tensors = Small(extra=True).state_dict()
    tensors["norm.weight"] = torch.tensor([1.0, float("nan"), 1.0])
    tensors["norm.bias"] = torch.tensor([1.0, float("-inf"), 1.0])
    tensors["narrow"] = tensors["narrow"].float()
    tensors["steps"] = torch.arange(4)
    tensors["scale"] = tensors["scale"].reshape(1)
    del tensors["empty"]
    path = write(tmp_path / "model.safetensors", save_weights(tensors))
    assert faults_of(Small(), path) == [
        "8 differences to the model:",
        "missing: empty float32 [0, 4]",
        "unexpected: extra.bias",
        "unexpected: extra.weight",
        "wrong dtype: narrow: expected bfloat16 [2, 2], found float32 [2, 2]",
        "not finite: norm.bias holds a NaN or an infinity",
        "not finite: norm.weight holds a NaN or an infinity",
        "wrong shape: scale: expected float32 [], found float32 [1]",
        "wrong shape: steps: expected int64 [3], found int64 [4]",
    ]


def test_a_size_that_differs(tmp_path: Path) -> None:
    faults = faults_of(Small(size=4), write(tmp_path / "file", save_weights(Small(size=3))))
    assert faults[1] == "wrong shape: embed.weight: expected float32 [7, 4], found float32 [7, 3]"
    assert len(faults) == 4


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_not_tied_do_not_mix(tmp_path: Path, tied: bool) -> None:
    expected, found = ("embed.weight", "a tensor of its own")[:: 1 if tied else -1]
    path = write(tmp_path / "file", save_weights(Small(tied=not tied)))
    assert faults_of(Small(tied=tied), path)[1:] == [f"wrong tie: out.weight: expected {expected}, found {found}"]


def test_not_finite() -> None:
    tensors = {"a": torch.ones(3), "b": torch.tensor([1, float("inf")]), "c": torch.arange(3), "d": torch.empty(0)}
    assert not_finite(tensors) == ["b"]


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HOSTILE = {
    "empty": b"",
    "short": b"\0\0\0",
    "a pickle": pickle.dumps({"embed.weight": [1.0]}),
    "a zip, as torch.save writes": b"PK\x03\x04" + bytes(100),
    "header longer than the file": struct.pack("<Q", 2**63) + b"{}",
    "not UTF-8": with_header(b"\xff\xfe"),
    "not JSON": with_header(b"weights"),
    "NaN": with_header(b'{"a": NaN}'),
    "deep": with_header(b'{"a":' * 100_000),
    "overlap": with_header(json.dumps({"a": ONE, "b": ONE}).encode(), bytes(4)),
    "repeated name": with_header(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "2^63 elements": with_header(json.dumps({"a": {**ONE, "shape": [2**63]}}).encode(), bytes(4)),
    "2^62 x 4 elements": with_header(json.dumps({"a": {**ONE, "shape": [2**62, 4]}}).encode(), bytes(4)),
    "negative offset": with_header(json.dumps({"a": {**ONE, "data_offsets": [-4, 0]}}).encode(), bytes(4)),
    "unknown dtype": with_header(json.dumps({"a": {**ONE, "dtype": "O"}}).encode(), bytes(4)),
    "dtype that torch lacks": with_header(
        json.dumps({"steps": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}).encode(), bytes(3)
    ),
    "bytes left over": with_header(json.dumps({"a": ONE}).encode(), bytes(5)),
    "too few bytes": with_header(json.dumps({"a": ONE}).encode(), bytes(3)),
    **{
        f"tied is {tied}": with_header(json.dumps({"__metadata__": {"tied": tied}, "a": ONE}).encode(), bytes(4))
        for tied in ("", "[1]", "7", '{"b": "c"}', '{"b": 7}', '{"b": ["a"]}', '{"a": "a"}', '{"b": "c", "c": "a"}')
    },
    "tied is deep": with_header(json.dumps({"__metadata__": {"tied": "[" * 100_000}, "a": ONE}).encode(), bytes(4)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "model.safetensors", content)
    assert faults_of(Small(), path)[0].startswith("expected a safetensors file")
    if "F6" not in repr(content):
        with pytest.raises(ModelFolderError):
            read_weights(path)


def test_many_unknown_names_are_refused_fast_and_briefly(tmp_path: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"name{number}": empty for number in range(100_000)}).encode()
    path = write(tmp_path / "model.safetensors", with_header(header))
    started = time.perf_counter()
    faults = faults_of(Small(), path)
    assert time.perf_counter() - started < 5
    assert faults[0].startswith("100,0")
    assert len(faults) < 300


def test_no_file(tmp_path: Path) -> None:
    assert "found a fault" in faults_of(Small(), tmp_path / "nothing")[0]
    assert "found a fault" in faults_of(Small(), tmp_path)[0]


def test_a_truncated_file(tmp_path: Path) -> None:
    content = save_weights(Small())
    for length in range(0, len(content), 7):
        assert "found a fault" in faults_of(Small(), write(tmp_path / "file", content[:length]))[0]


class Plain(nn.Module):
    """A tied pair, a buffer of integers, an empty tensor; all that floats is float32."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 7, bias=False)
        self.embed = nn.Embedding(7, 3)
        self.out.weight = self.embed.weight
        self.scale = nn.Parameter(torch.tensor([1.0, 65_504.0, -(2.0**-24), 1e-9, 0.1]))
        self.register_buffer("steps", torch.arange(2**40, 2**40 + 3))
        self.register_buffer("empty", torch.empty(0, 4))


def as_half(value: float) -> float:
    """Through Python's own 16 bits."""
    return float(struct.unpack("<e", struct.pack("<e", value))[0])


def test_halves_are_the_nearest_and_come_back_as_float32(tmp_path: Path) -> None:
    model, loaded = Plain(), Plain()
    path = write(tmp_path / "file", save_weights(halved(model.state_dict())))
    assert is_halved(path)
    assert not is_halved(write(tmp_path / "whole", save_weights(model)))
    assert tied_names(halved(model.state_dict())) == {"out.weight": "embed.weight"}
    load_weights(loaded, path)
    assert loaded.scale.tolist() == [as_half(value) for value in model.scale.tolist()] != model.scale.tolist()
    assert loaded.embed.weight.flatten().tolist() == [as_half(each) for each in model.embed.weight.flatten().tolist()]
    assert loaded.out.weight is loaded.embed.weight
    assert loaded.steps.tolist() == model.steps.tolist()
    assert bits(loaded.state_dict())["scale"][0] == torch.float32
    assert save_weights(halved(loaded.state_dict())) == path.read_bytes()  # what is halved stays as it is


def test_a_file_is_all_float16_or_none_of_it(tmp_path: Path) -> None:
    tensors = Plain().state_dict()
    mixed = {**halved(tensors), "scale": tensors["scale"]}
    path = write(tmp_path / "mixed", save_weights(mixed))
    assert not is_halved(path)
    shape = "wrong dtype: embed.weight: expected float32 [7, 3], found float16 [7, 3]"
    assert shape in faults_of(Plain(), path)
    steps = {**halved(tensors), "steps": torch.zeros(3, dtype=torch.float16)}
    wrong = "wrong dtype: steps: expected int64 [3], found float16 [3]"
    assert faults_of(Plain(), write(tmp_path / "steps", save_weights(steps)))[1:] == [wrong]
    double = {name: one.double() if one.is_floating_point() else one for name, one in tensors.items()}
    assert len(faults_of(Plain(), write(tmp_path / "double", save_weights(double)))) > 1
    whole = {**halved(tensors), "scale": torch.ones(5, dtype=torch.int64)}
    wrong = "wrong dtype: scale: expected float32 [5], found int64 [5]"
    assert faults_of(Plain(), write(tmp_path / "integers", save_weights(whole)))[1:] == [wrong]
    lost = {**halved(tensors), "scale": torch.full((5,), float("inf"), dtype=torch.float16)}
    assert "not finite: scale" in faults_of(Plain(), write(tmp_path / "infinite", save_weights(lost)))[1]


def test_what_float16_cannot_hold_is_named() -> None:
    with pytest.raises(ModelFolderError, match=r"at most 65,504:\n  b holds 65520\n"):
        halved({"a": torch.ones(2), "b": torch.tensor([1.0, -65_520.0]), "c": torch.tensor(65_519.0)})
    with pytest.raises(ModelFolderError, match=r"wanted in float32, found float64 \[2\], bfloat16 \[1\]"):
        halved({"a": torch.ones(2).double(), "b": torch.ones(1).bfloat16(), "c": torch.arange(2)})


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_whether_a_hostile_file_is_halved(tmp_path: Path, content: bytes) -> None:
    """Told from the header, where that can be read; what is wrong with the rest, loading says."""
    with suppress(ModelFolderError):
        assert not is_halved(write(tmp_path / "model.safetensors", content))
