"""The end of a run: the weights that are published, and the files beside them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from regard.data.corpus import EncodedPairs
from regard.errors import ModelFolderError
from regard.folder import seal, write_file
from regard.inside.choosing import NAME as ALIGNMENT
from regard.inside.choosing import Chosen, choose
from regard.look import report
from regard.look.curve import save_curve
from regard.model_card import model_card
from regard.models.interface import EncoderDecoder
from regard.models.weights import save_weights
from regard.trainer.listener import Tell
from regard.trainer.validation import Validator
from regard.training.checkpoint import list_checkpoints, load_checkpoint
from regard.training.guide import HEAD, Guide
from regard.training.journal import MACHINE, NAME, Journal
from regard.training.loop import Progress
from regard.training.step import averaged
from regard.translator import Translator

CURVE = "curve.svg"
Weights = dict[str, Tensor]


def publish(run: Path, translator: Translator, progress: Progress, validate: Validator, tell: Tell) -> None:
    """Makes `run` a model folder with the better of the best checkpoint and the average of the last ones.

    Both are judged by the search that users will get. The best of many checkpoints owes some of its value to luck, so
    its old one, of greedy decoding, is not held against the average's.
    """
    model, recipe, journal = translator.model, translator.recipe, Journal(run)
    beam = recipe.decoding.beam if recipe.decoding.strategy == "beam" else 1
    steps, best, mean = _candidates(run, progress, recipe.training.checkpoint_every, recipe.training.average, tell)
    model.load_state_dict(mean)
    chosen, what = validate(model, beam), f"the average of steps {', '.join(map(str, steps))}"
    if best is not None and steps != [progress.best_step]:
        model.load_state_dict(best)
        other = validate(model, beam)
        if other.value <= chosen.value:
            chosen, what = other, f"step {progress.best_step}"
        else:
            model.load_state_dict(mean)
    share = 1.0 - progress.aside / max(progress.seconds, 1e-9)
    times = {"seconds": progress.seconds, "in_steps": round(share, 4)}
    search = "greedy" if beam == 1 else f"beam {beam}"
    tell({"event": "end", "step": progress.step, **times, "published": what, "search": search, **chosen.numbers})
    events = journal.read()
    write_file(run / "model.safetensors", save_weights(model))
    save_curve(events, run / CURVE, run.name)
    report.save_report(run, events, translator, validate.pairs, chosen.answers)
    files = {"recipe.toml": recipe.to_toml().encode(), **translator.tokenizers.files()}
    if place := _place(model, recipe.training.guide, validate.encoded):
        files[ALIGNMENT] = place.to_json()
        write_file(run / ALIGNMENT, files[ALIGNMENT])
    write_file(run / "README.md", model_card(run.name, translator, events).encode())
    seal(run, [*files, "model.safetensors", "README.md", NAME, MACHINE, CURVE, report.NAME])


def _place(model: EncoderDecoder, guide: float, pairs: EncodedPairs) -> Chosen | None:
    """Where alignments are read: the head that was guided, or the best by the development pairs."""
    if guide:
        return Chosen(f"cross.{Guide(model, guide).layer}.{HEAD}", "the head that training.guide guided")
    return choose(model, pairs)


def _candidates(
    run: Path, progress: Progress, every: int, average: int, tell: Tell
) -> tuple[list[int], Weights | None, Weights]:
    """Steps and mean weights of the last checkpoints, and the weights of the best (None: it is gone)."""
    folders = {int(folder.name): folder for folder in list_checkpoints(run)}
    steps = [step for step in folders if step % every == 0][-average:] or [max(folders, default=0)]
    loaded: dict[int, Weights] = {}
    for step in {*steps, progress.best_step} & folders.keys():
        try:
            checkpoint = load_checkpoint(folders[step])
        except ModelFolderError as error:
            tell({"event": "warning", "text": f"a checkpoint is left out of the end: {error}"})
        else:
            loaded[step] = averaged(checkpoint.weights, checkpoint.optimiser)
    steps = [step for step in steps if step in loaded] or list(loaded)
    if not loaded:
        raise ModelFolderError("no checkpoint loads", where=str(run / "checkpoints"), fix="train a new run")
    return steps, loaded.get(progress.best_step), _mean([loaded[step] for step in steps])


def _mean(weights: list[Weights]) -> Weights:
    """Each tensor's mean over checkpoints (Junczys-Dowmunt et al. 2016)."""
    return {
        name: torch.stack([each[name].double() for each in weights]).mean(0).to(tensor.dtype)
        for name, tensor in weights[0].items()
    }
