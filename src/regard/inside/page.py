"""A look inside as one HTML file that opens without a network, in any browser, and asks for nothing.

`page` makes the file; `embedded` the same for a notebook. The page's own script is the only one that runs: the policy
in the page allows just that one, by its hash, and nothing is loaded. Tokens, texts and names are data in it; the script
writes them as text only. viewer/ has the script, in parts that are joined here, and the style.

Limits: numbers take two bytes each (three significant digits) while the page stays below 1.5 MB, else one byte. Norms
are left out past 13 MB, layers past `most_megabytes`: the lowest first, cross-attentions last. Choose others by `keep`.
The page says what it leaves out. 6 layers of 8 heads over 512 source and 512 answer tokens are 42 MB.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from regard import __version__
from regard.errors import UsageError
from regard.inside.opinions import CAVEAT, OPINIONS
from regard.inside.pack import packed
from regard.inside.result import KIND, VERSION, Look

MEGABYTE = 1_000_000
SCRIPTS = (
    "text.js",
    "numbers.js",
    "colours.js",
    "state.js",
    "surface.js",
    "heat_map.js",
    "parts.js",
    "words.js",
    "answer.js",
    "heads.js",
    "head.js",
    "lines.js",
    "tree.js",
    "steps.js",
    "opinions.js",
    "table.js",
    "save.js",
    "keys.js",
    "main.js",
)
ARRAYS = ("attentions", "opinions")  # of a Look, which are packed
SHELL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Look inside</title>
<style>{style}</style></head>
<body><div id="root"><noscript><p>This page draws its pictures with its own script, which is switched off here.</p>
</noscript></div>
<script type="application/json" id="data">{data}</script>
{blocks}
<script>{script}</script>
</body></html>
"""


def page(looks: Sequence[Look], *, keep: Sequence[str] = (), most_megabytes: float = 48) -> str:
    """One look, or two beside each other with their difference, as a whole HTML document.

    `keep`: only these parts ("cross"), layers ("encoder.2") or heads ("decoder.1.3"). `most_megabytes`: of numbers in
    the page; see above for what goes when there are more. UsageError for no look or more than two, and for names in
    `keep` that no look has.
    """
    if len(looks) not in (1, 2):
        raise UsageError(f"a page shows one look or two, found {len(looks)}", fix="make a page for each pair")
    style, script, facts = _asset("page.css"), _script(), [_facts(look) for look in looks]
    beside = len(quoted(facts)) + len(style) + len(script)
    pack, arrays = packed(looks, keep, most_megabytes * MEGABYTE, beside)
    data = {
        "kind": KIND,
        "version": VERSION,
        "regard": __version__,
        "bits": pack.bits,
        "left_out": pack.left_out,
        "chosen": list(keep),
        "caveat": CAVEAT,
        "methods": {name: opinion.means for name, opinion in OPINIONS.items()},
        "looks": [{**look, **each} for look, each in zip(facts, arrays, strict=True)],
    }
    blocks = (
        f'<script type="text/plain" id="block{place}">{block}</script>' for place, block in enumerate(pack.blocks)
    )
    return SHELL.format(
        policy=_policy(style, script), style=style, data=quoted(data), blocks="\n".join(blocks), script=script
    )


def embedded(looks: Sequence[Look], *, keep: Sequence[str] = (), most_megabytes: float = 8, height: int = 860) -> str:
    """The page in a frame that can reach nothing around it, for a notebook; `height` in pixels. See `page`."""
    whole = escape(page(looks, keep=keep, most_megabytes=most_megabytes))
    return (
        f'<iframe title="Look inside" sandbox="allow-scripts allow-downloads" srcdoc="{whole}" '
        f'style="width: 100%; height: {height}px; border: 0"></iframe>'
    )


def quoted(data: Any) -> str:
    """JSON that no text in it can end: plain ASCII without <, > and &, so that it stands in HTML as it is."""
    plain = json.dumps(_finite(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(look: Look) -> dict[str, Any]:
    """All of a look but its arrays."""
    return {each.name: _plain(getattr(look, each.name)) for each in fields(look) if each.name not in ARRAYS}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def _finite(value: Any) -> Any:
    """Numbers in the digits of float32. JSON has no infinity (of a forbidden candidate): the script knows a word."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else {"infinite": _sign(value)}
    return value


def _sign(value: float) -> int:
    return 0 if math.isnan(value) else 1 if value > 0 else -1


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _script() -> str:
    """The parts as one function, so that they share names among them and leave one in the page."""
    return '(() => {\n"use strict";\n' + "\n".join(map(_asset, SCRIPTS)) + "\n})();"


@cache
def _asset(name: str) -> str:
    return (files("regard.inside") / "viewer" / name).read_text(encoding="utf-8")
