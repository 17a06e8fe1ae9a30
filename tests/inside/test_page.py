"""The page of a look as a text: what is packed in it, how exactly, how large; that nothing in it can run or load.

One smoke test opens it in a browser; tests/inside/test_page_browser.py drives all of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import regard.inside
from browsing import HOSTILE, Watched, chromium, written
from made_up import made_up, side
from regard.errors import UsageError
from regard.inside.pack import bytes_of
from regard.inside.page import SCRIPTS, embedded, page
from regard.inside.result import Look

VIEWER = Path(regard.inside.__file__).parent / "viewer"
EVIL = (
    *HOSTILE,
    "<!--",
    "\ud800",
    "__proto__",
    "",
)


def halves(content: bytes, top: float) -> list[float]:
    return [share * top for (share,) in struct.iter_unpack("<e", content)]


class Read(HTMLParser):
    """What a browser makes of a page: its elements, and the text of its scripts by id."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = str(dict(attrs).get("id") or tag) if tag in {"script", "style"} else ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data

    @property
    def data(self) -> Any:
        return json.loads(self.scripts["data"])

    def numbers(self, packed: dict[str, Any], bits: int) -> list[float]:
        """The numbers of a block, by the formats' definitions."""
        content = base64.b64decode(self.scripts[f"block{packed['block']}"])
        if bits == 8:
            return [(code / 255) ** 2 * packed["top"] for code in content]
        return halves(content, packed["top"])

    def weights(self, attention: dict[str, Any], name: str = "weights") -> Tensor:
        """Of an attention, [heads, rows, columns]; a triangle is filled up with zeros."""
        rows, columns, heads = attention["rows"], attention["columns"], len(attention["heads"])
        if name == "norms" and "lengths" in attention["norms"]:
            content = base64.b64decode(self.scripts[f"block{attention['norms']['lengths']}"])
            lengths = torch.tensor(halves(content, attention["norms"]["top"])).view(heads, 1, columns)
            return lengths * self.weights(attention)
        full = torch.zeros(heads, rows, columns)
        numbers = iter(self.numbers(attention[name], self.data["bits"]))
        for head in range(heads):
            for row in range(rows):
                for column in range(row + 1 if attention["triangle"] else columns):
                    full[head, row, column] = next(numbers)
        assert next(numbers, None) is None
        return full


def long(length: int, layers: int = 6, heads: int = 8, norms: bool = False) -> Look:
    words = tuple(f"w{place}" for place in range(length - 1))
    return made_up(side(words), side(words), layers=layers, heads=heads, norms=norms)


@pytest.mark.parametrize("free", [False, True])
def test_numbers_have_three_digits_and_zeros_are_exact(free: bool) -> None:
    look = made_up(norms=True)
    if free:  # norms that are not weights times a length of each key
        rough = tuple(replace(each, norms=each.weights * torch.rand(each.weights.shape)) for each in look.attentions)
        look = replace(look, attentions=rough)
    read = Read(page([look]))
    assert read.data["bits"] == 16
    for each, attention in zip(look.attentions, read.data["looks"][0]["attentions"], strict=True):
        assert attention["triangle"] == (each.part == "decoder")
        assert each.norms is not None
        for wanted, found in ((each.weights, read.weights(attention)), (each.norms, read.weights(attention, "norms"))):
            assert torch.all((found == 0) | (wanted > 0))
            large = wanted > 1e-4 * wanted.max()
            assert torch.all((found - wanted).abs()[large] <= wanted[large] / 1000)
            assert torch.allclose(found, wanted, atol=1e-6, rtol=1 / 1000)


def test_opinions_keep_their_sign_and_three_digits() -> None:
    look = made_up()
    read = Read(page([look]))
    for name, packed in read.data["looks"][0]["opinions"].items():
        wanted = look.opinions[name].flatten()
        assert torch.allclose(torch.tensor(read.numbers(packed, 16)), wanted, rtol=1 / 1024, atol=1e-6)


def test_one_byte_is_as_near_as_the_page_says() -> None:
    look = long(64)
    read = Read(page([look]))
    assert read.data["bits"] == 8
    for each, attention in zip(look.attentions[::7], read.data["looks"][0]["attentions"][::7], strict=True):
        found = read.weights(attention)
        assert torch.all((found - each.weights).abs() <= each.weights.sqrt() / 255 + 1 / 260000)
        assert torch.all(found[each.weights == 0] == 0)


@pytest.mark.parametrize(("length", "norms", "most"), [(64, False, 1.5e6), (64, True, 1.5e6), (256, False, 14e6)])
def test_the_page_is_as_small_as_it_is_promised_to_be(length: int, norms: bool, most: float) -> None:
    text = page([long(length, norms=norms)])
    assert len(text.encode()) <= most
    assert '"left_out":[]' in text


@pytest.mark.parametrize("bits", [8, 16])
def test_equal_numbers_stay_equal_beside_larger_ones(bits: int) -> None:
    weights = torch.rand(100) * 0.3
    alone, top = bytes_of(weights, bits, least=1.0)
    beside, same = bytes_of(torch.cat([weights, torch.ones(1)]), bits, least=1.0)
    assert beside[: len(alone)] == alone
    assert top == same == 1.0


def test_past_the_limit_norms_go_first_and_cross_attentions_last() -> None:
    look = long(20, layers=3, heads=2)
    rough = tuple(replace(each, norms=each.weights * torch.rand(each.weights.shape)) for each in look.attentions)
    look = replace(look, attentions=rough)
    square, triangle = 2 * 20 * 20 * 4 / 3, 2 * 210 * 4 / 3
    everything = 3 * (2 * square + triangle)
    for most, left_out in (
        (2 * everything, []),
        (1.9 * everything, ["norms"]),
        (everything - 1, ["norms", "decoder.0"]),
        (3 * square, ["norms", *(f"{part}.{layer}" for layer in range(3) for part in ("decoder", "encoder"))]),
        (1, None),
    ):
        data = Read(page([look], most_megabytes=most / 1e6)).data
        kept = [f"{each['part']}.{each['layer']}" for each in data["looks"][0]["attentions"]]
        assert data["left_out"] == left_out or (left_out is None and kept == [])
        assert sorted([*kept, *data["left_out"][1:]]) == sorted(each.name for each in look.attentions)


def test_what_is_chosen_is_kept_and_the_rest_is_not() -> None:
    look = made_up()
    read = Read(page([look], keep=["cross", "encoder.2", "decoder.1.3"]))
    kept = {f"{each['part']}.{each['layer']}": each for each in read.data["looks"][0]["attentions"]}
    assert {name: each["heads"] for name, each in kept.items()} == {
        "encoder.2": [0, 1, 2, 3],
        "decoder.1": [3],
        **{f"cross.{layer}": [0, 1, 2, 3] for layer in range(3)},
    }
    wanted = next(each for each in look.attentions if each.name == "decoder.1").weights[3:]
    assert torch.allclose(read.weights(kept["decoder.1"]), wanted, atol=1e-3)


def test_a_wrong_choice_is_named() -> None:
    with pytest.raises(UsageError, match=r"found none named decoder\.9, encodr"):
        page([made_up()], keep=["cross", "decoder.9", "encodr"])
    for looks in ([], [made_up()] * 3):
        with pytest.raises(UsageError, match=f"one look or two, found {len(looks)}"):
            page(looks)


def test_no_text_leaves_its_place() -> None:
    look = replace(made_up(side(EVIL), side(EVIL[::-1]), model=EVIL[0]), changed=(EVIL[1],), greedy_text=EVIL[2])
    read, plain = Read(page([look])), Read(page([made_up(side(("a",) * 12), side(("b",) * 12))]))
    assert [tag for tag, _ in read.elements] == [tag for tag, _ in plain.elements]
    (found,) = read.data["looks"]
    assert (found["model"], found["source"]["text"], found["greedy_text"]) == (EVIL[0], look.source.text, EVIL[2])
    assert tuple(found["source"]["tokens"]) == look.source.tokens
    assert found["changed"] == [EVIL[1]]
    assert read.scripts["data"].isascii()
    assert not re.search("[<>&]", read.scripts["data"])


def test_infinite_and_missing_numbers_do_not_break_it() -> None:
    look = made_up()
    step = replace(look.steps[0], log_probability=-math.inf)
    broken = replace(look, steps=(step, *look.steps[1:]), search=replace(look.search, score=math.nan))
    (found,) = Read(page([broken])).data["looks"]
    assert found["steps"][0]["log_probability"] == {"infinite": -1}
    assert found["search"]["score"] == {"infinite": 0}


def test_the_policy_allows_the_page_its_own_script_and_nothing_else() -> None:
    read = Read(page([made_up()]))
    policy = next(attributes["content"] for _, attributes in read.elements if "http-equiv" in attributes)
    digests = [
        base64.b64encode(hashlib.sha256(read.scripts[name].encode()).digest()).decode() for name in ("script", "style")
    ]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    loading = {"src", "href", "srcset", "data", "action", "poster", "background", "style"}
    assert not [attributes for _, attributes in read.elements if loading & set(attributes)]


def test_the_script_makes_no_markup_and_asks_for_nothing() -> None:
    text = "".join((VIEWER / name).read_text("utf-8") for name in SCRIPTS)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function|import\(|fetch\(", text
    )
    assert not re.search(r"XMLHttpRequest|WebSocket|EventSource|sendBeacon|new Worker|</script|<!--", text)
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_viewer_holds_what_is_joined_in_short_files() -> None:
    assert {each.name for each in VIEWER.iterdir()} == {"page.css", *SCRIPTS}
    for each in VIEWER.iterdir():
        lines = each.read_text("utf-8").split("\n")
        assert len(lines) <= 400, each.name
        assert max(map(len, lines)) <= 150, each.name


def test_a_frame_for_a_notebook_holds_the_page_and_is_shut_in() -> None:
    look = made_up(side(EVIL), side(EVIL), model=EVIL[0])
    read = Read(embedded([look], height=500))
    ((tag, attributes),) = read.elements
    assert (tag, attributes["srcdoc"]) == ("iframe", page([look], most_megabytes=8))
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    assert "height: 500px" in (attributes["style"] or "")


def test_it_opens_in_a_browser(tmp_path: Path) -> None:
    with chromium() as browser:
        seen = Watched(
            browser, written(tmp_path, made_up(side(EVIL[:6]), side(("A", "dog")))), "#view=head&layer=1&head=2"
        )
        assert seen.tab.inner_text("h2") == "One head: cross.1.2"
        seen.tab.focus("#picture-0")
        seen.tab.keyboard.press("ArrowDown")
        wanted = seen.tab.evaluate("regard.number(regard.seen(0, 'cross', 1, 2).matrix.cells[0], 4)")
        assert seen.tab.inner_text(".readout") == f"A looks at {EVIL[0].replace(' ', '␣')}: {wanted}"
        seen.close()
