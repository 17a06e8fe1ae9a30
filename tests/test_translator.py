"""Text to text: lines in = lines out, alone = in a batch, reported score = forced score, faults of a model folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.tokens import Tokens
from regard.decoding.forced import forced_score
from regard.decoding.interface import Vocabulary
from regard.errors import DataError, ModelFolderError, RecipeError, UsageError
from regard.folder import seal
from regard.text.tokenizer import BOS, EOS, PAD, UNK
from regard.translator import Translator
from small import saved, untrained

WORDS = ["fox", "", "the lazy dogs", "jumps over", " ", "quick brown fox jumps over the lazy dogs", "q", "zzz", "ö"]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return untrained()


@pytest.mark.parametrize("beam", [1, 4])
def test_alone_equals_in_any_batch(translator: Translator, beam: int) -> None:
    together = [list(translator.translate(WORDS, beam=beam, batch_size=size)) for size in (1, 2, 64)]
    backwards = list(translator.translate(WORDS[::-1], beam=beam))[::-1]
    alone = [next(iter(translator.translate([word], beam=beam))) for word in WORDS]
    for other in (*together, backwards):
        assert [result.text for result in other] == [result.text for result in alone]
        for ours, theirs in zip(other, alone, strict=True):
            scores = [[answer.score for answer in result.answers] for result in (ours, theirs)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@given(st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz \u2028\u0085ö", max_size=12), max_size=8))
@settings(max_examples=20, deadline=None)
def test_lines_in_are_lines_out_and_blank_stays_blank(lines: list[str]) -> None:
    results = list(untrained().translate(lines, beam=1, batch_size=3))
    assert [result.source for result in results] == lines
    for line, result in zip(lines, results, strict=True):
        if not line.strip():
            assert result.text == ""


def test_reported_scores_are_forced_scores(translator: Translator) -> None:
    vocabulary = Vocabulary(len(translator.tokenizers.target), BOS, EOS, (PAD, BOS, UNK))
    texts = ["fox", "the lazy dogs", "jumps"]
    sources = translator.tokenizers.source.encode_many(texts)
    for beam in (1, 3):
        for ids, [best, *_] in zip(
            sources, translator.search(sources, translator.decoding({}, beam=beam)), strict=True
        ):
            with torch.inference_mode():
                state = translator.model.decoder.start(translator.model.encode(Tokens.of([[*ids, EOS]])))
                [forced] = forced_score(
                    translator.model.decoder.step, state, [best.ids], vocabulary, finished=[best.finished]
                )
            assert best.log_probability == pytest.approx(forced, abs=1e-4)


def test_reported_scores_are_those_of_teacher_forcing(translator: Translator) -> None:
    [ids] = translator.tokenizers.source.encode_many(["lazy fox"])
    [[best]] = translator.search([ids], translator.decoding({}, beam=1))
    with torch.inference_mode():
        logits = translator.model(Tokens.of([[*ids, EOS]]), Tokens.of([[BOS, *best.ids]]))
    wanted = [*best.ids, EOS] if best.finished else best.ids
    forced = sum(float(logits[0, place].log_softmax(-1)[id]) for place, id in enumerate(wanted))
    assert best.log_probability == pytest.approx(forced, abs=1e-4)


def test_n_best_is_best_first_and_distinct(translator: Translator) -> None:
    [result] = translator.translate(["fox"], beam=4, n_best=4)
    scores = [answer.score for answer in result.answers if answer.finished]
    assert scores == sorted(scores, reverse=True)
    assert len({answer.symbols for answer in result.answers}) == len(result.answers)


def test_specials_are_never_generated(translator: Translator) -> None:
    for result in translator.translate(["fox", "dogs"], beam=3, n_best=3):
        for answer in result.answers:
            assert set(answer.symbols) <= set("ABCDEFG")


def test_unknown_symbols_are_told(translator: Translator) -> None:
    [result] = translator.translate(["föx"])
    assert result.unknown == ("ö",)


def test_impossible_numbers(translator: Translator) -> None:
    for impossible in ({"beam": 0}, {"beam": 2, "n_best": 3}, {"n_best": 0}, {"batch_size": 0}):
        with pytest.raises(UsageError):
            list(translator.translate(["fox"], **impossible))


def test_a_text_longer_than_any_in_training_is_answered() -> None:
    [result] = untrained().translate(["fox " * 300], beam=1)
    assert len(result.answers[0].symbols) <= 1.5 * 1200 + 5


def test_a_text_past_the_limit_is_refused_by_its_line() -> None:
    short = untrained({"decoding": {"longest_source": 10}})
    with pytest.raises(DataError, match=r"line 2: the text has 11 tokens, this model reads at most 10"):
        list(short.translate(["fox", "jumps overx"]))
    learned = untrained({"model": {"positions": "learned", "longest": 8}})
    assert len(list(learned.translate(["the fox"], beam=1))) == 1
    with pytest.raises(DataError, match="reads at most 7"):
        list(learned.translate(["the quick fox"]))


def test_load_gives_equal_bits_and_equal_answers(tmp_path: Path, translator: Translator) -> None:
    loaded = Translator.load(saved(tmp_path, translator))
    ours, theirs = translator.model.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [r.answers for r in loaded.translate(WORDS)] == [r.answers for r in translator.translate(WORDS)]
    tied = loaded.model.decoder
    assert tied.output.weight is tied.embed.table.weight


FILES = ["recipe.toml", "model.safetensors", "tokenizer/source.tokenizer.json", "tokenizer/target.tokenizer.json"]


@pytest.mark.parametrize("name", [*FILES, "MANIFEST.json"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "altered"])
def test_a_folder_with_a_bad_file_is_refused_by_name(
    name: str, fault: str, tmp_path: Path, translator: Translator
) -> None:
    path = saved(tmp_path, translator) / name
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if fault == "truncated" else bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ModelFolderError, match=path.name.replace(".", r"\.")):
        Translator.load(tmp_path)


def resealed(folder: Path, name: str, content: bytes) -> Path:
    """A folder whose manifest agrees with what was changed: only the content is wrong."""
    (folder / name).write_bytes(content)
    seal(folder, FILES)
    return folder


def test_a_recipe_of_another_size_is_refused(tmp_path: Path, translator: Translator) -> None:
    folder = saved(tmp_path, translator)
    other = untrained({"model": {"inner": 33}}).recipe.to_toml()
    with pytest.raises(ModelFolderError, match=r"feed_forward\.widen\.weight"):
        Translator.load(resealed(folder, "recipe.toml", other.encode()))


@pytest.mark.parametrize("key", ["layers", "size", "inner"])
def test_an_absurd_recipe_is_refused_before_anything_is_built(key: str, tmp_path: Path, translator: Translator) -> None:
    text = translator.recipe.to_toml()
    lines = [f"{key} = 1000000000" if line.startswith(f"{key} =") else line for line in text.split("\n")]
    with pytest.raises((RecipeError, ModelFolderError), match=rf"model\.{key}"):
        Translator.load(resealed(saved(tmp_path, translator), "recipe.toml", "\n".join(lines).encode()))


def test_a_large_but_legal_recipe_is_refused_by_the_size_of_the_file(tmp_path: Path, translator: Translator) -> None:
    large = translator.recipe.to_toml().replace("layers = 1\n", "layers = 50\n").replace("size = 16\n", "size = 1024\n")
    with pytest.raises(ModelFolderError, match="bytes of weights"):
        Translator.load(resealed(saved(tmp_path, translator), "recipe.toml", large.encode()))


def test_an_unknown_key_in_a_recipe_names_the_nearest(tmp_path: Path, translator: Translator) -> None:
    text = translator.recipe.to_toml().replace("dropout =", "dropuot =", 1)
    with pytest.raises(RecipeError, match=r"model\.dropuot.*model\.dropout"):
        Translator.load(resealed(saved(tmp_path, translator), "recipe.toml", text.encode()))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError):
        Translator.load(tmp_path / "nowhere")
    (tmp_path / "pickled").mkdir()
    shutil.copy(__file__, tmp_path / "pickled/model.safetensors")
    with pytest.raises(ModelFolderError):
        Translator.load(tmp_path / "pickled")


def test_n20_encode_gives_latent_vectors_that_do_not_depend_on_the_other_lines(translator: Translator) -> None:
    fox, blank, dogs = translator.encode_many(["fox", "", "lazy dogs"], batch_size=2)
    alone = translator.encode("fox")
    assert (fox.text, fox.symbols) == ("fox", ("f", "o", "x", "<eos>"))
    assert fox.states.shape == (4, 16)
    torch.testing.assert_close(fox.states, alone.states, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fox.pooled, alone.states.mean(0), atol=1e-5, rtol=1e-5)
    assert (blank.symbols, dogs.states.shape) == (("<eos>",), (10, 16))
    memory = translator.model.encode(Tokens.of([[*translator.tokenizers.source.encode("fox"), EOS]]))
    torch.testing.assert_close(memory.states[0], alone.states)


def test_encode_says_where_a_text_is_too_long(translator: Translator) -> None:
    with pytest.raises(DataError, match="line 2: the text has 5,001 tokens"):
        list(translator.encode_many(["fox", "x" * 5001]))
