"""From pairs to a run folder: the only place where text, training, decoding and metrics meet.

origin -> survey -> recipe -> tokenizers -> encoded corpus -> model -> loop -> model folder
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from regard.config import Data, Recipe, Settings, Side, build_section, check_given
from regard.data.batches import epoch_batches, mix, real_share
from regard.data.corpus import Corpus, EncodedPairs, FileCorpus, GeneratedCorpus, Left, PairEncoder
from regard.data.origin import Origin, open_origin, pick, require_some
from regard.errors import ModelFolderError, StorageError, UsageError
from regard.folder import MANIFEST, seal, write_file
from regard.look.curve import save_curve
from regard.metrics.evaluate import evaluate
from regard.model_card import model_card
from regard.models import build, outline
from regard.models.interface import EncoderDecoder
from regard.models.weights import save_weights
from regard.presets import choose
from regard.text.pairs import Pair
from regard.text.survey import survey
from regard.text.tokenizer import Tokenizer
from regard.training.checkpoint import latest_checkpoint, list_checkpoints, load_checkpoint
from regard.training.journal import NAME, Event, Journal
from regard.training.loop import Progress, Surroundings, Validation, fit
from regard.training.loss import cross_entropy
from regard.translator import Tokenizers, Translator, read_recipe

CURVE = "curve.png"


@dataclass(frozen=True)
class Listener:
    """Who is told what happens, and who may ask a run to stop."""

    tell: Callable[[Event], None] = lambda event: None
    interrupted: Callable[[], bool] = lambda: False


def train(settings: Settings, run: Path, listener: Listener = Listener()) -> None:
    """Trains a model with `settings` (nested; the rest follows from the data) into the new folder `run`.

    UserErrors say what is wrong with settings or data, before anything is written; TrainingError if the loss is lost.
    """
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise UsageError(
            f"{run} is already there",
            fix=f"choose another folder with --out, or go on with `regard train --resume {run}`",
        )
    check_given(settings)
    data = build_section(Data, settings.get("data", {}), "data")
    origin = open_origin(data, settings.get("training", {}).get("seed", 1))
    looked = survey(origin.train)
    require_some(looked.pairs, "all are blank or unreadable")
    recipe, reasons = choose(looked, settings)
    outline(recipe.model, 8, 8)  # parts that do not go together are told before anything is written
    origin = open_origin(recipe.data, recipe.training.seed)
    if recipe.data.valid:
        pick(origin.valid, most=1)  # reads it to the end: a fault in it is told before anything is written
    tokenizers = train_tokenizers(origin.train, recipe)
    files = {"recipe.toml": recipe.to_toml().encode(), **tokenizers.files()}
    for name, content in files.items():
        _make_folder((run / name).parent)
        write_file(run / name, content)
    journal = Journal(run)
    tell = _both(journal.write, listener.tell)
    tell({"event": "recipe", "pairs": looked.pairs, "reasons": [asdict(reason) for reason in reasons]})
    _run(run, recipe, tokenizers, origin, journal, listener, resume=False)


def resume(run: Path, listener: Listener = Listener()) -> None:
    """Goes on from the newest checkpoint of `run` as if it had never stopped: equal bits on the same machine.

    ModelFolderError if `run` is no run folder; UsageError if it is finished.
    """
    if not (run / "recipe.toml").exists():
        raise ModelFolderError("no recipe.toml here", where=str(run), fix="name a folder that `regard train` made")
    if (run / MANIFEST).exists():
        raise UsageError(
            f"{run} is finished", fix="train a new run with --out, and more training.steps if it fell short"
        )
    recipe = read_recipe(run)
    origin = open_origin(recipe.data, recipe.training.seed)
    _run(run, recipe, Tokenizers.load(run), origin, Journal(run), listener, resume=True)


def train_tokenizers(pairs: Iterable[Pair], recipe: Recipe) -> Tokenizers:
    """The tokenizers a recipe asks for, learned from the training pairs alone."""
    chosen = recipe.tokenizer
    if chosen.joint:
        both = _train_tokenizer((text for pair in pairs for text in (pair.source, pair.target)), chosen.source)
        return Tokenizers(both, both)
    source = _train_tokenizer((pair.source for pair in pairs), chosen.source)
    return Tokenizers(source, _train_tokenizer((pair.target for pair in pairs), chosen.target))


def _train_tokenizer(texts: Iterable[str], side: Side) -> Tokenizer:
    return Tokenizer.train(texts, side.kind, vocabulary=side.vocabulary, unicode=side.unicode, lowercase=side.lowercase)


def _run(
    run: Path,
    recipe: Recipe,
    tokenizers: Tokenizers,
    origin: Origin,
    journal: Journal,
    listener: Listener,
    resume: bool,
) -> None:
    """The loop from its start or its newest checkpoint, then the model folder."""
    tell = _both(journal.write, listener.tell)
    newest = latest_checkpoint(run) if resume else None
    resumed = load_checkpoint(newest) if newest else None
    journal.rewind(resumed.step if resumed else 0)
    torch.manual_seed(mix(recipe.training.seed))
    model = build(recipe.model, len(tokenizers.source), len(tokenizers.target))
    if resumed:
        model.load_state_dict(resumed.weights)
    translator = Translator(model, tokenizers, recipe)
    corpus, left = _corpus(origin, translator)
    validate = _validator(origin, translator, tell)
    files = {"recipe.toml": recipe.to_toml().encode(), **tokenizers.files()}
    if not resumed:
        tell(_started(model, corpus, left, recipe))
    around = Surroundings(run, files, validate, tell, listener.interrupted)
    progress = fit(model, corpus, recipe.training, recipe.data.tokens_per_batch, around, resumed)
    _finish(run, translator, progress, validate, journal, tell, files)


def _corpus(origin: Origin, translator: Translator) -> tuple[Corpus, Left]:
    """The training pairs as ids: memory-mapped from the cache, or drawn anew each epoch."""
    encoder = PairEncoder(translator.tokenizers.source, translator.tokenizers.target, translator.recipe.data.longest)
    if origin.redraw:
        return GeneratedCorpus(origin.redraw, encoder), Left()
    pairs, left = encoder.on_disk(origin.train, origin.content, origin.bad_lines)
    require_some(len(pairs), f"{left.blank} blank, {left.too_long} longer than data.longest")
    return FileCorpus(pairs), left


def _validator(origin: Origin, translator: Translator, tell: Callable[[Event], None]) -> Callable[..., Validation]:
    """What a checkpoint is worth: loss on the development pairs, and metrics of decoding them greedily."""
    training, data = translator.recipe.training, translator.recipe.data
    pairs = pick(origin.valid, training.valid_pairs)
    if not pairs:
        tell({"event": "warning", "text": "too few pairs to hold some out: validation looks at training pairs"})
        pairs = pick(origin.train, training.valid_pairs)
    pairs = _that_can_be_read(pairs, translator, tell)
    encoder = PairEncoder(translator.tokenizers.source, translator.tokenizers.target, data.longest)
    encoded = encoder.in_memory(pairs)

    def validate(model: EncoderDecoder) -> Validation:
        model.eval()
        numbers = {"loss": mean_loss(model, encoded, data.tokens_per_batch)}
        now = Translator(model, translator.tokenizers, translator.recipe)  # a translator copies weights when it answers
        numbers |= evaluate(now, pairs, beam=1).values
        return Validation(_worth(training.metric, numbers), numbers)

    return validate


def _that_can_be_read(pairs: list[Pair], translator: Translator, tell: Callable[[Event], None]) -> list[Pair]:
    """Without the pairs whose source is longer than the model reads: they are left out of training as well."""
    ids = translator.tokenizers.source.encode_many([pair.source for pair in pairs])
    kept = [pair for pair, source in zip(pairs, ids, strict=True) if len(source) <= translator.longest_source]
    if len(kept) < len(pairs):
        tell({"event": "warning", "text": f"{len(pairs) - len(kept)} development pairs are too long and left out"})
    return kept


def mean_loss(model: EncoderDecoder, pairs: EncodedPairs, tokens_per_batch: int) -> float:
    """Cross-entropy in nats a target token, without smoothing, of teacher forcing on `pairs`; 0.0 for no pairs."""
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for rows in epoch_batches(pairs, tokens_per_batch, seed=0, epoch=0):
            batch = pairs.batch(rows)
            logits = model(batch.source, batch.previous)
            total += float(cross_entropy(logits, batch.gold.ids, batch.gold.is_real))
            tokens += batch.real_targets
    return total / max(1, tokens)


def _worth(metric: str, numbers: dict[str, float]) -> float:
    """Smaller is better. The loss, a thousandth of it, tells checkpoints with the same metric apart."""
    lower_is_better = metric in ("loss", "wer", "per")
    return (numbers[metric] if lower_is_better else -numbers[metric]) + numbers["loss"] / 1000


def _finish(
    run: Path,
    translator: Translator,
    progress: Progress,
    validate: Callable[[EncoderDecoder], Validation],
    journal: Journal,
    tell: Callable[[Event], None],
    files: dict[str, bytes],
) -> None:
    """Publishes the better of the best checkpoint and the average of the last ones."""
    model, training = translator.model, translator.recipe.training
    folders = {int(folder.name): folder for folder in list_checkpoints(run)}
    steps = [step for step in folders if step % training.checkpoint_every == 0][-training.average :] or [max(folders)]
    model.load_state_dict(_mean([load_checkpoint(folders[step]).weights for step in steps]))
    averaged = validate(model)
    use_average = progress.best_value is None or averaged.value < progress.best_value
    if not use_average:
        model.load_state_dict(load_checkpoint(folders[progress.best_step]).weights)
    chosen = averaged if use_average else validate(model)
    what = f"the average of steps {', '.join(map(str, steps))}" if use_average else f"step {progress.best_step}"
    tell({"event": "end", "step": progress.step, "seconds": progress.seconds, "published": what, **chosen.numbers})
    save_curve(journal.read(), run / CURVE, run.name)
    write_file(run / "model.safetensors", save_weights(model))
    write_file(run / "README.md", model_card(run.name, translator, journal.read()).encode())
    seal(run, [*files, "model.safetensors", "README.md", NAME, CURVE])


def _mean(weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each tensor's mean over checkpoints (Junczys-Dowmunt et al. 2016)."""
    return {
        name: torch.stack([each[name].double() for each in weights]).mean(0).to(tensor.dtype)
        for name, tensor in weights[0].items()
    }


def _started(model: EncoderDecoder, corpus: Corpus, left: Left, recipe: Recipe) -> Event:
    pairs = corpus.epoch(0)
    batches = epoch_batches(pairs, recipe.data.tokens_per_batch, recipe.training.seed, 0)
    return {
        "event": "start",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": recipe.training.steps,
        "pairs": len(pairs),
        "batches_per_epoch": len(batches),
        "real_tokens": round(real_share(pairs, batches), 4),
        "left_out": {"blank": left.blank, "too_long": left.too_long, "bad_lines": left.bad_lines},
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot be made: {error.strerror}", where=str(folder), fix="choose another place with --out"
        ) from None


def _both(first: Callable[[Event], None], second: Callable[[Event], None]) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell
