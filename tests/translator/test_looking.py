"""A look shows the answer that `translate` gives, and how: equal to the cached search, for every kind of model."""

from __future__ import annotations

import random

import pytest
import torch
from torch.testing import assert_close

from regard.attention.attend import Attend
from regard.attention.record import recorded
from regard.attention.scores import SCORES
from regard.config import Settings
from regard.data.tokens import Tokens
from regard.errors import DataError, UsageError
from regard.inside.choosing import Chosen
from regard.inside.record import Answered, record
from regard.inside.result import END, START, Look
from regard.models.interface import Decoder, Memory, State
from regard.text.tokenizer import BOS, EOS
from regard.translator import Request, Translator
from regard.translator.aligning import align
from regard.translator.translator import Mates
from small import untrained

MODELS: dict[str, Settings] = {
    "transformer": {"model": {"layers": 2}},
    "pre-norm, rotary": {"model": {"layers": 2, "norm_first": True, "positions": "rotary"}},
    "additive": {"model": {"score": "additive"}},
    "recurrent": {"model": {"architecture": "recurrent"}},
    "luong, fed": {"model": {"architecture": "recurrent", "look": "after", "input_feeding": True}},
    "convolutional": {"model": {"architecture": "convolutional", "layers": 2}},
    "mixed": {"model": {"encoder": "convolutional", "decoder": "transformer"}},
}
SEARCHES: dict[str, Settings] = {
    "greedy": {"beam": 1},
    "beam 4": {"beam": 4},
    "beam 4 in 2 groups": {"beam": 4, "groups": 2, "diversity": 0.5},
    "sampling": {"strategy": "sampling", "seed": 3},
    "alternatives": {"strategy": "alternatives", "n_best": 3},
}
TEXT = "quick brown"


@pytest.mark.parametrize("model", MODELS)
def test_the_pass_sees_what_the_steps_saw(model: str) -> None:
    """Independent of the pass: the decoder step by step with its cache, its attentions recorded at each step."""
    translator = untrained(MODELS[model])
    [found] = translator.translate([TEXT])
    answered = Answered(tuple(translator.tokenizers.source.encode(TEXT)), found.answers[0].ids, True)
    seen = {each.name: each.weights for each in record(translator.model, answered).attentions}
    decoder = translator.model.decoder
    with torch.no_grad():
        with recorded(translator.model.encoder) as encoder:
            memory = translator.model.encode(Tokens.of([[*answered.source, EOS]]))
        state = decoder.start(memory)
        for step, last in enumerate([BOS, *answered.target]):
            with recorded(decoder) as now:
                _, state = decoder.step(torch.tensor([last]), state)
            cross = [weights[0, :, -1] for name, weights in now.items() if name.rpartition(".")[2] == "look"]
            own = [weights[0, :, -1] for name, weights in now.items() if name.rpartition(".")[2] != "look"]
            for layer, weights in enumerate(cross):
                assert_close(seen[f"cross.{layer}"][:, step], weights, atol=1e-5, rtol=0)
            for layer, weights in enumerate(own):
                assert_close(seen[f"decoder.{layer}"][:, step, : step + 1], weights, atol=1e-5, rtol=0)
    for layer, weights in enumerate(encoder.values()):
        assert_close(seen[f"encoder.{layer}"], weights[0], atol=1e-5, rtol=0)
    assert len(seen) == len(cross) + len(own) + len(encoder)


class Distracted(Decoder):
    """A decoder that, after all it does, attends to something else, as many keys as the source has tokens."""

    def __init__(self, decoder: Decoder, keys: int) -> None:
        super().__init__()
        self.decoder, self.keys, self.longest = decoder, keys, decoder.longest
        self.attend = Attend(SCORES["dot"](4))

    def forward(self, previous: Tokens, memory: Memory) -> torch.Tensor:
        logits = self.decoder(previous, memory)
        keys = torch.randn(1, 1, self.keys, 4)
        self.attend(torch.randn(1, 1, 1, 4), keys, keys)
        return logits

    def start(self, memory: Memory) -> State:
        return self.decoder.start(memory)

    def step(self, last_ids: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        return self.decoder.step(last_ids, state)


def test_attention_to_anything_else_is_not_taken_for_it() -> None:
    model, answered = untrained().model, Answered((5, 6, 7, 8, 9), (4, 5, 6))
    wanted = record(model, answered).attentions
    model.decoder = Distracted(model.decoder, len(answered.source) + 1)
    seen = record(model, answered).attentions
    assert [each.name for each in seen] == [each.name for each in wanted]
    for mine, theirs in zip(seen, wanted, strict=True):
        assert torch.equal(mine.weights, theirs.weights)


@pytest.mark.parametrize("model", MODELS)
def test_rows_sum_to_1_and_what_is_forbidden_is_exactly_0(model: str) -> None:
    seen = untrained(MODELS[model]).look(TEXT)
    for each in seen.attentions:
        assert_close(each.weights.sum(-1), torch.ones(each.weights.shape[:2]), atol=1e-5, rtol=0)
        if each.part == "decoder":
            assert each.weights.triu(1).count_nonzero() == 0
        assert each.norms is not None
        assert each.norms.shape == each.weights.shape
    assert seen.of("cross")


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("model", ["transformer", "recurrent", "convolutional"])
def test_it_is_the_answer_that_translate_gives(model: str, name: str) -> None:
    translator = untrained(MODELS[model])
    [found] = translator.translate([TEXT], options=SEARCHES[name])
    for rank, answer in enumerate(found.answers, start=1):
        seen = translator.look(TEXT, options=SEARCHES[name], rank=rank)
        assert (seen.target.text, seen.search.score) == (answer.text, answer.score)
        assert seen.search.name == name
        assert [step.token for step in seen.steps] == list(seen.target.tokens)
        told = [step.log_probability for step in seen.steps]
        assert told == pytest.approx(answer.log_probabilities, abs=1e-5)
        assert len(seen.search.trace) >= len(answer.ids)
        assert (seen.greedy is None) == (name == "greedy")


def test_a_look_changes_no_answer_and_leaves_nothing() -> None:
    translator = untrained(MODELS["transformer"])
    lines = [TEXT, "lazy dogs", "fox"] * 5
    before = [each.answers for each in translator.translate(lines)]
    modes = {name: vars(module).keys() for name, module in translator.model.named_modules()}
    for line in lines[:3]:
        translator.look(line)
    assert [each.answers for each in translator.translate(lines)] == before
    assert {name: vars(module).keys() for name, module in translator.model.named_modules()} == modes
    assert not any(module._forward_hooks for module in translator.model.modules())


@pytest.mark.parametrize("model", MODELS)
def test_padding_and_mates_make_no_difference_to_early_guesses(model: str) -> None:
    """The last layer's guess would be the model's own: so the reading of states is the model's."""
    translator = untrained(MODELS[model])
    seen = translator.look(TEXT, target="A B C")
    layers = getattr(translator.model.decoder, "layers", ())
    assert {len(step.early) for step in seen.steps} == {max(0, len(layers) - 1)}
    decoder = translator.model.decoder
    if layers:
        answered = Answered((4, 5), (5, 6))
        states = []
        handle = layers[-1].register_forward_hook(lambda module, inputs, output: states.append(output))
        with torch.no_grad():
            logits = translator.model(answered.sources, answered.previous)
            assert_close(decoder.early(states[0]), logits)
        handle.remove()


def test_a_given_target_is_scored_as_force_scores_it() -> None:
    translator = untrained(MODELS["transformer"])
    seen = translator.look(TEXT, target="A G B")
    [score] = translator.force([(TEXT, "A G B")])
    assert seen.search.log_probability == score.log_probability
    assert [step.log_probability for step in seen.steps] == pytest.approx(score.log_probabilities, abs=1e-5)
    assert seen.target.tokens == ("A", "G", "B", END)
    assert seen.target.inputs == (START, "A", "G", "B")
    assert (seen.search.name, seen.search.trace, seen.greedy) == ("forced", (), None)


def test_alternatives_are_the_likeliest_and_hold_what_was_written() -> None:
    seen = untrained().look(TEXT, beam=1)
    for step in seen.steps:
        values = [each.log_probability for each in step.alternatives]
        assert values == sorted(values, reverse=True)
        assert not {"<bos>", "<pad>"} & {each.token for each in step.alternatives}
        allowed = [each for each in step.alternatives if each.token != "<unk>"]
        assert allowed[0].token == step.token


def test_the_trace_names_its_tokens() -> None:
    seen = untrained().look(TEXT, beam=3)
    chain, place = [], None
    for step in reversed(seen.search.trace[: len(seen.target.tokens)]):
        mine = [
            each
            for each in step["candidates"]
            if (each["fate"] == "finished" if place is None else each.get("place") == place)
        ]
        best = max(mine, key=lambda each: each["total"])
        chain.append(best["token"])
        place = best["parent"]
    assert chain[::-1] == list(seen.target.tokens)


def test_json_comes_back_with_equal_arrays() -> None:
    seen = untrained(MODELS["transformer"]).look(TEXT, model="</script>\u2028")
    back = Look.from_json(seen.to_json())
    for mine, theirs in zip(seen.attentions, back.attentions, strict=True):
        assert (mine.part, mine.layer) == (theirs.part, theirs.layer)
        assert torch.equal(mine.weights, theirs.weights)
        assert mine.norms is not None
        assert theirs.norms is not None
        assert torch.equal(mine.norms, theirs.norms)
    assert (back.steps, back.search, back.greedy) == (seen.steps, seen.search, seen.greedy)
    assert (back.source, back.target, back.model) == (seen.source, seen.target, seen.model)
    assert back.to_json() == seen.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "regard.look", "version": 2}', "nan", '{"kind": 1}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        Look.from_json(text)


def test_what_cannot_be_looked_at() -> None:
    translator = untrained({"decoding": {"longest_source": 20}})
    with pytest.raises(UsageError, match="blank"):
        translator.look(" ")
    with pytest.raises(DataError, match="at most 20"):
        translator.look("fox " * 20)
    with pytest.raises(DataError, match="at most 20"):
        translator.look("fox " * 20, target="A")
    with pytest.raises(UsageError, match="wanted answer 50, the search found"):
        translator.look(TEXT, rank=50, options={"strategy": "alternatives"})
    both = Translator(translator.model, translator.tokenizers, translator.recipe, Mates((translator.model,), (1, 1)))
    with pytest.raises(UsageError, match="one model"):
        both.look(TEXT)


def test_its_alignment_is_that_of_the_place_the_model_folder_names() -> None:
    translator = untrained(MODELS["transformer"])
    assert translator.look(TEXT).alignment is None
    translator.chosen = Chosen("cross.1", "by hand")
    seen, [found] = translator.look(TEXT, target="A B C").alignment, align(translator, [(TEXT, "A B C")], units="words")
    assert seen == found
    word = translator.look("quick", target="A B C")  # of a single word the letters are linked
    [found] = align(translator, [("quick", "A B C")], units="tokens")
    assert word.alignment == found


def test_a_notebook_shows_the_page_in_a_frame_that_can_reach_nothing() -> None:
    shown = untrained().look(TEXT)._repr_html_()
    assert shown.startswith("<iframe")
    assert 'sandbox="allow-scripts allow-downloads"' in shown


def test_an_unknown_source_symbol_is_shown_as_it_stands() -> None:
    assert "<unk ж>" in untrained().look("a ж").source.tokens


def test_a_request_is_kept_to() -> None:
    seen = untrained().look(Request(TEXT, prefix="G G"), beam=1)
    assert seen.target.tokens[:2] == ("G", "G")


def test_an_answer_that_was_cut_has_no_end() -> None:
    short = {"decoding": {"limit_factor": 0.0, "limit_extra": 1, "min_length": 1}}
    looks = [untrained(short, seed).look(TEXT, beam=1) for seed in range(4)]
    assert not all(seen.target.ends for seen in looks)
    for seen in looks:
        assert len(seen.steps) == len(seen.target.tokens) == 1 + seen.target.ends
        assert (seen.target.tokens[-1] == END) == seen.target.ends == seen.search.finished


@pytest.mark.slow
def test_looking_changes_no_token_of_a_thousand_answers() -> None:
    """Random weights: near-ties are there."""
    translator = untrained(MODELS["transformer"], seed=3)
    letters = random.Random(1)
    lines = ["".join(letters.choices("abcdefghijklmnop ", k=letters.randint(3, 25))) + "x" for _ in range(1000)]
    answers = list(translator.translate(lines))
    for line, found in zip(lines, answers, strict=True):
        seen = translator.look(line, opinions=False)
        assert (seen.target.text, seen.search.score) == (found.text, pytest.approx(found.answers[0].score, abs=1e-5))
    assert list(translator.translate(lines)) == answers
