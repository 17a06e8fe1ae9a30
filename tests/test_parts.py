"""Parts of the user's own (claim N26): in three lines, from a file of theirs, never from a model folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from regard.config import NAMES, Model
from regard.data.tokens import Tokens
from regard.errors import RecipeError, UsageError
from regard.layers.norms import Norm
from regard.models import build
from regard.models.interface import Encoder, Memory
from regard.parts import TABLES, add_part
from regard.translator import Translator
from small import saved, untrained

PAGE = Path(__file__).parents[1] / "docs" / "own-parts.md"
SETTINGS = {"layers": 1, "size": 8, "heads": 2, "inner": 8, "dropout": 0.0}


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    """Other tests know the parts of the package alone."""
    tables = {kind: dict(table) for kind, (_, table) in TABLES.items()}
    names = {setting: list(known) for setting, known in NAMES.items()}
    yield
    for kind, (setting, table) in TABLES.items():
        table.clear()
        table.update(tables[kind])
        NAMES[setting][:] = names[setting]


class Cosine(nn.Module):
    """The angle between query and key."""

    factor = None

    def __init__(self, head_size: int) -> None:
        super().__init__()

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).transpose(-2, -1)


class Halved(Norm):
    """Half of everything."""

    def forward(self, x: Tensor, is_real: Tensor | None = None) -> Tensor:
        return x / 2


class Bag(Encoder):
    """Embeddings as they are."""

    longest = None

    def __init__(self, vocabulary: int, size: int) -> None:
        super().__init__()
        self.size, self.table = size, nn.Embedding(vocabulary, size)

    def forward(self, source: Tokens) -> Memory:
        return Memory(self.table(source.ids), source.lengths)


def test_n26_a_score_a_norm_and_an_encoder_of_the_users_own() -> None:
    add_part("score", "cosine", Cosine)
    add_part("norm", "halved", lambda features, groups: Halved())
    add_part("encoder", "bag", lambda model, vocabulary: Bag(vocabulary, model.size))
    settings = {**SETTINGS, "score": "cosine", "norm": "halved", "encoder": "bag"}
    model = build(Model.model_validate(settings), 13, 13)
    assert isinstance(model.encoder, Bag)
    assert isinstance(model.decoder.get_submodule("blocks.0.look.attend.score"), Cosine)
    assert isinstance(model.decoder.get_submodule("blocks.0.around_look.norm"), Halved)
    source, previous = Tokens.of([[4, 5], [6]]), Tokens.of([[1, 4], [1]])
    alone = model(Tokens.of([[6]]), Tokens.of([[1]]))
    assert_close(model(source, previous)[1, 0], alone[0, 0])
    with pytest.raises(RecipeError, match="Bag has none"):
        build(Model.model_validate({**settings, "share_embeddings": "all"}), 13, 13)


def test_positions_inside_attention_are_positions_too() -> None:
    from regard.attention.relative import Relative

    class Near(Relative):
        def bias(self, query: Tensor, first: int, keys: int) -> Tensor:
            distance = torch.arange(first, first + query.shape[2])[:, None] - torch.arange(keys)
            return -distance.abs()[None, None].to(query.dtype)

    add_part("relative", "near", lambda heads, head_size, causal: Near())
    model = build(Model.model_validate({**SETTINGS, "positions": "near"}), 13, 13).eval()
    assert isinstance(model.encoder.get_submodule("blocks.0.attention.relative"), Near)
    ids = torch.tensor([[4, 5, 6, 7]])
    turned = model.encode(Tokens(ids.flip(1), torch.tensor([4]))).states.flip(1)
    assert_close(turned, model.encode(Tokens(ids, torch.tensor([4]))).states)  # distance has no direction here


def test_what_cannot_be_added() -> None:
    with pytest.raises(UsageError, match="no kind of part 'layer'") as caught:
        add_part("layer", "mine", Cosine)
    assert "score" in caught.value.fix
    with pytest.raises(UsageError, match=r"there is a part model\.score=dot already"):
        add_part("score", "dot", Cosine)
    with pytest.raises(UsageError, match=r"model\.positions=rotary already"):
        add_part("positions", "rotary", Cosine)


def test_n26_a_model_folder_brings_no_code(tmp_path: Path) -> None:
    add_part("score", "cosine", Cosine)
    folder = saved(tmp_path / "model", untrained({"model": {"score": "cosine"}}))
    assert [*Translator.load(folder).translate(["fox"])]
    TABLES["score"][1].pop("cosine")
    NAMES["score"].remove("cosine")
    with pytest.raises(RecipeError, match=r"model\.score: Input should be .*found 'cosine'") as caught:
        Translator.load(folder)
    assert "recipe.toml" in str(caught.value)
    assert "regard.add_part" in caught.value.fix


def test_the_file_of_the_page_is_regard_with_one_score_more(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    (tmp_path / "pairs.tsv").write_text("".join(f"a{i} b\tb a{i}\n" for i in range(30)), encoding="utf-8")
    options = ["--set", "model.score=cosine", "--set", "training.steps=2", "--set", "model.size=8", "--out", "run"]
    for command in (["train", "pairs.tsv", *options], ["translate", "run", "pairs.tsv"]):
        done = subprocess.run(
            [sys.executable, "mine.py", *command],
            cwd=tmp_path,
            env={**os.environ, "REGARD_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert len(done.stdout.split("\n")) == 31
