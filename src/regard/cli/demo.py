"""`regard demo`: a pronunciation model from the built-in dictionary, in minutes."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from regard.config import Settings

SAMPLES = 8  # held-out words whose answers are shown


def demo(
    out: Annotated[
        Path | None, typer.Option(help="The run folder to make [default: runs/demo, or the next free name].")
    ] = None,
) -> None:
    """Train on the built-in pronunciations, score held-out words, answer some, and say what to type next."""
    from regard import trainer
    from regard.cli.progress import watched
    from regard.data.pronunciations import held_out_words
    from regard.heap import keep_heap
    from regard.metrics.evaluate import evaluate
    from regard.translator import Translator

    keep_heap()
    run = out or _free(Path("runs") / "demo")
    typer.echo(
        "English spelling to sounds, from the CMU Pronouncing Dictionary that comes with this package.", err=True
    )
    with watched(run) as listener:
        trainer.train(recipe(), run, listener)
    translator = Translator.load(run)
    held_out = held_out_words(1000)
    beam = translator.recipe.decoding.beam
    score = evaluate(translator, held_out, beam=beam)
    typer.echo(f"{score.sources:,} words that were held out, beam {beam}, right if equal to any reference:")
    typer.echo(f"  PER {score.values['per']:.2f} %   WER {score.values['wer']:.2f} %")
    wanted: dict[str, list[str]] = {}
    for pair in held_out:
        wanted.setdefault(pair.source, []).append(pair.target)
    words = list(wanted)[:SAMPLES]
    puzzle = ""  # a word whose answer is wrong, and what would be right
    for word, answer in zip(words, translator.translate(words), strict=True):
        right = answer.text in wanted[word]
        puzzle = puzzle or ("" if right else f"{quote(word)} --target {quote(wanted[word][0])}")
        typer.echo(f"  {word:14} {answer.text:30} {'right' if right else 'wanted ' + ' | '.join(wanted[word])}")
    typer.echo("Next:", err=True)
    name = "regard" if shutil.which("regard") else sys.argv[0]  # the environment need not be activated
    for line in (
        f"echo hello | {name} translate {run}",
        f"{name} look {run} {puzzle or 'hello'}",
        f"{name} info {run}",
        f"{name} train your-pairs.tsv",
    ):
        typer.echo(f"  {line}", err=True)


def recipe() -> Settings:
    """The demo's settings, as they come with the package."""
    from regard.config import merge, parse_toml

    text = files("regard.recipes").joinpath("demo.toml").read_text(encoding="utf-8")
    return merge(parse_toml(text, "demo.toml"), {"data": {"task": "pronounce"}})


def _free(path: Path) -> Path:
    """`path`, or path-2, path-3 ... : an earlier demo is never overwritten."""
    names = [path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 10_000))]
    return next(name for name in names if not name.exists())
