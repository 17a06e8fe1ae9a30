"""A table as plain text: the same on a terminal and in a pipe."""

from __future__ import annotations

import io

from regard.look.html import Table

WIDTH = 100  # columns of a terminal


def as_text(table: Table, width: int = WIDTH) -> str:
    """Plain text that fits `width` columns."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    tallest = max(name.count("\n") for name in table.head)
    for place, name in enumerate(table.head):
        is_words = place in table.words
        lowered = "\n" * (tallest - name.count("\n")) + name
        drawn.add_column(lowered, justify="left" if is_words else "right", no_wrap=not is_words, overflow="fold")
    for row in table.rows:
        drawn.add_row(*row)
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, markup=False, highlight=False, emoji=False)
    if table.title:
        console.print(f"{table.title}\n")
    console.print(drawn)
    for note in table.notes:
        console.print(f"  {note}", soft_wrap=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n")).rstrip("\n")
