"""Pages that open without a network, run no script and load nothing. Every text that comes in is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from regard import __version__

KINDS = 6  # colours that the colour-blind tell apart (Okabe and Ito), and that are seen on their paper
COLOURS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1c20; --soft: #5b616e; --line: #d5d9e0; --mark: #0072b2;
  --warm: #d55e00; --c0: var(--mark); --c1: var(--warm); --c2: #009e73; --c3: #cc79a7; --c4: #e69f00; --c5: #56b4e9; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181d; --ink: #d8dbe2; --soft: #9aa1af; --line: #3a3f4a; --mark: #56b4e9;
    --warm: #f08a4b; --c5: #f0e442; }
}
.colour0 { color: var(--c0); } .colour1 { color: var(--c1); } .colour2 { color: var(--c2); }
.colour3 { color: var(--c3); } .colour4 { color: var(--c4); } .colour5 { color: var(--c5); }
.chart text { font: 11px system-ui, sans-serif; fill: var(--soft); } .chart line { stroke: var(--line); }
.chart .title { font-size: 13px; font-weight: 600; fill: var(--ink); }
.chart circle, .chart polygon, .chart rect { fill: currentColor; }
.chart polyline { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; }
.chart .thin { stroke-width: 0.8; opacity: 0.6; }
.chart .small { opacity: 0.5; }
.chart .spread { fill: none; stroke: currentColor; stroke-width: 1.5; }
"""
STYLE = (
    COLOURS
    + """
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin: 0 0 .3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { vertical-align: bottom; } th.words, td.words { text-align: left; }
td.words { overflow-wrap: anywhere; white-space: pre-line; min-width: 5rem; }
pre { overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; }
.notes { color: var(--soft); font-size: .9rem; margin: .4rem 0; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
figure { margin: 0; } summary { cursor: pointer; margin-top: 2rem; }
.looks { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; }
.looks > * { max-width: 100%; }
.heat { max-width: 100%; height: auto; } .heat text { font: 12px ui-monospace, monospace; fill: var(--ink); }
.heat rect { fill: var(--mark); } .heat .frame { fill: none; stroke: var(--line); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem 1.5rem; }
.chart { width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; list-style: none; margin: .8rem 0; padding: 0; }
.legend li { display: flex; gap: .5rem; min-width: 0; } .legend span { overflow-wrap: anywhere; min-width: 0; }
.legend .chart { width: auto; height: 16px; flex: none; margin-top: .2rem; }
dt { color: var(--soft); } dd { margin: 0 0 .6rem 1.5rem; overflow-wrap: anywhere; }
"""
)
# A browser that reads this loads nothing but what stands in the page itself.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Table:
    """Text in rows. `words` are the columns that hold words and stand to the left; notes say what numbers mean."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    notes: tuple[str, ...] = ()


def document(title: str, parts: Sequence[str]) -> bytes:
    """A page of parts that are HTML already."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n"
        f'<p class="notes">regard {__version__}</p>\n</body></html>\n'
    ).encode(errors="replace")  # a name of a file may hold what is no text


def table(content: Table) -> str:
    """A table with its title and notes."""
    head = _cells("th", [name.replace("-\n", "").replace("\n", " ") for name in content.head], content.words)
    rows = "".join(f"<tr>{_cells('td', row, content.words)}</tr>\n" for row in content.rows)
    title = f"<h2>{escape(content.title)}</h2>\n" if content.title else ""
    return (
        f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div>{''.join(map(note, content.notes))}"
    )


def note(text: str) -> str:
    """A line in small print."""
    return f'<p class="notes">{printable(text)}</p>'


def printable(text: str) -> str:
    """Any text as HTML or XML: escaped, with a mark in place of control characters, which neither may hold."""
    return escape("".join(c if _may_stand(c) else "\ufffd" for c in text))


def _may_stand(character: str) -> bool:
    return character in "\n\t" or not (character < " " or "\x7f" <= character <= "\x9f" or character in "\ufffe\uffff")


def terms(pairs: Sequence[tuple[str, str]]) -> str:
    """Names with what they mean, which is HTML already."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{meaning}</dd>" for name, meaning in pairs) + "</dl>"


def code(text: str) -> str:
    """What one types."""
    return f"<code>{escape(text)}</code>"


def _cells(tag: str, texts: Sequence[str], words: Sequence[int]) -> str:
    return "".join(
        f'<{tag} class="words" dir="auto">{printable(text)}</{tag}>'
        if place in words
        else f"<{tag}>{printable(text)}</{tag}>"
        for place, text in enumerate(texts)
    )
