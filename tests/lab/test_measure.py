"""A run in numbers: read from events worked by hand, and from models."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from regard.attention.attend import Attend
from regard.attention.record import recorded
from regard.attention.scores import SCORES
from regard.data.tokens import Tokens
from regard.lab.measure import Result, curve, read_result, training_speed
from regard.look.sentence import END, attention, look, sentence_to_show
from regard.models import DECODERS, ENCODERS
from regard.models.interface import Decoder, Memory, State
from regard.text.tokenizer import BOS, EOS
from small import untrained


def step(number: int, seconds: float, speed: int) -> dict[str, object]:
    return {"event": "step", "step": number, "seconds": seconds, "tokens_per_second": speed}


def checkpoint(number: int, loss: float) -> dict[str, object]:
    return {"event": "checkpoint", "step": number, "best": True, "loss": loss, "wer": 50.0}


EVENTS = [
    {"event": "start"},
    step(1, 1.0, 1),
    step(20, 5.0, 100),
    step(40, 9.0, 300),
    checkpoint(40, 2.0),
    step(60, 20.0, 7),
    checkpoint(70, 1.0),
    {"event": "end", "step": 70, "seconds": 30.0},
]


def test_speed_is_read_where_no_checkpoint_fell_in() -> None:
    assert training_speed(EVENTS) == 300.0  # of 100 and 300 the upper; 1 is the first step, 7 held a checkpoint
    assert training_speed([step(1, 1.0, 5), checkpoint(1, 1.0), step(20, 2.0, 5)]) is None


def test_a_curve_has_the_time_of_each_checkpoint() -> None:
    assert curve(EVENTS) == (
        {"seconds": 9.0, "step": 40, "loss": 2.0, "wer": 50.0},
        {"seconds": 30.0, "step": 70, "loss": 1.0, "wer": 50.0},
    )
    assert curve([step(20, 4.0, 1), checkpoint(10, 3.0)])[0]["seconds"] == 2.0  # half of the way from the start


def test_attention_is_that_of_teacher_forcing() -> None:
    translator = untrained({"model": {"layers": 2}})
    source, target = [5, 6, 7, 8, 9], [4, 5, 6]
    rows = attention(translator, source, target)
    with torch.inference_mode(), recorded(translator.model) as seen:
        translator.model(Tokens.of([[*source, EOS]]), Tokens.of([[BOS, *target]]))
    assert rows is not None
    torch.testing.assert_close(torch.tensor(rows), seen["decoder.blocks.1.look"][0].mean(0))


class Distracted(nn.Module):
    """A decoder that, after all it does, attends to something else, as many keys as the source has tokens."""

    def __init__(self, decoder: Decoder, keys: int) -> None:
        super().__init__()
        self.decoder, self.keys = decoder, keys
        self.attend = Attend(SCORES["dot"](4))

    def start(self, memory: Memory) -> State:
        return self.decoder.start(memory)

    def step(self, last_ids: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        found = self.decoder.step(last_ids, state)
        keys = torch.randn(1, 1, self.keys, 4)
        self.attend(torch.randn(1, 1, 1, 4), keys, keys)
        return found


def test_attention_to_anything_else_is_not_taken_for_it() -> None:
    translator = untrained()
    source, target = [5, 6, 7, 8, 9], [4, 5, 6]
    wanted = attention(translator, source, target)
    translator.model.decoder = Distracted(translator.model.decoder, len(source) + 1)
    assert attention(translator, source, target) == wanted


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_shows_where_it_looks(encoder: str, decoder: str) -> None:
    translator = untrained({"model": {"encoder": encoder, "decoder": decoder}})
    seen = look(translator, "lazy fox")
    assert seen is not None
    assert seen.source == (*"lazy", " ", *"fox", END) or len(seen.source) == len("lazy fox") + 1
    assert seen.target[-1] == END or len(seen.target) == 40
    assert len(seen.weights) == len(seen.target)
    for row in seen.weights:
        assert len(row) == len(seen.source)
        assert sum(row) == pytest.approx(1.0, abs=1e-3)


def test_the_sentence_shown_is_of_middling_length_and_short_enough() -> None:
    assert sentence_to_show(["a" * 90, "bb", "c", "ddd", "eeee" * 20]) == "bb"
    assert sentence_to_show(["a" * 90, "b" * 80]) == "b" * 80


def test_a_result_comes_back_from_json() -> None:
    seen = look(untrained(), "fox")
    result = Result(
        "a", 1, "", {"loss": 0.5}, 0, 1.0, 2, 3.0, 4.0, None, ({"step": 1.0, "seconds": 2.0},), (("s", "a", "r"),), seen
    )
    assert read_result(json.loads(json.dumps(result.as_json()))) == result
    empty = Result("a", 1, "lost", {}, 0, 1.0, 2, 3.0, 4.0, None, (), (), None)
    assert read_result(json.loads(json.dumps(empty.as_json()))) == empty
