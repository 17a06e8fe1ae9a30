"""Before the first run: every variant is checked, tried for a few steps, and given its number of steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard import __version__
from regard.config import Data, Recipe, Settings, build_section, check_given, merge
from regard.data.origin import Origin, open_origin, pick, require_some
from regard.data.tasks import TASKS
from regard.errors import RecipeError, StorageError, UsageError
from regard.folder import write_file
from regard.lab.grid import Variant
from regard.lab.probe import Probe, probe
from regard.lab.question import Question, differences, read_json, read_question
from regard.models import outline
from regard.presets import choose
from regard.text.pairs import Pair
from regard.text.survey import survey
from regard.trainer import Listener, inherited, make_tokenizers
from regard.training.loop import Interrupted
from regard.translator import Tokenizers

NAME, DEVELOPMENT = "comparison.json", "development.jsonl"
SAMPLE = 5000  # training pairs that steps are tried on


@dataclass(frozen=True)
class Planned:
    """A variant, how long it is trained, and what a step of it costs."""

    variant: Variant
    steps: int
    max_minutes: float | None
    probe: Probe

    @property
    def seconds(self) -> float:
        """How long a run will take about, without validations unless it ends by the clock."""
        return min(self.steps * self.probe.step_seconds, 60 * (self.max_minutes or float("inf")))


@dataclass(frozen=True)
class Plan:
    """A question and all that was found before the first run, so that going on later need not find it again.

    `metric` judges; `content` changes when the data change; `tokenizers` counts the different ones, for with several a
    loss in nats a token is not the same for all. `made_with` says what program began. `development` are the pairs that
    all runs are measured on.
    """

    question: Question
    planned: tuple[Planned, ...]
    metric: str
    tokenizers: int
    content: str
    data: Data
    valid_pairs: int
    command: str
    made_with: str
    development: tuple[Pair, ...]

    def settings(self, planned: Planned, seed: int, folder: Path) -> Settings:
        """All that one run is told."""
        training: dict[str, Any] = {"seed": seed, "steps": planned.steps}
        if planned.max_minutes:
            training["max_minutes"] = planned.max_minutes
        settings = merge(_settings(self.question, planned.variant), {"training": training})
        if _draws_development(self.data):
            settings = merge(settings, {"data": {"valid": [str((folder / DEVELOPMENT).absolute())]}})
        return settings


def open_plan(question: Question, folder: Path, listener: Listener, command: str = "") -> Plan:
    """The plan in `folder` if it answers the same question, or a new one, written there when all is known.

    UserErrors say what is wrong with the question or the data, before anything is written; UsageError if the folder
    holds another comparison or something else.
    """
    if (folder / NAME).exists():
        return _read(question, folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is already there and holds no comparison", fix="choose another folder with --out")
    plan = _make(question, listener, command)
    _write(plan, folder)
    return plan


def asked_in(folder: Path) -> Question:
    """The question of a folder. UsageError if it holds no comparison."""
    if not (folder / NAME).exists():
        raise UsageError(f"{folder} holds no {NAME}", fix="name a folder that `regard compare` made")
    return read_json(folder / NAME, lambda facts: read_question(facts["question"]))


def _make(question: Question, listener: Listener, command: str) -> Plan:
    recipes = _check(question)
    data, valid_pairs = recipes[0].data, recipes[0].training.valid_pairs
    origin = open_origin(data, question.all_seeds[0])
    development = _development(origin, valid_pairs)
    sample = pick(origin.train, SAMPLE)
    tokenizers: dict[str, Tokenizers] = {}
    planned = []
    for variant, recipe in zip(question.variants, recipes, strict=True):
        if listener.interrupted():
            raise Interrupted
        kind = f"{recipe.training.begin_with}: {recipe.tokenizer.model_dump_json()}"
        tokenizers[kind] = tokenizers.get(kind) or make_tokenizers(origin.train, recipe)
        planned.append(_planned(question, variant, recipe, probe(recipe, tokenizers[kind], sample)))
        listener.tell({"event": "planned", "variant": variant.name, **_facts(planned[-1])})
    return Plan(
        question,
        tuple(planned),
        recipes[0].training.metric,
        len(tokenizers),
        origin.content,
        data,
        valid_pairs,
        command,
        f"regard {__version__}, torch {torch.__version__}, threads: {torch.get_num_threads()}",
        tuple(development),
    )


def _check(question: Question) -> list[Recipe]:
    """The recipe of each variant. Faults of the settings are told first, for they cost no look at the data."""
    for variant in question.variants:
        with _naming(variant):
            check_given(_settings(question, variant))
    data = build_section(Data, question.settings.get("data", {}), "data")
    looked = survey(open_origin(data, question.all_seeds[0]).train)
    require_some(looked.pairs, "all are blank or unreadable")
    recipes = []
    for variant in question.variants:
        with _naming(variant):
            settings = _settings(question, variant)
            recipes.append(choose(looked, settings, inherited(settings))[0])
            outline(recipes[-1].model, 8, 8)  # parts that do not go together
    return recipes


@contextmanager
def _naming(variant: Variant) -> Iterator[None]:
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"variant {variant.name}: {error.message}", where=error.where, fix=error.fix) from None


def _settings(question: Question, variant: Variant) -> Settings:
    return merge(question.settings, variant.settings)


def _development(origin: Origin, most: int) -> list[Pair]:
    """What training validates on: training pairs where there are too few to hold some out."""
    return pick(origin.valid, most) or pick(origin.train, most)


def _planned(question: Question, variant: Variant, recipe: Recipe, tried: Probe) -> Planned:
    budget, training = question.budget, recipe.training
    if budget is None:
        return Planned(variant, training.steps, training.max_minutes, tried)
    return Planned(
        variant, budget.steps(tried.step_seconds, tried.step_flops), budget.minutes or training.max_minutes, tried
    )


def _draws_development(data: Data) -> bool:
    """Whether development pairs are drawn with the seed: then those of the first one are kept for all."""
    return data.task in TASKS and not data.valid


def make_folder(folder: Path) -> None:
    """StorageError where none can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = "choose another place with --out"
        raise StorageError(f"cannot be made: {error.strerror}", where=str(folder), fix=fix) from None


def _write(plan: Plan, folder: Path) -> None:
    make_folder(folder)
    if _draws_development(plan.data):
        write_file(folder / DEVELOPMENT, _json_lines(plan.development, plan.data.columns or ("source", "target")))
    facts = {
        "made_with": plan.made_with,
        "command": plan.command,
        "question": plan.question.as_json(),
        "metric": plan.metric,
        "tokenizers": plan.tokenizers,
        "content": plan.content,
        "data": plan.data.model_dump(mode="json"),
        "valid_pairs": plan.valid_pairs,
        "planned": [_facts(planned) for planned in plan.planned],
    }
    write_file(folder / NAME, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())


def _facts(planned: Planned) -> dict[str, Any]:
    return {"steps": planned.steps, "max_minutes": planned.max_minutes, "probe": asdict(planned.probe)}


def _json_lines(pairs: Sequence[Pair], keys: tuple[str, str]) -> bytes:
    lines = (json.dumps({keys[0]: pair.source, keys[1]: pair.target}, ensure_ascii=False) + "\n" for pair in pairs)
    return "".join(lines).encode()


def _read(question: Question, folder: Path) -> Plan:
    """The plan as it was written. UsageError if it answers another question or the data have changed."""
    if different := differences(question, asked_in(folder)):
        fix = f"choose another folder with --out, or go on with `regard compare --resume {folder}`"
        raise UsageError(f"{folder} holds another comparison:\n  " + "\n  ".join(different), fix=fix)
    plan = read_json(folder / NAME, lambda facts: _plan(question, facts))
    origin = open_origin(plan.data, question.all_seeds[0])
    if origin.content != plan.content:
        fix = "restore the data, or compare anew in another folder with --out"
        raise UsageError(f"the data have changed since the runs in {folder} began", fix=fix)
    return replace(plan, development=tuple(_development(origin, plan.valid_pairs)))


def _plan(question: Question, facts: dict[str, Any]) -> Plan:
    """Without the development pairs, which stand in the data."""
    planned = tuple(
        Planned(variant, each["steps"], each["max_minutes"], Probe(**each["probe"]))
        for variant, each in zip(question.variants, facts["planned"], strict=True)
    )
    data = build_section(Data, facts["data"], "data")
    plain = {name: facts[name] for name in ("metric", "tokenizers", "content", "valid_pairs", "command", "made_with")}
    return Plan(question, planned, data=data, development=(), **plain)
