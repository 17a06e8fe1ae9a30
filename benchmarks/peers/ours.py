"""Our side, and the loop of a textbook over our model, which runs the whole prefix again at each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from peers.subject import Contender, Subject
from regard import Translator
from regard.config import build_recipe
from regard.data.tokens import Tokens
from regard.models.interface import EncoderDecoder, Memory
from regard.text.tokenizer import BOS, Tokenizer
from regard.text.vocabulary import SPECIALS
from regard.translator import Tokenizers


def translator_of(subject: Subject) -> Translator:
    """The subject's model as a user has it. Its words are w4, w5, ...: the specials come before them."""
    count = subject.shape.vocabulary
    words = " ".join(f"w{number}" for number in range(len(SPECIALS), count))
    tokenizer = Tokenizer.train([words], "symbols", vocabulary=count)
    side = {"kind": "symbols", "vocabulary": count}
    recipe = build_recipe(
        {
            "data": {"pairs": ["none"]},
            "tokenizer": {"source": side, "target": side, "joint": True},
            "model": {"layers": 1, "size": 1, "heads": 1, "inner": 1, "dropout": 0.0},
            "training": {"steps": 1, "learning_rate": 1.0, "warmup": 0, "checkpoint_every": 1, "metric": "loss"},
            "decoding": {"limit_factor": 1.0},
        }
    )
    return Translator(subject.model, Tokenizers(tokenizer, tokenizer), recipe)


def regard_search(translator: Translator, sources: list[list[int]], beam: int, count: int) -> list[list[int]]:
    """The ids of the best answer of each source, `count` of them, near-ties settled as always."""
    decoding = translator.decoding({"limit_factor": 0.0, "limit_extra": count, "beam": beam})
    found = translator.search([source[:-1] for source in sources], decoding)
    return [hypotheses[0].ids for hypotheses in found]


def regard_translate(translator: Translator, lines: Iterable[str], beam: int, batch_size: int) -> Iterator[str]:
    """Lines to lines, as a user calls it."""
    return (found.text for found in translator.translate(lines, beam=beam, batch_size=batch_size))


def regard(subject: Subject) -> Contender:
    """Our decoder. At the limit it asks the model once more, whether the sentence ends there: hence one id to spare."""
    translator = translator_of(subject)
    return Contender(lambda sources, beam, count: regard_search(translator, sources, beam, count), spare=1)


def rerun(subject: Subject) -> Contender:
    """Our model in a loop without a cache."""
    return Contender(lambda sources, beam, count: rerun_search(subject.model, sources, beam, count))


@torch.inference_mode()
def rerun_search(model: EncoderDecoder, sources: list[list[int]], beam: int, count: int) -> list[list[int]]:
    """Beam search as a textbook writes it; nothing ends before `count` ids, so nothing has to be ranked by length."""
    rows = torch.arange(len(sources)).repeat_interleave(beam)
    memory = model.encode(Tokens.of(sources))
    memory = Memory(memory.states[rows], memory.lengths[rows])
    ids = torch.full((len(rows), 1), BOS)
    total = torch.full((len(sources), beam), -torch.inf)
    total[:, 0] = 0.0  # the others are the same hypothesis
    for _ in range(count):
        values = model.decoder(Tokens(ids, torch.full((len(ids),), ids.shape[1])), memory)[:, -1].log_softmax(-1)
        ids, total = _grow(ids, total, values)
    return ids.view(len(sources), beam, -1)[:, 0, 1:].tolist()


def _grow(ids: Tensor, total: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The best continuations: ids [B * beam, T] and totals [B, beam], from log-probabilities [B * beam, V]."""
    sentences, beam = total.shape
    width = values.shape[1]
    total, where = (total.view(-1, 1) + values).view(sentences, beam * width).topk(beam)
    parent = (torch.arange(sentences)[:, None] * beam + where // width).flatten()
    return torch.cat((ids[parent], (where % width).view(-1, 1)), dim=1), total
