"""The loop of a run from its start or its newest checkpoint, and the model folder at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regard.data.batches import real_share
from regard.data.tokens import Batch
from regard.folder import make_folders, write_file
from regard.models.interface import EncoderDecoder
from regard.text.tokenizer import Tokenizer
from regard.trainer.listener import Listener, Tell, tell_all
from regard.trainer.publish import publish
from regard.trainer.setup import Setup
from regard.trainer.validation import Validator
from regard.training.boards import open_boards
from regard.training.checkpoint import Checkpoint
from regard.training.journal import Event, Journal
from regard.training.loop import Surroundings, Validation, fit
from regard.training.parallel import load_whole
from regard.training.step import Stepper
from regard.translator import Tokenizers, Translator

SKIPPED = "skipped"  # the folder of batches that made no number


def carry_on(run: Path, setup: Setup, listener: Listener, resumed: Checkpoint | None, *, goes_on: bool) -> None:
    """Trains to the end. Of all processes the first one writes.

    `goes_on`: the journal holds what belongs to `resumed`, or to a run that died before its first checkpoint.
    """
    recipe, tokenizers = setup.job.recipe, setup.job.tokenizers
    if resumed:
        load_whole(setup.model, resumed.weights)
    tell = _teller(run, setup, listener, goes_on) if setup.world.is_first else _nobody
    translator = Translator(setup.model, tokenizers, recipe)
    silent = _nobody if resumed else tell
    validator = setup.world.in_first(lambda: Validator.of(setup.origin, translator, silent))
    if not resumed:
        tell(_started(setup))
    stepper = Stepper(setup.model, recipe.training, setup.world, setup.precision, setup.fits())
    files, journal = setup.job.files(), Journal(run)
    keep = _keeper(run, tokenizers)
    judge = validator or _not_here
    around = Surroundings(run, files, judge, tell, listener.interrupted, keep, journal.flush)
    progress = fit(stepper, setup.corpus, recipe.data.tokens_per_batch, around, resumed)
    if validator:
        model = stepper.plain or setup.model
        publish(run, Translator(model, tokenizers, recipe), progress, validator, tell)
    setup.world.wait()


def _nobody(event: Event) -> None:
    pass


def _not_here(model: EncoderDecoder) -> Validation:
    raise AssertionError("the first process alone judges a model")


def _teller(run: Path, setup: Setup, listener: Listener, goes_on: bool) -> Tell:
    journal, training = Journal(run), setup.job.recipe.training
    history = journal.read() if goes_on else None
    boards = open_boards(training.boards, run, setup.job.recipe.model_dump(), history)
    return tell_all(journal.write, boards, listener.tell)


def _started(setup: Setup) -> Event:
    recipe, left = setup.job.recipe, setup.left
    pairs, order = setup.corpus.epoch(0), setup.order
    return {
        "event": "start",
        "parameters": sum(parameter.numel() for parameter in setup.model.parameters()),
        "steps": recipe.training.steps,
        "pairs": len(pairs),
        "batches_per_epoch": len(order),
        "real_tokens": round(real_share(pairs, order), 4),
        "left_out": {"blank": left.blank, "too_long": left.too_long, "bad_lines": left.bad_lines},
        "content": setup.origin.content,
    }


def _keeper(run: Path, tokenizers: Tokenizers) -> Callable[[int, tuple[Batch, ...]], str]:
    """Writes the pairs of a step as text, for a person to look at."""

    def keep(step: int, batches: tuple[Batch, ...]) -> str:
        path = run / SKIPPED / f"{step:08d}.tsv"
        make_folders(path.parent)
        write_file(path, "".join(_lines(batch, tokenizers) for batch in batches).encode())
        return str(path)

    return keep


def _lines(batch: Batch, tokenizers: Tokenizers) -> str:
    rows = zip(
        _texts(batch.source.ids.tolist(), tokenizers.source),
        _texts(batch.target.ids.tolist(), tokenizers.target),
        strict=True,
    )
    return "".join(f"{source}\t{target}\n" for source, target in rows)


def _texts(rows: list[list[int]], tokenizer: Tokenizer) -> list[str]:
    return [" ".join(tokenizer.decode(ids).split()) for ids in rows]
