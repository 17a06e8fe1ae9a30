"""Presets: a complete recipe for any corpus, the user's settings win, and every reason tells the recipe's value."""

import itertools
import random
from typing import Any

import pytest

from regard.config import CHOSEN, Recipe, Settings, known_settings, merge, parse_override
from regard.errors import RecipeError
from regard.presets import PRESETS, Reason, choose
from regard.text.pairs import Pair
from regard.text.survey import SideSurvey, Survey, survey

PHONES = [
    "aa",
    "b",
    "ch",
    "d",
    "eh",
    "f",
    "g",
    "hh",
    "iy",
    "k",
    "l",
    "m",
    "n",
    "ow",
    "p",
    "r",
    "s",
    "t",
    "uw",
    "v",
    "z",
]
SYLLABLES = ["ka", "to", "mi", "re", "su", "no", "ha", "ya", "ru"]


def look(kind: str, count: int) -> Survey:
    """A survey of `count` pairs of a kind, as many of them made as it takes."""
    made = survey(Pair(*TEXTS[kind](random.Random(line)), line) for line in range(min(count, 2000)))
    return Survey(count, made.source, made.target, made.shared_characters, made.character_lengths, made.word_lengths)


def phones(chance: random.Random) -> tuple[str, str]:
    sounds = chance.choices(PHONES, k=chance.randint(2, 8))
    return "".join(sounds), " ".join(sounds)


def sentences(chance: random.Random) -> tuple[str, str]:
    words = ["".join(chance.choices(SYLLABLES, k=chance.randint(2, 4))) for _ in range(chance.randint(5, 15))]
    return " ".join(words), " ".join(reversed(words))


def names(chance: random.Random) -> tuple[str, str]:
    name = "".join(chance.choices(SYLLABLES, k=3))
    return name, name.upper()


def unspaced(chance: random.Random) -> tuple[str, str]:
    return sentences(chance)[0], "".join(chance.choices("的一是不了人我在有他", k=30))


TEXTS = {"phones": phones, "sentences": sentences, "names": names, "unspaced": unspaced}
KINDS = {
    "phones": ("characters", "symbols", "wer"),
    "sentences": ("bpe", "bpe", "bleu"),
    "names": ("characters", "characters", "wer"),
    "unspaced": ("bpe", "characters", "chrf"),
}


def value(recipe: Recipe, key: str) -> Any:
    found: Any = recipe
    for part in key.split("."):
        found = getattr(found, part)
    return list(found) if isinstance(found, tuple) else found


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("count", [1, 3, 30, 3000, 30_000, 300_000, 3_000_000])
def test_a_complete_recipe_for_any_corpus(kind: str, count: int) -> None:
    recipe, reasons = choose(look(kind, count), {"data": {"pairs": ["a.tsv"]}})
    assert recipe.data.pairs == ("a.tsv",)
    assert len(reasons) > 8
    for reason in reasons:
        assert reason.why
        assert reason.why != "set by you"
        (section,) = parse_override(f"{reason.key}={reason.value}").items()
        assert merge(recipe.model_dump(), dict([section])) == recipe.model_dump()
    assert (recipe.data.hold_out > 0) == (count >= 20)
    assert recipe.data.hold_out <= 0.1
    assert recipe.training.warmup <= recipe.training.steps
    assert recipe.training.metric == KINDS[kind][2] or count <= 30
    if count >= 30_000:
        assert (recipe.tokenizer.source.kind, recipe.tokenizer.target.kind) == KINDS[kind][:2]


def test_no_corpus_at_all_is_no_crash() -> None:
    recipe, _ = choose(survey([]), {})
    assert recipe.data.hold_out == 0


def test_more_data_never_means_a_smaller_model() -> None:
    for kind in TEXTS:
        models = [choose(look(kind, count), {})[0].model for count in (1, 20_000, 100_000, 200_000, 1_000_000)]
        for less, more in itertools.pairwise(models):
            assert (less.layers, less.size) <= (more.layers, more.size)
            assert less.dropout >= more.dropout


@pytest.mark.parametrize(
    "given",
    [
        {"tokenizer": {"source": {"kind": "graphemes"}, "target": {"vocabulary": 77}}},
        {"model": {"layers": 7, "size": 96, "heads": 3, "inner": 5, "dropout": 0.25}},
        {"training": {"steps": 3, "metric": "loss", "warmup": 0, "learning_rate": 1, "checkpoint_every": 2}},
        {"data": {"tokens_per_batch": 9, "hold_out": 0.0}, "decoding": {"limit_factor": 2.5}},
    ],
)
def test_what_the_user_sets_wins_and_is_said(given: Settings) -> None:
    recipe, reasons = choose(look("phones", 500), given)
    assert merge(recipe.model_dump(), given) == recipe.model_dump()
    for reason in reasons:
        top, _, rest = reason.key.partition(".")
        inside = given.get(top, {})
        for part in rest.split("."):
            inside = inside.get(part, {}) if isinstance(inside, dict) else {}
        assert (reason.why == "set by you") == (inside != {})
    assert {reason.key for reason in reasons if reason.why == "set by you"} or "vocabulary" in str(given)


def test_every_reason_has_the_recipe_s_value() -> None:
    _, reasons = choose(look("names", 500), {"model": {"layers": 5}, "tokenizer": {"joint": True}})
    values = {reason.key: reason.value for reason in reasons}
    assert (values["model.layers"], values["tokenizer.joint"]) == ("5", "true")
    assert values["tokenizer.source.kind"] == '"characters"'
    assert Reason("model.layers", "5", "set by you") in reasons


@pytest.mark.parametrize("size", [1, 7, 66, 100, 130, 512, 1000])
def test_heads_and_inner_follow_a_size_that_is_set(size: int) -> None:
    model = choose(look("phones", 500), {"model": {"size": size}})[0].model
    assert model.size == size
    assert size % model.heads == 0
    assert model.inner >= size


def test_a_kind_that_is_set_gets_a_vocabulary_of_its_kind() -> None:
    for kind in ("bpe", "unigram"):
        side = {"kind": kind}
        tokenizer = choose(look("names", 500), {"tokenizer": {"source": side, "target": side}})[0].tokenizer
        assert tokenizer.source.vocabulary == tokenizer.target.vocabulary < 10_000


def test_one_tokenizer_for_both_sides_has_one_kind() -> None:
    recipe, _ = choose(look("phones", 500), {"tokenizer": {"joint": True}})
    assert recipe.tokenizer.source == recipe.tokenizer.target
    assert recipe.model.share_embeddings == "all"
    recipe, _ = choose(look("sentences", 30_000), {})  # both in the same letters
    assert recipe.tokenizer.joint
    recipe, _ = choose(look("sentences", 30_000), {"tokenizer": {"joint": False}})
    assert (recipe.tokenizer.joint, recipe.model.share_embeddings) == (False, "output")


@pytest.mark.parametrize("data", [{"valid": ["dev.tsv"]}, {"task": "copy"}])
def test_nothing_is_held_out_where_there_is_other_development_data(data: Settings) -> None:
    for count in (3, 5000):
        recipe, reasons = choose(look("names", count), {"data": data})
        assert recipe.data.hold_out == 0
        (why,) = (reason.why for reason in reasons if reason.key == "data.hold_out")
        assert "other development data" in why


def test_faults_are_listed_before_anything_is_chosen() -> None:
    wrong: Settings = {"model": 5, "training": {"steps": "many"}, "tokenizer": {"source": 3}, "data": {"longets": 1}}
    with pytest.raises(RecipeError) as caught:
        choose(look("names", 3), wrong)
    for key in ("model", "training.steps", "tokenizer.source", "data.longest"):
        assert key in str(caught.value)
    with pytest.raises(RecipeError, match=r"model\.heads: Input should divide model\.size"):
        choose(look("names", 3), {"model": {"heads": 5}})


def test_the_list_of_settings_says_what_is_chosen() -> None:
    """config.py names the settings that presets choose; here both are compared."""
    listed = {setting.key for setting in known_settings() if setting.default == "from the data"}
    recipes = [
        choose(look(kind, count), {})[0] for kind in TEXTS for count in (1, 30, 3000, 30_000, 300_000, 3_000_000)
    ]
    differing = {
        key for key in (setting.key for setting in known_settings()) if len({str(value(r, key)) for r in recipes}) > 1
    }
    assert differing <= listed
    assert set(CHOSEN) <= listed


def test_rare_characters_that_are_made_of_parts_are_taken_apart() -> None:
    def unicode(texts: list[str], **given: object) -> str:
        pairs = [Pair(text, "a b", line) for line, text in enumerate(texts, 1)]
        return choose(survey(pairs), {"tokenizer": given} if given else {})[0].tokenizer.source.unicode

    syllables = [chr(code) for code in range(0xAC00, 0xAC00 + 600)]  # Hangul
    assert unicode(syllables) == "NFD"
    assert unicode(syllables, source={"unicode": "NFC"}) == "NFC"
    assert unicode(syllables, source={"kind": "words"}) == "NFC"
    assert unicode(syllables, joint=True) == "NFC"  # or answers would be in parts too
    assert unicode(["".join(syllables)] * 99) == "NFD"
    assert unicode(["".join(syllables)] * 100) == "NFC"  # each stands there often
    assert unicode([chr(code) for code in range(0x4E00, 0x4E00 + 600)]) == "NFC"  # Han has no parts


def test_who_chooses_what_a_transformer_is_made_of_gets_one() -> None:
    def encoder(**given: object) -> str:
        return choose(look("phones", 3000), {"model": given} if given else {})[0].model.encoder_name

    assert encoder() == encoder(size=64) == encoder(decoder="recurrent") == "convolutional"
    assert encoder(positions="rotary") == encoder(norm="rms") == encoder(gated=True) == "transformer"
    assert encoder(architecture="recurrent") == encoder(encoder="recurrent") == "recurrent"
    assert choose(look("sentences", 30_000), {})[0].model.encoder_name == "transformer"


def test_many_spelled_pairs_and_steps_get_attention_that_knows_distances() -> None:
    def chosen(pairs: int, steps: int | None = None, **given: object) -> tuple[str, str, str]:
        settings = {"model": given} | ({"training": {"steps": steps}} if steps else {})
        model = choose(look("phones", pairs), settings)[0].model
        return model.encoder_name, model.positions, model.decoder_positions or model.positions

    distances, neighbours = ("transformer", "relative", "relative"), ("convolutional", "sinusoidal", "sinusoidal")
    assert chosen(200_000) == chosen(200_000, size=64) == chosen(100_000, 10_000) == distances
    assert chosen(99_999, 10_000) == chosen(100_000, 9_999) == neighbours
    assert chosen(200_000, kernel=3) == chosen(200_000, encoder="convolutional") == neighbours
    assert chosen(200_000, encoder="recurrent") == ("recurrent", "none", "sinusoidal")
    plain = ("transformer", "sinusoidal", "sinusoidal")
    assert chosen(200_000, positions="sinusoidal") == chosen(200_000, norm="rms") == plain
    assert choose(look("sentences", 200_000), {})[0].model.positions == "sinusoidal"
    recipe, reasons = choose(look("phones", 200_000), {})
    why = {reason.key: reason.why for reason in reasons}
    assert why["model.positions"] == "200,000 pairs, 20,000 steps: enough to learn distances"
    assert recipe.training.weight_decay == 0.1


def test_an_encoder_that_attends_in_part_gets_what_attention_has() -> None:
    def chosen(**given: object) -> tuple[int, str, str | None]:
        model = choose(look("phones", 3000), {"model": {"encoder": "hybrid", **given}})[0].model
        return model.heads, model.score, model.decoder_positions

    assert chosen() == (4, "scaled_dot", None)
    assert chosen(positions="relative") == (4, "scaled_dot", None)
    assert chosen(decoder="recurrent") == (4, "scaled_dot", "none")


def test_a_run_has_as_many_epochs_as_its_preset() -> None:
    few, many = (choose(look("phones", count), {})[0] for count in (48_000, 96_000))
    assert many.training.steps == pytest.approx(2 * few.training.steps, rel=0.1)
    half = {"tokens_per_batch": many.data.tokens_per_batch // 2}
    halved = choose(look("phones", 96_000), {"data": half})[0]
    assert halved.training.steps == pytest.approx(2 * many.training.steps, rel=0.1)
    both = choose(look("phones", 96_000), {"data": half, "training": {"accumulate": 2}})[0]
    assert both.training.steps == many.training.steps
    made = [phones(random.Random(line)) for line in range(2000)]
    tokens = sum(len(source) + 1 + len(target.split()) + 1 for source, target in made) / len(made)
    epochs = many.training.steps * many.data.tokens_per_batch / (96_000 * tokens)
    assert epochs == pytest.approx(PRESETS["short"][1].epochs, rel=0.05)


def test_the_longest_answer_fits() -> None:
    side = SideSurvey(5.0, 1.0, 5, 5, 5, False)
    made = look("phones", 2)
    stretched = Survey(2, side, side, 1.0, (made.word_lengths[0], made.character_lengths[1]), made.word_lengths)
    recipe, _ = choose(stretched, {})
    for source, target in zip(*stretched.character_lengths, strict=True):
        assert target <= recipe.decoding.limit_factor * (source + 1) + recipe.decoding.limit_extra


def test_each_architecture_gets_what_its_paper_has() -> None:
    def model(**given: object) -> dict[str, Any]:
        return choose(look("phones", 3000), {"model": given})[0].model.model_dump()

    recurrent = model(architecture="recurrent")
    assert (recurrent["score"], recurrent["heads"], recurrent["positions"]) == ("additive", 1, "none")
    convolutional = model(architecture="convolutional")
    assert (convolutional["score"], convolutional["heads"], convolutional["positions"]) == (
        "scaled_dot",
        1,
        "sinusoidal",
    )
    mixed = model(encoder="transformer", decoder="recurrent")
    assert (mixed["positions"], mixed["decoder_positions"], mixed["score"]) == ("sinusoidal", "none", "scaled_dot")
    mixed = model(encoder="transformer", decoder="recurrent", positions="rotary")
    assert (mixed["positions"], mixed["decoder_positions"]) == ("rotary", "none")


def test_a_decoder_keeps_to_a_norm_that_sees_no_future_and_the_reason_is_told() -> None:
    recipe, reasons = choose(look("phones", 3000), {"model": {"norm": "batch"}})
    assert (recipe.model.norm, recipe.model.decoder_norm) == ("batch", "layer")
    assert Reason("model.decoder_norm", '"layer"', "batch norm would let a decoder see later positions") in reasons
    assert choose(look("phones", 3000), {"model": {"norm": "group"}})[0].model.decoder_norm is None


def test_weights_that_were_trained_before_are_changed_little() -> None:
    """A tenth of the learning rate, and as many epochs without the least number of steps."""
    given: Settings = {"data": {"pairs": ["a.tsv"]}, "training": {"begin_with": "pronounce"}}
    for kind, pairs in (("phones", 500), ("phones", 30_000), ("sentences", 3000)):
        anew, on = (choose(look(kind, pairs), settings)[0].training for settings in ({"data": given["data"]}, given))
        assert on.learning_rate == pytest.approx(anew.learning_rate / 10)
        assert 100 <= on.steps <= anew.steps
        assert (on.optimiser, on.weight_decay) == (anew.optimiser, anew.weight_decay)
    recipe, reasons = choose(look("phones", 500), given)
    assert recipe.training.steps < 500
    assert "forgotten" in next(reason.why for reason in reasons if reason.key == "training.learning_rate")
