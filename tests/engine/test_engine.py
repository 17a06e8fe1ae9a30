"""The engine and the plain modules agree: same logits, whatever the model's options and whatever a search selects."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from regard.data.tokens import Tokens
from regard.engine import EncoderEngine, Engine, why_not
from regard.errors import UsageError
from regard.models.interface import Memory
from regard.models.recurrent import Recurrence, RecurrentDecoder
from regard.models.transformer import Shape, TransformerDecoder, TransformerEncoder

SHAPE = Shape(16, 2, 24, longest=40)
OPTIONS = {
    "paper": SHAPE,
    "norm first": replace(SHAPE, norm_first=True),
    "rms": replace(SHAPE, norm="rms"),
    "rms first": replace(SHAPE, norm="rms", norm_first=True),
    "group": replace(SHAPE, norm="group"),
    "no norm": replace(SHAPE, norm="none"),
    "no norm first": replace(SHAPE, norm="none", norm_first=True),
    "no bias": replace(SHAPE, bias=False),
    "gelu": replace(SHAPE, activation="gelu"),
    "swish": replace(SHAPE, activation="swish"),
    "gated": replace(SHAPE, gated=True),
    "gated, no bias": replace(SHAPE, gated=True, bias=False, activation="gelu"),
    "learned": replace(SHAPE, positions="learned"),
    "no positions": replace(SHAPE, positions="none"),
    "rotary": replace(SHAPE, positions="rotary"),
    "relative": replace(SHAPE, positions="relative"),
    "relative bias": replace(SHAPE, positions="relative_bias"),
    "dot": replace(SHAPE, score="dot"),
    "one head": replace(SHAPE, heads=1),
    # its products with two rows or more are oneDNN's own
    "large": Shape(256, 4, 1024),
}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
VOCABULARY = 13


def decoder(shape: Shape, *, memory_size: int = 16, share_output: bool = True, layers: int = 2) -> TransformerDecoder:
    """Random weights, those that start at 0 or 1 too, so that none can be left out unseen."""
    return unlike_new(TransformerDecoder(VOCABULARY, layers, shape, memory_size=memory_size, share_output=share_output))


M = TypeVar("M", bound=nn.Module)


def unlike_new(model: M) -> M:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return model.eval()


def memory(*lengths: int, size: int = 16) -> Memory:
    return Memory(torch.randn(len(lengths), max(lengths), size), torch.tensor(lengths))


def ids(rows: int) -> Tensor:
    return torch.randint(VOCABULARY, (rows,))


class Both:
    """The engine and the plain decoder through the same search; `step` holds that they agree."""

    def __init__(self, model: TransformerDecoder, read: Memory, watch: bool = False) -> None:
        self.model, self.engine = model, Engine(model)
        self.plain, self.state = model.start(read), self.engine.start(read, watch)
        self.rows = len(read.lengths)

    @torch.inference_mode()
    def step(self) -> Tensor:
        last = ids(self.rows)
        expected, self.plain = self.model.step(last, self.plain)
        logits, self.state = self.engine.step(last, self.state)
        torch.testing.assert_close(logits, expected, **CLOSE)
        logits.fill_(torch.nan)  # they are the caller's
        return expected

    @torch.inference_mode()
    def select(self, table: list[list[int]]) -> None:
        rows = torch.tensor(table)
        self.plain, self.state = self.plain.select(rows.flatten()), self.state.select(rows)
        self.rows = rows.numel()


@pytest.mark.parametrize("shape", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("lengths", [(5, 5, 5), (5, 2, 4)], ids=["as long", "padded"])
def test_a_beam_gets_the_logits_of_the_plain_decoder(shape: Shape, lengths: tuple[int, ...]) -> None:
    both = Both(decoder(shape), memory(*lengths))
    both.step()
    both.step()
    both.select([[0, 0, 0], [1, 1, 1], [2, 2, 2]])  # one hypothesis becomes three
    both.step()
    both.select([[2, 0, 0], [3, 4, 5], [8, 8, 8]])  # reordered, as they were, repeated
    both.step()
    both.step()
    both.select([[7, 6, 8], [0, 2, 1]])  # the second sentence leaves, the others change places
    both.step()
    both.select([[0, 2], [3, 3]])  # fewer hypotheses
    both.step()
    both.select([[3]])  # and one in the end
    both.step()
    both.step()


@pytest.mark.parametrize("shape", OPTIONS.values(), ids=OPTIONS.keys())
def test_greedy_gets_the_logits_of_the_plain_decoder(shape: Shape) -> None:
    both = Both(decoder(shape), memory(3, 5, 2, 5))
    for table in ([[0], [1], [2], [3]], [[3], [1], [0]], [[0], [1], [2]], [[1]]):
        both.step()
        both.select(table)
    both.step()


@pytest.mark.parametrize("shape", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("lengths", [(5, 5), (5, 2)], ids=["as long", "padded"])
def test_the_encoder_says_what_the_plain_one_says(shape: Shape, lengths: tuple[int, ...]) -> None:
    model = unlike_new(TransformerEncoder(VOCABULARY, 2, shape))
    source = Tokens(torch.randint(VOCABULARY, (2, 5)), torch.tensor(lengths))
    with torch.inference_mode():
        expected, found = model(source), EncoderEngine(model)(source)
    torch.testing.assert_close(found.states[source.is_real], expected.states[source.is_real], **CLOSE)
    assert found.lengths is source.lengths


@pytest.mark.parametrize("seed", range(5))
def test_any_selections(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    both = Both(
        decoder(replace(SHAPE, positions=["sinusoidal", "rotary", "relative"][seed % 3])), memory(4, 6, 1, 6, 3)
    )
    sentences, width = 5, 1
    for _ in range(12):
        both.step()
        kept = torch.randint(sentences, (int(torch.randint(1, 7, (1,), generator=random)),), generator=random)
        new_width = int(torch.randint(1, 4, (1,), generator=random))
        within = torch.randint(width, (len(kept), new_width), generator=random)
        both.select((kept[:, None] * width + within).tolist())
        sentences, width = len(kept), new_width


def test_more_slots_than_at_first() -> None:
    both = Both(decoder(SHAPE), memory(5, 4))
    both.step()
    both.select([[0] * 5, [1] * 5])
    for step in range(30):  # 151 slots
        both.step()
        both.select([[4, 0, 1, 2, 3], [7, 7, 5, 6, 9]] if step % 3 else [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])


def test_positions_past_those_computed_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.engine.weights.TABULATED", 3)
    both = Both(decoder(SHAPE), memory(5, 4))
    for _ in range(6):
        both.step()


def test_past_the_last_learned_position_is_the_error_of_the_plain_decoder() -> None:
    both = Both(decoder(replace(SHAPE, positions="learned", longest=2)), memory(5))
    both.step()
    both.step()
    with pytest.raises(UsageError, match="this model learned 2 positions"):
        both.engine.step(ids(1), both.state)


def test_a_memory_of_another_size_and_an_output_of_its_own() -> None:
    both = Both(decoder(SHAPE, memory_size=24, share_output=False), memory(5, 4, size=24))
    both.step()
    both.step()


def test_float64() -> None:
    read = memory(5, 4)
    both = Both(decoder(SHAPE).double(), Memory(read.states.double(), read.lengths))
    both.step()
    both.select([[0, 0], [1, 1]])
    assert both.step().dtype == torch.float64


@pytest.mark.parametrize("lengths", [(3, 0), (0, 0)])
def test_an_empty_source(lengths: tuple[int, ...]) -> None:
    both = Both(decoder(SHAPE), memory(*lengths))
    both.step()
    both.step()


def test_whole_greedy_rollouts() -> None:
    model, read = decoder(SHAPE, layers=3), memory(7, 3, 5)
    engine = Engine(model)
    with torch.inference_mode():
        plain, state = model.start(read), engine.start(read)
        mine = theirs = torch.ones(3, dtype=torch.int64)
        for _ in range(25):
            expected, plain = model.step(theirs, plain)
            logits, state = engine.step(mine, state)
            mine, theirs = logits.argmax(1), expected.argmax(1)
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("lengths", [(4, 4), (4, 3)])
def test_where_it_looked_is_the_mean_over_layers_and_heads(lengths: tuple[int, ...]) -> None:
    both = Both(decoder(SHAPE), memory(*lengths), watch=True)
    weights: list[Tensor] = []
    for block in both.model.blocks:
        block.look.attend.plain = True
        block.look.attend.register_forward_hook(lambda module, inputs, output: weights.append(output[1]))
    both.step()
    both.select([[0, 0], [1, 1]])
    weights.clear()
    both.step()
    expected = torch.stack(weights)[:, :, :, 0].mean((0, 2))  # [L, R, H, 1, S]
    assert both.state.looked is not None
    torch.testing.assert_close(both.state.looked, expected, **CLOSE)
    both.select([[1, 1], [3, 2]])
    torch.testing.assert_close(both.state.looked, expected[[1, 1, 3, 2]], **CLOSE)


def test_nobody_watches_nothing_is_kept() -> None:
    both = Both(decoder(SHAPE), memory(4))
    both.step()
    assert both.state.looked is None


def test_a_state_serves_once() -> None:
    engine = Engine(decoder(SHAPE))
    old = engine.start(memory(4, 3))
    _, new = engine.step(ids(2), old)
    with pytest.raises(UsageError, match="used up by a step or select before\n  fix: go on from the state"):
        engine.step(ids(2), old)
    selected = new.select(torch.tensor([[1], [0]]))
    with pytest.raises(UsageError, match="used up"):
        new.select(torch.tensor([[1], [0]]))
    engine.step(ids(2), selected)


def test_two_searches_do_not_meet() -> None:
    model, read = decoder(SHAPE), memory(4, 3)
    one, other = Both(model, read), Both(model, read)
    other.engine = one.engine
    for _ in range(3):
        one.step()
        other.step()


@pytest.mark.parametrize("score", ["additive", "bilinear", "gaussian"])
def test_a_score_that_is_no_product_is_refused(score: str) -> None:
    model = decoder(replace(SHAPE, score=score))
    assert "a score that is a plain product" in str(why_not(model))
    with pytest.raises(UsageError, match=r"plain product.*\n  fix: use the decoder itself"):
        Engine(model)


def test_what_else_is_refused() -> None:
    assert why_not(decoder(SHAPE)) is None
    assert "the engine runs Transformers, and this is a RecurrentDecoder" in str(
        why_not(RecurrentDecoder(VOCABULARY, 1, Recurrence(16), memory_size=16))
    )

    class Own(TransformerDecoder):
        pass

    assert "this is a Own" in str(why_not(Own(VOCABULARY, 1, SHAPE, memory_size=16)))
    assert "at least one block" in str(why_not(decoder(SHAPE, layers=0)))
    assert "in torch.bfloat16 on cpu" in str(why_not(decoder(SHAPE).bfloat16()))
    batch_norm = TransformerEncoder(VOCABULARY, 1, replace(SHAPE, norm="batch"))
    assert "BatchNorm looks at several" in str(why_not(batch_norm))
    with pytest.raises(UsageError, match="use the encoder itself"):
        EncoderEngine(batch_norm)
    model = decoder(SHAPE)
    model.embed.positions = nn.Identity()  # type: ignore[assignment]
    assert "does not know the positions Identity" in str(why_not(model))
