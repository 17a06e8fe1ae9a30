"""Recipes: TOML and back, strict types, all faults at once, and the nearest key for a misspelled one."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.config import (
    CHOSEN,
    NAMES,
    Data,
    Decoding,
    Model,
    Recipe,
    Settings,
    Side,
    Tokenizers,
    Training,
    build_recipe,
    build_section,
    check_given,
    check_key,
    known_keys,
    known_settings,
    merge,
    parse_override,
    parse_toml,
    read_toml,
    toml_value,
)
from regard.errors import RecipeError

SIDE = {"kind": "characters", "vocabulary": 100}
FULL: Settings = {
    "data": {},
    "tokenizer": {"source": SIDE, "target": SIDE},
    "model": {"layers": 2, "size": 16, "heads": 4, "inner": 32, "dropout": 0.1},
    "training": {"steps": 10, "learning_rate": 1e-3, "warmup": 1, "checkpoint_every": 5, "metric": "wer"},
    "decoding": {"limit_factor": 1.5},
}


def full(*overrides: str) -> Settings:
    """A complete recipe with some settings changed."""
    changed = FULL
    for override in overrides:
        changed = merge(changed, parse_override(override))
    return changed


def with_value(key: str, value: Any) -> Settings:
    for part in reversed(key.split(".")):
        value = {part: value}
    return merge(FULL, value)


def refused(chosen: Settings) -> str:
    with pytest.raises(RecipeError) as caught:
        build_recipe(chosen)
    return str(caught.value)


# Quotes, backslashes, control characters, DEL, line separators, and what needs two UTF-16 units.
ODD = st.text(
    st.one_of(
        st.sampled_from("\"\\'\x00\x1f\x7f\x80\x85\n\r\t\u2028\ufeff😀#=[]"), st.characters(exclude_categories=["Cs"])
    )
)


def limited(types: type) -> st.SearchStrategy[Any]:
    """Values a field of that section may take: within its bounds, every name, and None where it is allowed."""
    chosen = {}
    for name, field in types.model_fields.items():
        chosen[name] = field_values(types.__name__, name, field.annotation)
    return st.fixed_dictionaries(chosen)


NAMED = {
    "architecture": NAMES["decoder"],  # what both sides can be made of
    "decoder_norm": NAMES["norm"],
    "decoder_positions": NAMES["positions"],
    **NAMES,
}


def field_values(section: str, name: str, annotation: Any) -> st.SearchStrategy[Any]:
    number = st.floats(1e-9, 0.5)
    special = {
        ("Model", "size"): st.just(12),
        ("Model", "heads"): st.sampled_from([1, 2, 3, 4, 6, 12]),
        ("Model", "kernel"): st.sampled_from([1, 3, 7]),
        ("Model", "look"): st.just("after"),  # input_feeding needs it
        ("Model", "share_embeddings"): st.sampled_from(["none", "output"]),
        ("Data", "pairs"): st.lists(ODD, max_size=3),
        ("Data", "valid"): st.lists(ODD, max_size=3),
        ("Data", "alignments"): st.lists(ODD, max_size=3),
        ("Data", "columns"): st.none() | st.lists(ODD, min_size=2, max_size=2),
        ("Data", "task"): st.none() | ODD,
        ("Data", "separator"): ODD,
        ("Training", "begin_with"): st.none() | ODD,
        ("Training", "guide"): st.just(0.0),  # more needs alignments
        ("Training", "boards"): st.lists(st.sampled_from(["tensorboard", "trackio"]), max_size=2),
    }
    if (section, name) in special:
        return special[section, name]
    if section == "Model" and (names := NAMED.get(name)):
        return st.sampled_from([*names, None] if name.startswith(("decoder", "encoder")) else names)
    text = str(annotation)
    options = [st.none()] if "None" in text else []
    if "Literal" in text:
        return st.sampled_from(annotation.__args__)
    if annotation is bool:
        return st.booleans()
    return st.one_of(*options, number if "float" in text else st.integers(8, 900))


RECIPES = st.fixed_dictionaries(
    {
        "data": limited(Data),
        "tokenizer": st.fixed_dictionaries({"source": limited(Side), "target": limited(Side), "joint": st.booleans()}),
        "model": limited(Model),
        "training": limited(Training),
        "decoding": limited(Decoding),
    }
)


@settings(max_examples=60)
@given(RECIPES)
def test_any_recipe_survives_toml(chosen: Settings) -> None:
    recipe = build_recipe(chosen)
    text = recipe.to_toml()
    assert build_recipe(parse_toml(text, "recipe.toml")) == recipe
    assert text.encode().decode() == text


@given(ODD)
def test_any_text_survives_an_override(text: str) -> None:
    assert parse_override(f"data.task={toml_value(text)}") == {"data": {"task": text}}


def test_toml_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    recipe = build_recipe(full("training.clip=none", 'data.pairs=["a\\"b\\u007f"]'))
    path.write_bytes(b"\xef\xbb\xbf" + recipe.to_toml().replace("\n", "\r\n").encode())  # as Windows may write it
    assert build_recipe(read_toml(path)) == recipe
    assert recipe.training.clip is None
    assert recipe.training.max_minutes is None


@pytest.mark.parametrize(
    "content", [b"[model\n", b"\xff", b"a = " + b"[" * 5000, b"a = " + b"1" * 5000, b"a = 1\na = 2"]
)
def test_what_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"mine\.toml"):
        read_toml(path)
    for missing in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(RecipeError, match="cannot be read"):
            read_toml(missing)


TYPOS = {
    "data.hold_uot": "data.hold_out",
    "tokenizer.jont": "tokenizer.joint",
    "tokenizer.source.vocab": "tokenizer.source.vocabulary",
    "tokenizer.target.knd": "tokenizer.target.kind",
    "model.layer": "model.layers",
    "training.layers": "model.layers",  # another section
    "modle.layers": "model.layers",
    "training.lerning_rate": "training.learning_rate",
    "decoding.beams": "decoding.beam",
}


@pytest.mark.parametrize("key", TYPOS)
def test_a_typo_names_the_nearest_key(key: str) -> None:
    hint = f"did you mean {TYPOS[key]}?"
    with pytest.raises(RecipeError) as caught:
        check_key(key)
    assert hint in str(caught.value)
    with pytest.raises(RecipeError) as caught:
        parse_override(f"{key}=1")
    assert hint in str(caught.value)
    if key != "modle.layers":
        assert f"unknown setting {key!r}: {hint}" in refused(with_value(key, 1))


def test_typos_without_a_section() -> None:
    assert "unknown setting 'layers': did you mean model.layers?" in refused({**FULL, "layers": 3})
    assert "unknown setting 'modle': did you mean model?" in refused({**FULL, "modle": {"layers": 3}})
    assert "regard info --settings" in refused({**FULL, "qqqq": 3})


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("model.layers", "4", "model.layers: Input should be a valid integer, found '4'"),
        ("model.layers", 4.0, "valid integer, found 4.0"),
        ("model.layers", True, "valid integer, found True"),
        ("model.layers", 10**9, "less than or equal to 1000, found 1000000000"),
        ("model.layers", -1, "greater than or equal to 1, found -1"),
        ("model.heads", 3, "model.heads: Input should divide model.size, which is 16, found 3"),
        ("model.cell", "rnn", "model.cell: Input should be 'gru' or 'lstm', found 'rnn'"),
        ("model.decoder_norm", "mean", "'switchable' or 'none', found 'mean'"),
        ("model.architecture", "mamba", "'transformer', 'recurrent' or 'convolutional', found 'mamba'"),
        ("model.kernel", 4, "model.kernel: Input should be odd"),
        ("model.input_feeding", True, "should be false with look=before"),
        ("model.gated", 1, "valid boolean, found 1"),
        ("model.gated", "true", "valid boolean, found 'true'"),
        ("model.dropout", 1.0, "less than 1"),
        ("model.share_embeddings", "all", "needs tokenizer.joint=true"),
        ("training.learning_rate", math.nan, "finite number, found nan"),
        ("training.learning_rate", math.inf, "finite number, found inf"),
        ("training.learning_rate", "fast", "valid number, found 'fast'"),
        ("training.learning_rate", True, "valid number, found True"),
        ("training.steps", 10**12, "training.steps: Input should be less than or equal to 1000000000"),
        ("training.clip", 0, "greater than 0"),
        ("data.pairs", "a.tsv", "data.pairs: Input should be a valid tuple, found 'a.tsv'"),
        ("data.pairs", [1], "data.pairs.0: Input should be a valid string, found 1"),
        ("data.pairs", ["\ud800"], "half of a surrogate pair"),
        ("data.columns", ["1"], "data.columns.1: a value is wanted, found none"),
        ("data.task", 3, "valid string, found 3"),
        ("tokenizer.source", {}, "tokenizer.source.kind"),
    ],
)
def test_values_that_are_refused(key: str, value: Any, wanted: str) -> None:
    chosen = {**FULL, "tokenizer": {**FULL["tokenizer"], "source": {}}} if value == {} else with_value(key, value)
    assert wanted in refused(chosen)


def test_all_faults_at_once_and_shortened() -> None:
    chosen = full("model.layers=1000000000", "model.heads=3", "training.seed=-1", "training.learning_rate=nan")
    chosen = merge(chosen, {"data": {"on_bad_line": "x" * 10**6, "y" * 10**6: 1}, "decoding": {"beam": "5"}})
    text = refused(chosen)
    faults = text.split("\n")
    assert len(faults) == 7
    for key in ("model.layers", "model.heads", "training.seed", "training.learning_rate", "data.on_bad_line"):
        assert sum(key + ":" in fault for fault in faults) == 1
    assert len(text) < 1200
    assert "thousands of digits" in refused(with_value("model.layers", 10**5000))
    with pytest.raises(RecipeError) as caught:
        parse_override("z" * 10**6)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("section", ["data", "tokenizer", "model", "training", "decoding"])
@pytest.mark.parametrize("value", [5, "x", [1], None])
def test_a_section_that_is_no_table(section: str, value: Any) -> None:
    wanted = f"{section}: Input should be a table of settings"
    assert wanted in refused({**FULL, section: value})
    with pytest.raises(RecipeError, match=wanted):
        check_given({section: value})
    with pytest.raises(RecipeError, match="data: Input should be a table"):
        build_section(Data, value, "data")


def test_sizes_too_large_together() -> None:
    assert "weights" in refused(full("model.layers=1000", "model.size=65536", "model.inner=1048576"))


def test_what_is_given_is_checked_without_the_rest() -> None:
    check_given({})
    check_given({"model": {"heads": 3}})  # the size is not known yet
    with pytest.raises(RecipeError) as caught:
        check_given({"model": {"layers": 0, "hedas": 2}, "training": {"steps": "x"}, "data": {"columns": ["1"]}})
    assert str(caught.value).count("\n") == 3
    with pytest.raises(RecipeError, match=r"^data\.longest: .*found 0$"):
        build_section(Data, {"longest": 0}, "data")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("model.layers=4", "layers", 4),
        (" model . layers = 4 ", "layers", 4),
        ("training.learning_rate=1", "learning_rate", 1.0),
        ("training.learning_rate=3e-4", "learning_rate", 3e-4),
        ("model.norm=rms", "norm", "rms"),
        ('model.norm="rms"', "norm", "rms"),
        ("model.gated=true", "gated", True),
        ("model.norm_first=false", "norm_first", False),
        ("training.clip=none", "clip", None),
        ("training.max_minutes=2", "max_minutes", 2.0),
        ("model.positions=none", "positions", "none"),
        ("data.pairs=['a b.tsv', 'c']", "pairs", ("a b.tsv", "c")),
        ("data.separator=|", "separator", "|"),
        ("data.task=a=b", "task", "a=b"),
        ("data.task=a\ndata.hold_out=1", "task", "a\ndata.hold_out=1"),
        ("data.task='x'\nother=1", "task", "'x'\nother=1"),
        pytest.param("data.task=" + "[" * 5000, "task", "[" * 5000, id="deep"),
    ],
)
def test_overrides(text: str, key: str, value: Any) -> None:
    section = getattr(build_recipe(full(text)), text.split(".")[0].strip())
    found = getattr(section, key)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["model.layers", "layers=4", "=4", "model.=4", ".layers=4", "", "model=4", "model.x.y=1"]
)
def test_overrides_that_name_no_setting(text: str) -> None:
    with pytest.raises(RecipeError, match=r"--set wants section\.key=value|unknown setting"):
        parse_override(text)


def test_merge() -> None:
    base: Settings = {"model": {"layers": 2, "size": 8}, "data": {"pairs": ["a"]}}
    over: Settings = {"model": {"layers": 3}, "data": {"pairs": ["b"]}, "training": {"steps": 1}}
    assert merge(base, over) == {"model": {"layers": 3, "size": 8}, "data": {"pairs": ["b"]}, "training": {"steps": 1}}
    assert base["model"]["layers"] == 2
    assert merge(base, {}) == base == merge({}, base)
    assert merge(base, {"model": 5})["model"] == 5
    assert merge({"model": 5}, base)["model"] == base["model"]


def test_known_keys_are_those_of_a_recipe() -> None:
    dump = build_recipe(FULL).model_dump()
    found = [f"{name}.{key}" for name in dump for key, value in dump[name].items() if not isinstance(value, dict)]
    sides = [f"tokenizer.{side}.{key}" for side in ("source", "target") for key in Side.model_fields]
    assert sorted(known_keys()) == sorted(found + sides)
    assert set(CHOSEN) < set(known_keys())
    for key in known_keys():
        check_key(key)


def test_every_setting_is_explained() -> None:
    explained = known_settings()
    assert [setting.key for setting in explained] == known_keys()
    assert all(setting.meaning and setting.default for setting in explained)
    defaults = {setting.key: setting.default for setting in explained}
    assert defaults["model.layers"] == defaults["data.hold_out"] == "from the data"
    assert (defaults["training.clip"], defaults["training.patience"]) == ("1.0", '"none"')
    assert (defaults["model.gated"], defaults["model.norm"]) == ("false", '"layer"')
    for key, default in defaults.items():  # what is shown can be typed
        if default not in ("from the data", '"none"'):
            build_recipe(full(f"{key}={default}"))


def test_a_recipe_is_frozen_and_equal_by_value() -> None:
    recipe = build_recipe(FULL)
    assert recipe == Recipe.model_validate(recipe.model_dump())
    with pytest.raises(ValueError, match="frozen"):
        recipe.model.layers = 5  # type: ignore[misc]
    assert Tokenizers(source=Side(**SIDE), target=Side(**SIDE)) == recipe.tokenizer
