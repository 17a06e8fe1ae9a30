"""What a checkpoint is worth: the loss on the development pairs, and metrics of decoding them greedily."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from regard.data.batches import epoch_batches
from regard.data.corpus import EncodedPairs, PairEncoder
from regard.data.origin import Origin, pick
from regard.errors import TrainingError
from regard.metrics.evaluate import answer_pairs, score_answers
from regard.metrics.samples import samples
from regard.models.interface import EncoderDecoder
from regard.text.pairs import Pair
from regard.trainer.listener import Tell
from regard.training.loop import Validation
from regard.training.loss import Loss
from regard.translator import Translator


@dataclass(frozen=True)
class Validator:
    """Development pairs, and how a model does on them."""

    translator: Translator
    pairs: list[Pair]
    encoded: EncodedPairs

    @staticmethod
    def of(origin: Origin, translator: Translator, tell: Tell) -> Validator:
        """With at most `training.valid_pairs` of the development pairs; what is odd about them is told."""
        training, tokenizers = translator.recipe.training, translator.tokenizers
        pairs = pick(origin.valid, training.valid_pairs)
        if not pairs:
            tell({"event": "warning", "text": "too few pairs to hold some out: validation looks at training pairs"})
            pairs = pick(origin.train, training.valid_pairs)
        pairs = _that_can_be_read(pairs, translator, tell)
        encoder = PairEncoder(tokenizers.source, tokenizers.target, translator.recipe.data.longest)
        return Validator(translator, pairs, encoder.in_memory(pairs))

    def __call__(self, model: EncoderDecoder, beam: int = 1) -> Validation:
        """Decodes with `model` as it is now; TrainingError if it makes no numbers."""
        recipe = self.translator.recipe
        model.eval()
        numbers = {"loss": mean_loss(model, self.encoded, recipe.data.tokens_per_batch)}
        if not math.isfinite(numbers["loss"]):
            raise TrainingError(
                f"the loss on the development pairs is {numbers['loss']}",
                fix="lower training.learning_rate or lengthen training.warmup; earlier checkpoints are intact",
            )
        now = Translator(model, self.translator.tokenizers, recipe)  # a translator copies weights when it answers
        answers = answer_pairs(now, self.pairs, beam=beam)
        numbers |= score_answers(now, self.pairs, answers).values
        worth = _worth(recipe.training.metric, numbers)
        return Validation(worth, numbers, tuple(samples(self.pairs, answers)), tuple(answers))


def _that_can_be_read(pairs: list[Pair], translator: Translator, tell: Tell) -> list[Pair]:
    """Without the pairs whose source is longer than the model reads: they are left out of training as well."""
    ids = translator.tokenizers.source.encode_many([pair.source for pair in pairs])
    kept = [pair for pair, source in zip(pairs, ids, strict=True) if len(source) <= translator.longest_source]
    if len(kept) < len(pairs):
        tell({"event": "warning", "text": f"{len(pairs) - len(kept)} development pairs are too long and left out"})
    return kept


def mean_loss(model: EncoderDecoder, pairs: EncodedPairs, tokens_per_batch: int) -> float:
    """Cross-entropy in nats a target token, without smoothing, of teacher forcing on `pairs`; 0.0 for no pairs."""
    total, tokens, loss = 0.0, 0, Loss(model)
    with torch.inference_mode():
        for rows in epoch_batches(pairs, tokens_per_batch, seed=0, epoch=0):
            batch = pairs.batch(rows)
            total += float(loss(batch))
            tokens += batch.real_targets
    return total / max(1, tokens)


def _worth(metric: str, numbers: dict[str, float]) -> float:
    """Smaller is better. The loss, a thousandth of it, tells checkpoints with the same metric apart."""
    lower_is_better = metric in ("loss", "wer", "per")
    return (numbers[metric] if lower_is_better else -numbers[metric]) + numbers["loss"] / 1000
