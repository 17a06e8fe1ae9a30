"""Forced scores: equal to a step after another, to what a search reports, alone and in any batch, in any ensemble."""

from __future__ import annotations

import pytest
import torch

from regard.config import Settings
from regard.data.tokens import Tokens
from regard.decoding.ensemble import Average
from regard.decoding.forced import forced_score
from regard.decoding.interface import Vocabulary
from regard.errors import DataError, UsageError
from regard.text.pairs import Pair
from regard.text.tokenizer import BOS, EOS, PAD, UNK
from regard.translator import Translator, forcing
from regard.translator.stepping import plain
from regard.translator.translator import Mates
from small import untrained

PAIRS = [
    ("fox", "A B C"),
    ("the quick brown fox jumps over the lazy dogs", "G F E D C B A A A A A A A A"),
    ("dogs", ""),
    ("", "A"),
    ("q", "G"),
    ("", ""),
    ("lazy dogs jump", "B Q A"),  # Q is unknown
    ("fox", "A B D"),
]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return untrained()


def pair_of(weights: tuple[float, ...], average: Average) -> Translator:
    first = untrained()
    return Translator(first.model, first.tokenizers, first.recipe, Mates((untrained(seed=1).model,), weights, average))


def step_by_step(translator: Translator, source: str, target: str) -> float:
    """By decoding/forced.py, which shares no code with what is tested."""
    tokenizers = translator.tokenizers
    vocabulary = Vocabulary(len(tokenizers.target), BOS, EOS, (PAD, BOS, UNK))
    with torch.inference_mode():
        step, state = plain(translator.model)(Tokens.of([[*tokenizers.source.encode(source), EOS]]))
        return forced_score(step, state, [tokenizers.target.encode(target)], vocabulary)[0]


@pytest.mark.parametrize("architecture", ["transformer", "recurrent", "convolutional"])
def test_all_at_once_equals_step_by_step(architecture: str) -> None:
    settings: Settings = {"model": {"architecture": architecture}}
    translator = untrained(settings)
    scores = list(translator.force(PAIRS, batch_size=3))
    assert [(score.source, score.target) for score in scores] == PAIRS
    for score in scores:
        assert score.log_probability == pytest.approx(step_by_step(translator, score.source, score.target), abs=1e-4)
        assert len(score.log_probabilities) == len(score.symbols) + 1
        assert score.log_probability == pytest.approx(sum(score.log_probabilities), abs=1e-9)


@pytest.mark.parametrize("beam", [1, 4])
def test_what_a_search_reports_is_the_forced_score(translator: Translator, beam: int) -> None:
    sources = ["fox", "the lazy dogs", "jumps", "over"]
    answers = [result.answers[0] for result in translator.translate(sources, beam=beam)]
    assert beam == 1 or any(answer.finished for answer in answers)
    texts = [answer.text for answer in answers]
    for answer, score in zip(answers, translator.force(zip(sources, texts, strict=True)), strict=True):
        known = len(answer.log_probabilities)  # without the end, if the answer was cut
        assert answer.symbols == score.symbols
        assert answer.log_probabilities == pytest.approx(score.log_probabilities[:known], abs=1e-4)


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
def test_an_ensemble_is_forced_as_it_searches(average: Average) -> None:
    both = pair_of((2.0, 1.0), average)
    sources = ["fox", "the lazy dogs"]
    answers = [result.answers[0] for result in both.translate(sources, beam=3)]
    scores = list(both.force([(source, answer.text) for source, answer in zip(sources, answers, strict=True)]))
    alone = list(untrained().force([(score.source, score.target) for score in scores]))
    for answer, score, other in zip(answers, scores, alone, strict=True):
        known = len(answer.log_probabilities)
        assert answer.log_probabilities == pytest.approx(score.log_probabilities[:known], abs=1e-4)
        assert abs(score.log_probability - other.log_probability) > 0.01


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
def test_an_ensemble_of_a_model_with_itself_is_the_model(translator: Translator, average: Average) -> None:
    mates = Mates((translator.model,), (3.0, 1.0), average)
    twice = Translator(translator.model, translator.tokenizers, translator.recipe, mates)
    for ours, wanted in zip(twice.force(PAIRS), translator.force(PAIRS), strict=True):
        assert ours.log_probabilities == pytest.approx(wanted.log_probabilities, abs=1e-5)


@pytest.mark.parametrize("architecture", ["transformer", "recurrent", "convolutional"])
def test_a_score_does_not_depend_on_the_pairs_beside_it(architecture: str) -> None:
    settings: Settings = {"model": {"architecture": architecture}}
    translator = untrained(settings)
    alone = [next(translator.force([pair])) for pair in PAIRS]
    together = [list(translator.force(PAIRS, batch_size=size)) for size in (1, 2, 64)]
    for scores in (*together, list(translator.force(PAIRS[::-1]))[::-1]):
        for ours, wanted in zip(scores, alone, strict=True):
            assert (ours.source, ours.symbols) == (wanted.source, wanted.symbols)
            assert ours.log_probabilities == pytest.approx(wanted.log_probabilities, abs=1e-5)


def test_a_batch_keeps_to_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    small = untrained({"data": {"tokens_per_batch": 40}})
    widths: list[tuple[int, int]] = []
    small.model.register_forward_pre_hook(
        lambda _, given: widths.append((len(given[0].ids), given[0].ids.shape[1] + given[1].ids.shape[1] + 1))
    )
    pairs = [("fox" * (number % 3 + 1), "A " * (number % 5)) for number in range(60)]
    scores = list(small.force(pairs, batch_size=4))
    assert len(scores) == 60
    assert all(rows == 1 or rows * width <= 40 for rows, width in widths)
    assert max(rows for rows, _ in widths) == 4
    widths.clear()
    monkeypatch.setattr(forcing, "MOST_LOGITS", 10)  # a large vocabulary leaves room for one pair
    list(small.force(pairs[:5]))
    assert [rows for rows, _ in widths] == [1] * 5


def test_unknown_symbols_are_told_and_scored(translator: Translator) -> None:
    [score] = translator.force([("föx", "A Q B")])
    assert (score.unknown_source, score.unknown_target) == (("ö",), ("Q",))
    assert score.symbols == ("A", "<unk>", "B")
    assert score.log_probability == pytest.approx(step_by_step(translator, "föx", "A Q B"), abs=1e-4)


def test_perplexity_is_per_token_with_the_end() -> None:
    score = forcing.ForcedScore("a", "b", ("b",), (-1.0, -2.0))
    assert score.perplexity == pytest.approx(4.4816890703)  # exp(3 / 2)
    assert forcing.perplexity(-float("inf"), 3) == forcing.perplexity(-1e6, 1) == float("inf")


def test_reads_only_so_far_ahead(translator: Translator) -> None:
    read: list[int] = []
    pairs = (read.append(number) or ("fox", "A") for number in range(250))
    scores = translator.force(pairs, batch_size=2)
    for given, _ in enumerate(scores):
        assert len(read) - given <= 2 * forcing.AHEAD
    assert len(read) == 250


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (("x" * 11, "A"), "the source has 11 tokens, this model reads at most 10"),
        (("fox", "A " * 11), "the target has 11 tokens, this model scores at most 10"),
    ],
)
def test_a_pair_that_is_too_long_is_refused_by_its_line(bad: tuple[str, str], told: str) -> None:
    short = untrained({"decoding": {"longest_source": 10}})
    scores = short.force([*PAIRS[:1], ("x" * 10, "A " * 10), bad, PAIRS[0]])
    assert len([next(scores), next(scores)]) == 2
    with pytest.raises(DataError, match=rf"line 3: {told}\n  fix: .*nothing was cut"):
        next(scores)
    named = short.force([Pair(*bad, line=7)], where=lambda pair: f"test.tsv:{pair.line}")
    with pytest.raises(DataError, match=f"test.tsv:7: {told}"):
        list(named)


def test_a_decoder_with_few_positions_scores_what_it_can_write() -> None:
    learned = untrained({"model": {"positions": "learned", "longest": 8}})
    assert len(next(learned.force([("fox", "A A A A A A A")])).symbols) == 7
    with pytest.raises(DataError, match="the target has 8 tokens, this model scores at most 7"):
        list(learned.force([("fox", "A A A A A A A A")]))


def test_nothing_gives_nothing_and_no_batch_is_empty(translator: Translator) -> None:
    assert list(translator.force([])) == []
    with pytest.raises(UsageError, match="the batch size must be at least 1, found 0"):
        translator.force([], batch_size=0)
