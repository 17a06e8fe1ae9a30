"""`regard demo`: a pronunciation model from the built-in dictionary, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SAMPLES = ("attention", "regard", "phonograph", "knightly", "pneumatics", "queueing", "xylophonist", "daughterless")


def demo(
    out: Annotated[
        Path | None, typer.Option(help="The run folder to make [default: runs/demo, or the next free name].")
    ] = None,
) -> None:
    """Train on the built-in pronunciations, score held-out words, answer some, and say what to type next."""
    from importlib.resources import files

    from regard import trainer
    from regard.cli.progress import watched
    from regard.config import merge, parse_toml
    from regard.data.pronunciations import held_out_words
    from regard.metrics.evaluate import evaluate
    from regard.translator import Translator

    run = out or _free(Path("runs") / "demo")
    typer.echo(
        "English spelling to sounds, from the CMU Pronouncing Dictionary that comes with this package.", err=True
    )
    recipe = files("regard.recipes").joinpath("demo.toml").read_text(encoding="utf-8")
    settings = merge(parse_toml(recipe, "demo.toml"), {"data": {"task": "pronounce"}})
    with watched(run) as listener:
        trainer.train(settings, run, listener)
    translator = Translator.load(run)
    score = evaluate(translator, held_out_words(1000), beam=translator.recipe.decoding.beam)
    typer.echo(
        f"1,000 words that were held out, beam {translator.recipe.decoding.beam}, right if equal to any reference:"
    )
    typer.echo(f"  PER {score.values['per']:.2f} %   WER {score.values['wer']:.2f} %")
    for word, answer in zip(SAMPLES, translator.translate(SAMPLES), strict=True):
        typer.echo(f"  {word:14} {answer.text}")
    typer.echo("Next:", err=True)
    for line in (f"echo hello | regard translate {run}", f"regard info {run}", "regard train your-pairs.tsv"):
        typer.echo(f"  {line}", err=True)


def _free(path: Path) -> Path:
    """`path`, or path-2, path-3 ... : an earlier demo is never overwritten."""
    names = [path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 10_000))]
    return next(name for name in names if not name.exists())
