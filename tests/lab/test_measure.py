"""A run in numbers: read from events worked by hand, and from models."""

from __future__ import annotations

import json

import pytest
import torch

from regard.attention.record import recorded
from regard.data.tokens import Tokens
from regard.inside.result import END
from regard.lab.measure import Result, curve, read_result, training_speed
from regard.look.glance import MOST, glance, sentence_to_show
from regard.models import DECODERS, ENCODERS
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


def test_a_glance_is_the_last_attention_to_the_source() -> None:
    translator = untrained({"model": {"layers": 2}})
    seen = glance(translator, "lazy fox")
    [found] = translator.translate(["lazy fox"], beam=1)
    source, answer = translator.tokenizers.source.encode("lazy fox"), found.answers[0]
    with torch.inference_mode(), recorded(translator.model) as weights:
        translator.model(Tokens.of([[*source, EOS]]), Tokens.of([[BOS, *answer.ids]]))
    assert seen is not None
    wanted = weights["decoder.blocks.1.look"][0].mean(0)[: len(seen.weights)]
    torch.testing.assert_close(torch.tensor(seen.weights), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_shows_where_it_looks(encoder: str, decoder: str) -> None:
    translator = untrained({"model": {"encoder": encoder, "decoder": decoder}})
    seen = glance(translator, "lazy fox")
    assert seen is not None
    assert seen.source[-1] == END
    assert len(seen.source) == len("lazy fox") + 1
    assert seen.target[-1] == END or len(seen.target) <= MOST
    assert len(seen.weights) == len(seen.target)
    for row in seen.weights:
        assert len(row) == len(seen.source)
        assert sum(row) == pytest.approx(1.0, abs=1e-3)


def test_the_sentence_shown_is_of_middling_length_and_short_enough() -> None:
    assert sentence_to_show(["a" * 90, "bb", "c", "ddd", "eeee" * 20]) == "bb"
    assert sentence_to_show(["a" * 90, "b" * 80]) == "b" * 80


def test_a_result_comes_back_from_json() -> None:
    seen = glance(untrained(), "fox")
    result = Result(
        "a", 1, "", {"loss": 0.5}, 0, 1.0, 2, 3.0, 4.0, None, ({"step": 1.0, "seconds": 2.0},), (("s", "a", "r"),), seen
    )
    assert read_result(json.loads(json.dumps(result.as_json()))) == result
    empty = Result("a", 1, "lost", {}, 0, 1.0, 2, 3.0, 4.0, None, (), (), None)
    assert read_result(json.loads(json.dumps(empty.as_json()))) == empty
