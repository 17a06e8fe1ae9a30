"""README stays true: its tree is the tree on the disk, and its commands exist with the options it shows."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE_ROOT = "src/regard/"


def fenced_blocks(markdown: str) -> list[list[str]]:
    """The lines of each block between ``` fences."""
    return [block.split("\n")[1:-1] for block in re.findall(r"^```.*?^```", markdown, re.M | re.S)]


def tree_entries(markdown: str) -> dict[str, str]:
    """Path under `src/regard/` -> description, from the block with that line in it; two spaces a level below it."""
    block = next((block for block in fenced_blocks(markdown) if any(line.startswith(TREE_ROOT) for line in block)), [])
    entries: dict[str, str] = {}
    folders: list[str] = []
    for line in block:
        matched = re.fullmatch(r"((?:  )+)(\S+)(?:  +(\S.*))?", line)
        assert matched or not line.startswith(" "), f"README's tree: {line!r} is not 'name  description'"
        if matched:
            depth = len(matched[1]) // 2 - 1
            assert depth <= len(folders), f"README's tree: {line!r} stands deeper than the folder above it"
            path = "".join(folders[:depth]) + matched[2]
            folders = [*folders[:depth], matched[2]] if path.endswith("/") else folders[:depth]
            entries[path] = matched[3] or ""
    return entries


def says_something(path: Path) -> bool:
    """False for an `__init__.py` that holds a docstring at most."""
    if path.name != "__init__.py":
        return True
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return bool(body) and not (len(body) == 1 and isinstance(body[0], ast.Expr))


def commands(markdown: str) -> Iterator[list[str]]:
    """The words of each call of `regard` in a fenced block. Where lines have `$ ` prompts, those alone are commands."""
    for block in fenced_blocks(re.sub(r"\\\n\s*", " ", markdown)):
        if any(line.startswith(TREE_ROOT) for line in block):
            continue
        prompted = [line[2:] for line in block if line.startswith("$ ")]
        for line in prompted or block:
            yield from calls_of_regard(line)


def calls_of_regard(line: str) -> Iterator[list[str]]:
    """`a | regard score x && b` -> [["score", "x"]]. Brackets of a usage line are dropped."""
    if not re.search(r"(^|[\s/])regard\s", line):
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    call: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;()<>"):
            while call and re.fullmatch(r"\w+=.*", call[0]):
                call = call[1:]
            if call and Path(call[0]).name == "regard":
                yield [part.strip("[].") for part in call[1:]]
            call = []
        else:
            call.append(word)


def faults_of(call: list[str], app: typer.Typer) -> list[str]:
    """What of a call does not exist: the command, or one of its options."""
    command = typer.main.get_command(app)
    words = list(call)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return [f"no command {words[0]!r} in: regard {' '.join(call)}"]
        command = command.commands[words.pop(0)]
    known = {"--help"} | {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    return [f"no option {option!r} in: regard {' '.join(call)}" for option in options if option not in known]


def test_names_the_two_commands() -> None:
    assert "make demo" in README
    assert "make test" in README


def test_tree_is_the_tree_on_the_disk() -> None:
    package = ROOT / TREE_ROOT
    entries = tree_entries(README)
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if says_something(path)}
    assert sorted(files - set(entries)) == [], "on the disk, not in README's tree"
    assert [name for name in entries if not (package / name).exists()] == [], "in README's tree, not on the disk"


def test_each_file_of_the_tree_has_its_line() -> None:
    assert [name for name, line in tree_entries(README).items() if not line and not name.endswith("/")] == []


def test_commands_exist() -> None:
    from regard.cli import app

    calls = list(commands(README))
    assert calls, "README shows no command"
    assert [fault for call in calls for fault in faults_of(call, app)] == []


# The readers above, on small texts.

TREE = """
```
src/regard/
  errors.py      every error
  text/          text <-> ids
    pairs.py     reads pairs
  cli/
    train.py     `regard train`
```
"""


def test_reads_a_tree() -> None:
    assert tree_entries(TREE) == {
        "errors.py": "every error",
        "text/": "text <-> ids",
        "text/pairs.py": "reads pairs",
        "cli/": "",
        "cli/train.py": "`regard train`",
    }


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("regard train pairs.tsv  # the model's", [["train", "pairs.tsv"]]),
        ("echo hello | .venv/bin/regard translate runs/pairs > out.txt", [["translate", "runs/pairs"]]),
        ("$ A=1 regard info x && regard verify x\nregard of output", [["info", "x"], ["verify", "x"]]),
        ("regard train a.tsv \\\n  --set model.layers=4", [["train", "a.tsv", "--set", "model.layers=4"]]),
        ("regard score RUN PAIRS [--beam N]", [["score", "RUN", "PAIRS", "--beam", "N"]]),
        ("src/regard/\n  cli/  what's there: `regard`", []),
        ("make demo", []),
    ],
)
def test_reads_commands(block: str, expected: list[list[str]]) -> None:
    assert list(commands(f"text\n```sh\n{block}\n```\n")) == expected


def test_finds_what_does_not_exist() -> None:
    app = typer.Typer()

    @app.command()
    def train(pairs: str, beam: int = 1) -> None: ...

    @app.command()
    def score(run: str) -> None: ...

    assert faults_of(["train", "x.tsv", "--beam=4"], app) == []
    assert faults_of(["score", "--help"], app) == []
    assert faults_of(["trane", "x.tsv"], app) == ["no command 'trane' in: regard trane x.tsv"]
    assert faults_of(["train", "--bean", "4"], app) == ["no option '--bean' in: regard train --bean 4"]
