"""In which numbers is trained: what is asked for, and what could be faster."""

from __future__ import annotations

import pytest
import torch

from regard.device import choose_precision, could_be_faster, has_bfloat16

CPU = torch.device("cpu")


def test_a_cpu_computes_in_float32_unless_it_is_told() -> None:
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize("units", [set(), {"avx512_bf16"}, {"amx_bf16"}])
def test_a_processor_is_fastest_with_what_it_has_units_for(units: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    there = {unit: unit in units for unit in ("avx2", "avx512_bf16", "amx_bf16")}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there)
    assert has_bfloat16(CPU) == bool(units)
    assert could_be_faster(CPU, torch.float32) == ("bfloat16" if units else None)
    assert could_be_faster(CPU, torch.bfloat16) == (None if units else "float32")
    assert could_be_faster(CPU, torch.float16) == ("bfloat16" if units else "float32")
    assert could_be_faster(torch.device("mps"), torch.float32) is None


def test_a_processor_that_names_no_units_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert could_be_faster(CPU, torch.float32) is None
