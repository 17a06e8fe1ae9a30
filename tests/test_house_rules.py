"""The rules of this code, as tests: which package may import which, how long things are, what is never written.

A rule is a function from one source file to a list of faults, and a line in RULES. Each is tried on bad code below.
"""

from __future__ import annotations

import ast
import importlib
import re
import statistics
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import get_args

import pytest
import torch
from jaxtyping import TypeCheckError

from regard.config import NAMES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "regard"

# Imports go down this list only; members of one group may import each other, but for the pairs of STRANGERS.
GROUPS = [
    {"errors", "config", "folder", "heap", "recipes", "ready", "device"},
    {"text"},
    {"data"},
    {"attention", "layers"},
    {"presets"},
    {"models"},
    {"engine"},
    {"parts"},
    {"training", "decoding"},
    {"inside"},
    {"translator"},
    {"metrics", "look", "serve", "model_card"},
    {"trainer"},
    {"lab"},
    {"cli", "__main__"},
]
STRANGERS = {  # what a part does not know although the list would let it
    "training": {"decoding"},
    "decoding": {"training", "models", "engine"},
    "attention": {"config"},
    "layers": {"config"},
    # metrics score strings; of what is above text they may name the translator's type (importing it would bring torch)
    "metrics": {"presets", "data", "attention", "layers", "models", "training", "decoding", "look", "lab", "serve"},
}
NEVER_TORCH = {"text", "metrics"}
# no torch while these are imported
TORCH_LATE = {"errors", "config", "folder", "recipes", "ready", "cli", "__main__", "__init__"} | NEVER_TORCH
LONGEST_FILE, LONGEST_FUNCTION, MEDIAN_FUNCTION, MOST_DEPENDENCIES = 400, 60, 12, 10
UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file: `name` is its path under src/regard."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def part(self) -> str:
        """`text` for text/pairs.py, `config` for config.py, `__init__` for the package itself."""
        return self.name.partition("/")[0].removesuffix(".py")

    @property
    def module(self) -> str:
        return ".".join(["regard", *self.name.removesuffix(".py").split("/")]).removesuffix(".__init__")

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def at(self, node: ast.AST, fault: str) -> str:
        return f"src/regard/{self.name}:{getattr(node, 'lineno', 1)}: {fault}"


@cache
def sources() -> list[Source]:
    """All files; each is read and parsed once."""
    return [Source(path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")]


def imports(source: Source, nodes: Iterator[ast.AST] | None = None) -> Iterator[tuple[ast.AST, str]]:
    """(node, dotted name) of each import; `from a import b` gives `a.b`, relative ones are made absolute."""
    package = source.module if source.name.endswith("__init__.py") else source.module.rpartition(".")[0]
    for node in nodes or ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node, f"{start}.{alias.name}") for alias in node.names)


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that importing a file runs: not the bodies of functions, nor what only a type checker reads."""
    for node in body:
        if isinstance(node, Function):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from run_at_import(node.orelse)
            continue
        yield node
        for name in ("body", "orelse", "finalbody"):
            yield from run_at_import(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from run_at_import(handler.body)


def rank(part: str) -> int:
    return next((number for number, group in enumerate(GROUPS) if part in group), -1)


# Rules on one file.


def imports_go_down(source: Source) -> list[str]:
    if source.name == "__init__.py":  # the public names come from everywhere
        return []
    if rank(source.part) < 0:
        return [source.at(source.tree, f"{source.part} has no place in GROUPS of tests/test_house_rules.py")]
    faults = []
    for node, name in imports(source):
        target = name.split(".")[1] if name.startswith("regard.") else ""
        if target in {"", "__version__", source.part}:
            continue
        if rank(target) < 0 or rank(target) > rank(source.part) or target in STRANGERS.get(source.part, ()):
            faults.append(source.at(node, f"{source.part} imports {target}"))
    return faults


def torch_stays_out(source: Source) -> list[str]:
    nodes = None if source.part in NEVER_TORCH else run_at_import(source.tree.body)
    if source.part not in TORCH_LATE:
        return []
    return [source.at(node, f"imports {name}") for node, name in imports(source, nodes) if imports_torch(name)]


def imports_torch(name: str) -> bool:
    return name.split(".")[0] == "torch" or name.startswith("safetensors.torch")


def is_short(source: Source) -> list[str]:
    lines = source.text.count("\n")
    faults = [source.at(source.tree, f"{lines} lines, {LONGEST_FILE} at most")] if lines > LONGEST_FILE else []
    for function in source.functions():
        if length(function) > LONGEST_FUNCTION:
            faults.append(source.at(function, f"{function.name}: {length(function)} lines, {LONGEST_FUNCTION} at most"))
    return faults


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def names_its_arguments(source: Source) -> list[str]:
    holders = [node for node in ast.walk(source.tree) if isinstance(node, Function | ast.Lambda)]
    return [source.at(node, f"**{node.args.kwarg.arg}") for node in holders if node.args.kwarg]


def keeps_no_globals(source: Source) -> list[str]:
    return [source.at(node, "global") for node in ast.walk(source.tree) if isinstance(node, ast.Global)]


def names_what_it_catches(source: Source) -> list[str]:
    handlers = (node for node in ast.walk(source.tree) if isinstance(node, ast.ExceptHandler))
    return [source.at(node, "bare except") for node in handlers if node.type is None]


def is_quiet(source: Source) -> list[str]:
    return [] if source.part == "cli" else [source.at(node, "print") for node in calls(source, "print")]


def runs_nothing_it_reads(source: Source) -> list[str]:
    faults = [source.at(node, f"imports {name}") for node, name in imports(source) if name.split(".")[0] in UNPICKLERS]
    for name in ("eval", "exec", "torch.load", "torch.save"):
        faults += [source.at(node, name) for node in calls(source, name)]
    return faults + [source.at(node, name) for node, name in imports(source) if name in {"torch.load", "torch.save"}]


def calls(source: Source, name: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(source.tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name)


def is_finished(source: Source) -> list[str]:
    marks = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X]|HAC[K]|NotImplementedError)\b")
    lines = enumerate(source.text.split("\n"), 1)
    return [f"src/regard/{source.name}:{number}: {found[0]}" for number, line in lines if (found := marks.search(line))]


def remembers_nothing(source: Source) -> list[str]:
    """State goes in and comes out: no `self.x =` in the methods that a model is run by."""
    methods = (function for function in source.functions() if function.name in {"forward", "step", "select"})
    return [
        source.at(node, f"{method.name} writes {ast.unparse(node)}")
        for method in methods
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute | ast.Subscript)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and re.match(r"self\.", ast.unparse(node))
    ]


def splits_lines_at_newlines(source: Source) -> list[str]:
    """str.splitlines also splits at U+2028, U+0085 and six others: sentences would shift."""
    attributes = (node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute))
    return [source.at(node, "splitlines") for node in attributes if node.attr == "splitlines"]


def names_the_encoding(source: Source) -> list[str]:
    faults = []
    for call in (node for node in ast.walk(source.tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        given = any(keyword.arg == "encoding" for keyword in call.keywords)
        if name == "open" and isinstance(call.func, ast.Name):
            mode = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
            given = given or any("b" in ast.unparse(value) for value in mode)
        elif name in {"read_text", "write_text"}:
            given = given or len(call.args) > (name == "write_text")
        else:
            continue
        if not given:
            faults.append(source.at(call, f"{name} without an encoding"))
    return faults


RULES: dict[str, Callable[[Source], list[str]]] = {
    "imports go down": imports_go_down,
    "torch stays out": torch_stays_out,
    "is short": is_short,
    "names its arguments": names_its_arguments,
    "keeps no globals": keeps_no_globals,
    "names what it catches": names_what_it_catches,
    "is quiet": is_quiet,
    "runs nothing it reads": runs_nothing_it_reads,
    "is finished": is_finished,
    "remembers nothing": remembers_nothing,
    "splits lines at newlines": splits_lines_at_newlines,
    "names the encoding": names_the_encoding,
}


@pytest.mark.parametrize("rule", RULES)
def test_every_file_keeps(rule: str) -> None:
    faults = [fault for source in sources() for fault in RULES[rule](source)]
    assert not faults, "\n".join(faults)


# Rules on all files together.


def median_length(files: list[Source]) -> float:
    return statistics.median([length(function) for source in files for function in source.functions()] or [0])


def graph(files: list[Source]) -> dict[str, set[str]]:
    """Module -> what importing it imports, modules of the package and others, `torch` among them."""
    modules = {source.module for source in files}
    edges: dict[str, set[str]] = {}
    for source in files:
        edges[source.module] = edges_of = set()
        for _, name in imports(source, run_at_import(source.tree.body)):
            edges_of.add(name if name in modules or not name.startswith("regard.") else name.rpartition(".")[0])
        edges_of |= {parent for name in edges_of for parent in parents(name) if parent in modules}
        edges_of -= {source.module, *parents(source.module)}
    return edges


def parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def way(start: str, wanted: Callable[[str], bool], edges: dict[str, set[str]]) -> str:
    """The shortest chain of imports from a module to one that is wanted, or nothing."""
    chains, seen = [[start]], {start}
    for chain in chains:  # grows while it is read
        for name in sorted(edges.get(chain[-1], set()) - seen):
            seen.add(name)
            chains.append([*chain, name])
            if wanted(name):
                return " -> ".join(chains[-1])
    return ""


def cycles(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, by taking away again and again those that import nothing left."""
    left = {module: targets & set(edges) for module, targets in edges.items()}
    while free := [module for module, targets in left.items() if not targets & set(left)]:
        for module in free:
            del left[module]
    return sorted(left)


def undeclared(files: list[Source], requirements: list[str]) -> list[str]:
    """Third-party packages that the code imports and pyproject does not name."""
    declared = {re.split(r"[^\w.-]", requirement)[0].replace("-", "_").lower() for requirement in requirements}
    known = declared | set(sys.stdlib_module_names) | {"regard", "compression"}  # compression: standard from 3.14 on
    found = {(name.split(".")[0], source.name) for source in files for _, name in imports(source)}
    return sorted(f"{file} imports {name}" for name, file in found if name not in known)


def test_half_of_all_functions_are_short() -> None:
    assert median_length(sources()) <= MEDIAN_FUNCTION


def test_what_needs_no_tensor_reaches_no_torch_when_imported() -> None:
    files = sources()
    starts = [file.module for file in files if file.part in TORCH_LATE and not file.module.startswith("regard.cli.")]
    edges = graph(files)
    ways = [found for start in starts if (found := way(start, imports_torch, edges))]
    assert not ways, "\n".join(ways)


def test_translating_imports_no_optimiser() -> None:
    """torch.optim takes as long to import as all the rest of torch (research: perf.md E)."""
    assert way("regard.translator", lambda name: name.startswith("torch.optim"), graph(sources())) == ""


def test_no_modules_import_each_other() -> None:
    assert cycles(graph(sources())) == []


def test_dependencies_are_few_and_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert len(project["dependencies"]) <= MOST_DEPENDENCIES
    extras = [
        requirement
        for name, extra in project["optional-dependencies"].items()
        if name != "dev"
        for requirement in extra
    ]
    assert undeclared(sources(), [*project["dependencies"], *extras]) == []


# One new thing = one new file, one line in its table, its name in config/ (which is read without importing torch).

TABLES = {
    "Side.kind": "text.tokenizer.KINDS",
    "Training.optimiser": "training.optimiser.OPTIMISERS",
    "Training.schedule": "training.schedule.SCHEDULES",
}
NAMED = {
    "encoder": ["models.ENCODERS"],
    "decoder": ["models.DECODERS"],
    "score": ["attention.scores.SCORES"],
    "norm": ["layers.norms.NORMS"],
    "positions": ["layers.positions.POSITIONS", "attention.relative.RELATIVE"],
    "activation": ["layers.feed_forward.ACTIVATIONS"],
    "convolution": ["layers.convolution.CONVOLUTIONS"],
    "cell": ["layers.recurrent.CELLS"],
}


def table(path: str) -> list[str]:
    module, _, name = f"regard.{path}".rpartition(".")
    return list(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("setting", TABLES)
def test_settings_name_what_the_tables_hold(setting: str) -> None:
    section, key = setting.split(".")
    field = getattr(importlib.import_module("regard.config"), section).model_fields[key]
    assert sorted(get_args(field.annotation)) == sorted(table(TABLES[setting]))


@pytest.mark.parametrize("kind", NAMES)
def test_names_are_those_of_the_tables(kind: str) -> None:
    assert sorted(NAMES[kind]) == sorted(name for path in NAMED[kind] for name in table(path))


# The rules themselves, on code that breaks them and on code that does not.

LONG = "def f():\n" + "    x = 1\n" * 60
BAD = [
    ("imports go down", "text/a.py", "from regard.data.tokens import Tokens"),
    ("imports go down", "text/a.py", "def f():\n    from regard import data"),
    ("imports go down", "text/a.py", "from ..models import interface"),
    ("imports go down", "layers/a.py", "from regard.config import Recipe"),
    ("imports go down", "attention/a.py", "import regard.config"),
    ("imports go down", "decoding/a.py", "from regard.models.interface import State"),
    ("imports go down", "decoding/a.py", "from regard.training import loop"),
    ("imports go down", "training/a.py", "from regard.decoding import greedy"),
    ("imports go down", "metrics/a.py", "from regard.models import build"),
    ("imports go down", "trainer.py", "from regard.lab.compare import compare"),
    ("imports go down", "models/a.py", "from regard import Translator"),
    ("imports go down", "utils.py", "x = 1"),
    ("torch stays out", "text/a.py", "def f():\n    import torch"),
    ("torch stays out", "metrics/a.py", "from torch.nn import functional"),
    ("torch stays out", "cli/a.py", "try:\n    import torch\nexcept ImportError:\n    x = 1"),
    ("torch stays out", "folder.py", "from safetensors.torch import load_file"),
    ("is short", "a.py", "x = 1\n" * 401),
    ("is short", "a.py", LONG),
    ("is short", "a.py", "class A:\n" + "".join(f"    {line}\n" for line in LONG.split("\n"))),
    ("names its arguments", "a.py", "def f(**kwargs): ..."),
    ("names its arguments", "a.py", "f = lambda **rest: 1"),
    ("keeps no globals", "a.py", "def f():\n    global x"),
    ("names what it catches", "a.py", "try:\n    f()\nexcept:\n    g()"),
    ("is quiet", "data/a.py", "def f():\n    print(1)"),
    ("runs nothing it reads", "a.py", "import pickle"),
    ("runs nothing it reads", "a.py", "def f():\n    from pickle import loads"),
    ("runs nothing it reads", "a.py", "weights = torch.load(path)"),
    ("runs nothing it reads", "a.py", "from torch import load"),
    ("runs nothing it reads", "a.py", "eval(text)"),
    ("runs nothing it reads", "a.py", "exec(text)"),
    ("is finished", "a.py", "x = 1  # TO" + "DO: more"),
    ("is finished", "a.py", "# FIX" + "ME"),
    ("is finished", "a.py", "def f():\n    raise NotImplementedError"),
    ("remembers nothing", "a.py", "class A:\n    def forward(self, x):\n        self.last = x"),
    ("remembers nothing", "a.py", "class A:\n    def step(self, x):\n        y, self.last = x"),
    ("remembers nothing", "a.py", "class A:\n    def select(self, x):\n        self.count += 1"),
    ("remembers nothing", "a.py", "class A:\n    def step(self, x):\n        self.cache['k'] = x"),
    ("splits lines at newlines", "text/a.py", "lines = text.splitlines()"),
    ("names the encoding", "a.py", "open(path)"),
    ("names the encoding", "a.py", "path.read_text()"),
    ("names the encoding", "a.py", "path.write_text(text)"),
]
GOOD = [
    ("imports go down", "models/a.py", "import torch\nfrom regard.attention import attend\nfrom . import interface"),
    ("imports go down", "config.py", "from regard import __version__, errors"),
    ("imports go down", "trainer.py", "from regard.metrics import METRICS\nfrom regard.translator import Translator"),
    ("torch stays out", "cli/a.py", "if TYPE_CHECKING:\n    import torch\ndef f():\n    import torch"),
    ("torch stays out", "data/a.py", "import torch"),
    ("is short", "a.py", LONG.replace("    x = 1\n", "", 1) + "x = 1\n" * 340),
    ("names its arguments", "a.py", "def f(*values, key): g(**values)"),
    ("is quiet", "cli/a.py", "print(1)"),
    ("runs nothing it reads", "a.py", "model.eval()"),
    (
        "remembers nothing",
        "a.py",
        "class A:\n    def __init__(self):\n        self.x = 1\n    def step(self):\n        y = self.x",
    ),
    (
        "names the encoding",
        "a.py",
        "open(path, 'rb')\nopen(path, encoding='utf-8')\npath.write_text(text, encoding='utf-8')",
    ),
]


@pytest.mark.parametrize(("rule", "name", "code"), BAD)
def test_rule_finds_bad_code(rule: str, name: str, code: str) -> None:
    assert RULES[rule](Source(name, code)) != []


@pytest.mark.parametrize(("rule", "name", "code"), GOOD)
def test_rule_lets_good_code_pass(rule: str, name: str, code: str) -> None:
    assert RULES[rule](Source(name, code)) == []


def test_every_rule_has_been_seen_to_fail() -> None:
    assert set(RULES) == {rule for rule, _, _ in BAD}


def test_finds_torch_behind_other_modules() -> None:
    files = [
        Source("cli/train.py", "from regard.text import pairs"),
        Source("text/__init__.py", "from regard.data.tokens import Tokens"),
        Source("text/pairs.py", "import os"),
        Source("data/tokens.py", "import torch"),
        Source("cli/info.py", "def info():\n    import regard.data.tokens"),
    ]
    chain = "regard.cli.train -> regard.text -> regard.data.tokens -> torch"
    assert way("regard.cli.train", imports_torch, graph(files)) == chain
    assert way("regard.cli.info", imports_torch, graph(files)) == ""


def test_finds_modules_that_import_each_other() -> None:
    files = [
        Source("attention/a.py", "from regard.layers.b import B"),
        Source("layers/b.py", "from regard.attention.a import A"),
        Source("layers/c.py", "from regard.layers import b"),
    ]
    assert cycles(graph(files)) == ["regard.attention.a", "regard.layers.b", "regard.layers.c"]
    assert cycles(graph(files[1:])) == []


def test_finds_undeclared_packages() -> None:
    assert undeclared([Source("data/a.py", "import numpy, os, torch")], ["torch>=2"]) == ["data/a.py imports numpy"]


def test_measures_the_median() -> None:
    assert median_length([Source("a.py", "def f(): ...\ndef g():\n    x = 1\n    y = 2\ndef h(): ...\n" + LONG)]) == 2


def test_shapes_are_checked_in_tests() -> None:
    from regard.attention.masks import length_mask

    with pytest.raises(TypeCheckError):
        length_mask(torch.ones(2), 3)  # lengths are integers
