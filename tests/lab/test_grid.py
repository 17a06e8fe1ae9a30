"""From --vary to variants."""

from __future__ import annotations

import re

import pytest

from regard.errors import RecipeError, UsageError
from regard.lab.grid import FIXED, grid, named


def test_every_combination_in_order() -> None:
    keys, variants = grid(["model.norm=layer, rms", "model.layers=1,2"])
    assert keys == ["model.norm", "model.layers"]
    assert [variant.name for variant in variants] == ["layer, 1", "layer, 2", "rms, 1", "rms, 2"]
    assert [variant.folder for variant in variants] == ["layer-1", "layer-2", "rms-1", "rms-2"]
    assert variants[2].settings == {"model": {"norm": "rms", "layers": 1}}


def test_values_are_typed_as_set_takes_them() -> None:
    _, variants = grid(["model.bias=true,false", "training.learning_rate=1e-3", "training.clip=none"])
    assert variants[1].settings == {"model": {"bias": False}, "training": {"learning_rate": 1e-3, "clip": "none"}}


def test_joined_settings_vary_together() -> None:
    keys, variants = grid(["model.norm=layer,rms;model.bias=true,false", "training.steps=5"])
    assert keys == ["model.norm", "model.bias", "training.steps"]
    assert [variant.name for variant in variants] == ["layer, true, 5", "rms, false, 5"]
    assert variants[1].settings == {"model": {"norm": "rms", "bias": False}, "training": {"steps": 5}}


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        ([], "nothing varies"),
        (["model.norm"], r"wants section\.key=value,value, found 'model\.norm'[\s\S]*for example"),
        (["model.norm=layer,,rms"], "wants section"),
        (["model.norm="], "wants section"),
        (["model.nrom=layer"], r"unknown setting 'model\.nrom'\n  fix: did you mean model\.norm\?"),
        (["norm=layer"], "unknown setting"),
        (["model.norm=layer,layer"], "names layer twice"),
        (["model.norm=layer", "model.norm=rms"], r"names model\.norm twice"),
        (["model.norm=layer,rms;model.bias=true"], "as many values each"),
        (["training.seed=1,2"], "--seeds"),
        (["data.pairs=a.tsv,b.tsv"], "same data"),
        (["decoding.beam=1,5"], "greedy"),
    ],
)
def test_a_mistake_says_what_is_wanted(vary: list[str], told: str) -> None:
    with pytest.raises((UsageError, RecipeError), match=told):
        grid(vary)


def test_what_cannot_vary_is_there() -> None:
    from regard.config import known_keys

    assert set(FIXED) <= set(known_keys())


def test_folders_are_plain_and_all_different() -> None:
    names = ["a/b", "a b", "../..", "", "ünï", "a-b", "x" * 200, "x" * 201, "\n"]
    folders = [variant.folder for variant in named((name, {}) for name in names)]
    assert len(set(folders)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", folder) and not folder.startswith(".") for folder in folders)
    assert max(map(len, folders)) < 70
