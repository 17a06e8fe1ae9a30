"""benchmarks/learn.py: its pairs are those of the data, a run is trained once and scored as asked, a table says so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from regard.config import build_recipe, merge, parse_toml
from regard.errors import DataError, TrainingError, UsageError
from regard.presets import choose
from regard.text.pairs import Pair
from regard.text.survey import survey

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TINY = """[data]
tokens_per_batch = 60
[model]
layers = 1
size = 8
heads = 2
inner = 8
dropout = 0.0
[training]
steps = 2
checkpoint_every = 1
[decoding]
limit_factor = 1.0
"""


@pytest.fixture
def learn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    import learn

    yield learn
    for name in [name for name in sys.modules if name == "learn" or name.partition(".")[0] == "sets"]:
        sys.modules.pop(name)


def pairs(part: Any, which: str) -> list[tuple[str, ...]]:
    [path] = getattr(part, which)
    return [tuple(line.split("\t")) for line in path.read_text("utf-8").split("\n")[:-1]]


def test_cmudict_drops_development_words_that_are_trained_on(learn: ModuleType, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "cmudict-0.7b.train-dev-20-21").write_bytes(b"A  AH\r\nA  EY\r\nTO  T UW\r\n")
    (data / "cmudict-0.7b.train-dev-1-21").write_bytes(b"A  AE\r\nTWO  T UW\r\n")
    (data / "cmudict-0.7b.test").write_bytes(b"TOO  T UW\r\n")
    [part] = learn.SETS["cmudict"].prepare(data, tmp_path / "out")
    assert pairs(part, "train") == [("A", "AH"), ("A", "EY"), ("TO", "T UW")]
    assert pairs(part, "dev") == [("TWO", "T UW")]
    assert pairs(part, "test") == [("TOO", "T UW")]
    (tmp_path / "out" / "distilled.tsv").write_text("A\tAH\nTWAIN\tT W EY N\n", encoding="utf-8")
    [again, distilled] = learn.SETS["cmudict"].prepare(data, tmp_path / "out")
    assert again == part
    assert (distilled.dev, distilled.test) == (part.dev, part.test)
    assert pairs(distilled, "train") == [("A", "AH"), ("TWAIN", "T W EY N")]


def test_stress_is_learnt_and_not_scored(learn: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    """As the dictionary says; of a pronunciation it has not, by the number of vowels; of a word it has not, a guess."""
    from sets import stressed

    data, asked = tmp_path / "data", []
    data.mkdir()
    lines = "RECORD  R AH K AO R D\nRECORD  R EH K ER D\nRECORD  R IH K AA R D\nRECORD  R EH K R\nXQZA  Z AA Z AE\n"
    (data / "cmudict-0.7b.train-dev-20-21").write_text(lines, encoding="utf-8")
    (data / "cmudict-0.7b.train-dev-1-21").write_text("TWO  T UW\nTO  T AH\nTO  T UW\n", encoding="utf-8")
    (data / "cmudict-0.7b.test").write_text("TOO  T UW\n", encoding="utf-8")
    [part] = learn.SETS["cmudict-stressed"].prepare(data, tmp_path / "out")
    spoken = ["R AH0 K AO1 R D", "R EH1 K ER0 D", "R IH0 K AA1 R D", "R EH1 K R", "Z AA1 Z AE0"]
    assert [phones for _, phones in pairs(part, "train")] == spoken
    assert pairs(part, "dev") == [("TWO", "T UW1"), ("TO", "T AH0"), ("TO", "T UW1")]
    assert pairs(part, "test") == [("TOO", "T UW")]

    def answers(models: list[Path], sources: Path) -> list[str]:
        asked.append(sources.read_text("utf-8"))
        return {"TWO\nTO\n": ["T UW2", "T AH1"], "TOO\n": ["T AH0"]}[asked[-1]]

    monkeypatch.setattr(stressed, "answers", answers)
    found = stressed.measure([tmp_path], part, "dev")
    assert (found["wer"], found["per"]) == (0, 0)
    assert found["wer_per_line"] == pytest.approx(100 / 3)
    assert stressed.measure([tmp_path], part, "test") == dict.fromkeys(("wer", "wer_per_line"), 100) | dict.fromkeys(
        ("per", "per_per_line"), 50
    )


def test_names_have_a_part_a_script(learn: ModuleType, tmp_path: Path) -> None:
    for language in ("hebrew", "katakana"):
        for number in (64, 16, 20):
            (tmp_path / f"wd_{language}_{number}").write_text(f"ann\t{language} {number}\t2\n", encoding="utf-8")
    hebrew, katakana = learn.SETS["names"].prepare(tmp_path, tmp_path / "out")
    assert (pairs(hebrew, "train"), pairs(hebrew, "dev")) == ([("ann", "hebrew 64")], [("ann", "hebrew 16")])
    assert pairs(katakana, "test") == [("ann", "katakana 20")]


def test_inflection_spells_lemma_and_features(learn: ModuleType, tmp_path: Path) -> None:
    for language in ("got", "hun", "ang"):
        for name in (f"{language}_large.train", f"{language}.dev", f"{language}.gold"):
            path = tmp_path / "data" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("ga u\tgau\tV;PST\n", encoding="utf-8")
    parts = learn.SETS["inflection2022"].prepare(tmp_path / "data", tmp_path / "out")
    assert [part.name for part in parts] == ["got", "hun", "ang"]
    assert pairs(parts[0], "test") == [("g a ␣ u <V> <PST>", "g a u")]


def test_scan_keeps_a_thousand_for_development(learn: ModuleType, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "test"):
        lines = "".join(f"IN: walk {n} OUT: I_WALK I_{n}\n" for n in range(1200))
        (data / f"tasks_{name}_simple.txt").write_text(lines, encoding="utf-8")
    [part] = learn.SETS["scan"].prepare(data, tmp_path / "out")
    train, dev = pairs(part, "train"), pairs(part, "dev")
    assert (len(train), len(dev)) == (200, 1000)
    assert {*train, *dev} == set(pairs(part, "test"))
    assert ("walk 7", "I_WALK I_7") in {*train, *dev}


def test_names_count_an_answer_among_the_first_n(learn: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    from sets import names
    from sets.part import Part

    test = tmp_path / "test.tsv"
    test.write_text("ann\tA N\njo\tY O\nann\tA N N\n", encoding="utf-8")
    given = {"ann": ["X", "A N N", "A N"], "jo": ["J", "O", "Z"]}
    seen = []

    def answers(models: list[Path], sources: Path, *options: str) -> list[str]:
        seen.append(options)
        words = sources.read_text("utf-8").split("\n")[:-1]
        return [json.dumps({"answers": [{"text": text} for text in given[word]]}) for word in words]

    monkeypatch.setattr(names, "answers", answers)
    found = names.measure([tmp_path], Part("x", (), (), (test,)), "test")
    assert found == {"1-best": 0.0, "2-best": 50.0, "3-best": 50.0}
    assert seen == [("--n-best", "3", "--json")]


@pytest.mark.slow
def test_a_part_is_trained_once_scored_alone_and_together(
    learn: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    words = "".join(f"{'ab'[n % 2] * (n % 3 + 1)}\t{' '.join('AB'[n % 2] * (n % 3 + 1))}\n" for n in range(520))
    for language in ("arm", "bul", "fre", "geo", "gre", "hin", "hun", "ice", "kor", "lit"):
        for split in ("train", "dev", "test"):
            (data / f"{language}_{split}.tsv").write_text(words, encoding="utf-8")
    record = tmp_path / "results"
    (record / "recipes").mkdir(parents=True)
    (record / "recipes" / "g2p2020.toml").write_text(TINY, encoding="utf-8")
    monkeypatch.setattr(learn, "RESULTS", record)
    arguments = ["g2p2020", str(data), str(tmp_path / "runs"), "--parts", "fre-100", "--seeds", "1", "2"]
    arguments += ["--together", "--record", str(record), "--at-once", "2"]
    learn.main(arguments)
    rows = json.loads((record / "g2p2020.json").read_text("utf-8"))
    assert [(row["part"], row["seeds"], row["split"]) for row in rows] == [
        ("fre-100", [1], "dev"),
        ("fre-100", [2], "dev"),
        ("fre-100", [1, 2], "dev"),
    ]
    assert all(0 <= row["wer"] <= 100 and row["steps"] == 2 for row in rows)
    assert rows[2]["parameters"] == 2 * rows[0]["parameters"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.suffix != ".tsv"}
    capsys.readouterr()
    learn.main([*arguments, "--test"])
    rows = json.loads((record / "g2p2020.json").read_text("utf-8"))
    assert [row["split"] for row in rows] == ["dev"] * 3 + ["test"] * 3
    assert "training" not in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}
    other = TINY.replace("dropout = 0.0", "dropout = 0.5")
    (record / "recipes" / "g2p2020.toml").write_text(other, encoding="utf-8")
    with pytest.raises(UsageError, match=r"fre-100-1: trained with another model\.dropout\n  fix: move it away"):
        learn.main(arguments)
    logs = sorted(path.name for path in (record / "logs").iterdir())
    assert logs == ["g2p2020-best-fre-100-1.jsonl", "g2p2020-best-fre-100-2.jsonl"]
    learn.main(["table"])
    told = capsys.readouterr().out
    assert "| fre-100 | best | test | 2 |" in told
    assert "| fre-100 | best | test | 2 together |" in told


def test_numbers_are_those_of_the_models_that_are_there(
    learn: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured once; again after another training; and what another process wrote meanwhile is kept."""
    from sets.part import DataSet, Part

    record, measured = tmp_path / "results", []

    def measure(models: list[Path], part: Part, split: str) -> dict[str, float]:
        measured.append(part.name)
        if len(measured) == 1:
            (record / "toy.json").write_text('[{"settings": "other", "part": "a", "seeds": [1], "split": "dev"}]')
        return {"wer": float(len(measured))}

    monkeypatch.setitem(learn.SETS, "toy", DataSet(lambda data, folder: [], measure))
    run = tmp_path / "runs" / "toy" / "default" / "a-1"
    run.mkdir(parents=True)
    events = [{"event": "start", "parameters": 7}, {"event": "end", "step": 5, "seconds": 60.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    asked = learn.parse(["toy", str(tmp_path), str(tmp_path / "runs"), "--defaults", "--record", str(record)])
    for manifest, times in (("one", 1), ("one", 1), ("two", 2)):
        (run / "MANIFEST.json").write_text(manifest, encoding="utf-8")
        learn.Measuring(asked).measure(Part("a", (), (), ()), [1], "dev")
        assert len(measured) == times
    other, row = json.loads((record / "toy.json").read_text("utf-8"))
    assert other["settings"] == "other"
    assert (row["wer"], row["parameters"], row["steps"], row["minutes"]) == (2.0, 7, 5, 1.0)


@pytest.mark.parametrize(("given", "threads"), [(None, "2"), ("3", "3")])
def test_trainings_side_by_side_share_the_processors(
    given: str | None, threads: str, learn: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user has said how many threads each may have."""
    from sets.part import Part

    told = []
    monkeypatch.setattr(learn.os, "cpu_count", lambda: 4)

    def run(*command: Any, env: dict[str, str], **others: Any) -> SimpleNamespace:
        told.append(env["OMP_NUM_THREADS"])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(learn.subprocess, "run", run)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    asked = ["scan", str(tmp_path), str(tmp_path / "runs"), "--defaults", "--at-once", "2", "--record", str(tmp_path)]
    learn.Measuring(learn.parse(asked)).train(Part("simple", (), (), ()), 1)
    assert told == [threads]


def test_a_training_that_fails_says_why(learn: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sets.part import Part

    def run(*command: Any, stdout: Any, **others: Any) -> SimpleNamespace:
        stdout.write("one\nerror: pairs.tsv: no such file\n  fix: check the path\n")
        return SimpleNamespace(returncode=2)

    monkeypatch.setattr(learn.subprocess, "run", run)
    asked = ["scan", str(tmp_path), str(tmp_path / "runs"), "--defaults", "--record", str(tmp_path)]
    with pytest.raises(TrainingError, match=r"simple-1\.log: .*\none\nerror: pairs\.tsv: no such file\n  fix: check"):
        learn.Measuring(learn.parse(asked)).train(Part("simple", (), (), ()), 1)


def test_what_is_not_there_is_said_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "learn.py", "cmudict", tmp_path / "none", tmp_path / "runs"]
    done = subprocess.run([*command, "--record", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / 'none' / 'cmudict-0.7b.train-dev-20-21'}: no such file\n"
        "  fix: check the path; a relative one starts at the current folder\n"
    )


def test_a_student_without_a_teacher_is_said_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tA\n", encoding="utf-8")
    command = [sys.executable, ROOT / "benchmarks" / "distil.py", tmp_path / "pairs.tsv", tmp_path / "out.tsv"]
    done = subprocess.run([*command, tmp_path / "none"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'none'}: ")
    assert done.stderr.endswith("\nerror: regard translate ended with 2; what it said stands above\n")
    assert not (tmp_path / "out.tsv").exists()


def test_a_mean_is_over_all_its_parts_and_one_choice_of_seeds(learn: ModuleType) -> None:
    from sets import g2p2020
    from sets.table import table

    def row(part: str, seed: int, wer: float, settings: str = "best") -> dict[str, Any]:
        facts = {"parameters": 10, "steps": 5, "minutes": 1.0}
        return {"part": part, "settings": settings, "split": "test", "seeds": [seed], "wer": wer, **facts}

    rows = [row(part, seed, 10.0 * seed + place) for place, part in enumerate(g2p2020.LANGUAGES) for seed in (1, 2)]
    others = [row("arm", 3, 99.0), row("arm", 1, 0.0, "default")]  # without the other languages: no mean
    said = table("g2p2020", [*rows, *others]).split("\n")
    assert [line for line in said if line.startswith("| mean")] == [
        "| mean | best | test | 2 | 19.50 ± 7.07 |  |  | 10.0 | 18.53; 19.16; 18.74 |"
    ]


def test_what_is_chosen_by_itself_stands_beside_the_recipe(learn: ModuleType) -> None:
    """Errors grow and BLEU falls by so many percent of the recipe's; single models on development data alone."""
    from sets import g2p2020
    from sets.table import defaults

    def row(settings: str, seeds: list[int], part: str = "", split: str = "dev", **numbers: float) -> dict[str, Any]:
        facts = {"parameters": 10, "steps": 5, "minutes": 1.0}
        return {"part": part, "settings": settings, "split": split, "seeds": seeds, **numbers, **facts}

    told = defaults(
        {
            "cmudict": [
                row("default", [1], wer=21.0),
                row("best", [1], wer=19.0),
                row("best", [2], wer=21.0),
                row("other", [1], wer=20.5),
                row("best", [1, 2], wer=1.0),
                row("best", [1], split="test", wer=1.0),
            ],
            "g2p2020": [
                *(row("default", [1], part=part, wer=11.0) for part in g2p2020.LANGUAGES),
                *(row("best", [1], part=part, wer=10.0) for part in g2p2020.LANGUAGES),
            ],
            "multi30k": [
                row("default", [1], part="raw", bleu=38.0),
                row("best", [1], part="raw", bleu=39.0),
                row("other", [1], part="raw", bleu=40.0),
            ],
            "scan": [row("default", [1], part="simple", exact=99.0)],
        }
    )
    assert told.split("\n")[4:] == [
        "| cmudict | all | wer | 21.00 | 1 | best | 20.00 ± 1.41 | 2 | +5.0 % |",
        "| g2p2020 | mean | wer | 11.00 | 1 | best | 10.00 | 1 | +10.0 % |",
        "| multi30k | raw | bleu | 38.00 | 1 | other | 40.00 | 1 | +5.0 % |",
    ]


def test_the_test_is_set_against_what_was_published(learn: ModuleType) -> None:
    """A mean stands for its parts; a recipe that was not tested has no row."""
    from sets import g2p2020
    from sets.table import against_published

    def row(settings: str, seeds: list[int], part: str, split: str, **numbers: float) -> dict[str, Any]:
        facts = {"parameters": 10, "steps": 5, "minutes": 1.0}
        return {"part": part, "settings": settings, "split": split, "seeds": seeds, **numbers, **facts}

    told = against_published(
        {
            "g2p2020": [row("best", [1, 2], part, "test", wer=10.0) for part in g2p2020.LANGUAGES],
            "scan": [
                row("best", [1], "simple", "test", exact=99.0),
                row("best", [2], "simple", "test", exact=100.0),
                row("default", [1], "simple", "dev", exact=1.0),
            ],
        }
    )
    assert told.split("\n")[4:] == [
        "| g2p2020 | mean | best | 2 together | wer | 10.00 | 18.53; 19.16; 18.74 |",
        "| scan | simple | best | 2 | exact | 99.50 ± 0.71 | 99.8 to 100 |",
    ]


def test_bleu_says_how_it_was_counted(learn: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    from sets import multi30k
    from sets.part import Part
    from sets.table import table

    (tmp_path / "de").write_text("Ein Hund , der läuft .\nZwei Katzen schlafen hier .\n", encoding="utf-8")
    monkeypatch.setattr(multi30k, "answers", lambda *asked: ["Ein Hund, der läuft.", "Zwei Katzen schlafen hier ."])
    files = (tmp_path / "en", tmp_path / "de")
    lowercase, raw = (multi30k.measure([], Part(name, (), (), files), "test") for name in ("lowercase", "raw"))
    assert "tok:none" in str(lowercase["signature"])
    assert "tok:13a" in str(raw["signature"])
    assert float(lowercase["bleu"]) < float(raw["bleu"]) == pytest.approx(100)
    facts = {"settings": "best", "split": "test", "seeds": [1], "parameters": 1, "steps": 1, "minutes": 1.0}
    said = table("multi30k", [{"part": "raw", **facts, **raw}])
    assert f"Signature for raw: `{raw['signature']}`." in said
    assert "| raw | best | test | 1 | 100.00 |" in said


@pytest.mark.parametrize("recipe", sorted((RESULTS / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_can_be_built(recipe: Path) -> None:
    given = parse_toml(recipe.read_text("utf-8"), str(recipe))
    chosen, _ = choose(survey(Pair("abc", "d e f", n) for n in range(1, 30)), given)
    assert build_recipe(merge(chosen.model_dump(), given)) == chosen


def test_the_page_says_what_was_measured(learn: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    learn.main(["table"])
    assert capsys.readouterr().out.strip() in (RESULTS / "README.md").read_text("utf-8")


def test_the_words_of_a_text_are_those_a_dictionary_could_have(learn: ModuleType) -> None:
    import distil

    text = ["Don't they see Zoë's naïve 'mhm' in it, O'Neill?", "they said: rock 'n' roll", f"{'a' * 22} {'a' * 21}"]
    words = ["A" * 21, "DON'T", "NAIVE", "O'NEILL", "ROCK", "ROLL", "SAID", "SEE", "THEY", "ZOE'S"]
    assert distil.words_of(text) == words
    sys.modules.pop("distil")


def test_a_student_is_asked_what_is_not_tested(learn: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    import distil

    files = {"pairs": "a\tA\nb\tB\nt\tT\na\tAA\n", "test": "t\tT\n", "words": "t\nc\n\nb\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    asked: list[str] = []

    def answers(models: list[Path], sources: Path, *options: str) -> list[str]:
        asked.extend(sources.read_text("utf-8").split("\n")[:-1])
        return [{"a": "A", "b": "BB", "c": ""}[word] for word in asked]

    monkeypatch.setattr(distil, "answers", answers)
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"words:1: wanted a source, a tab and a target"):
        distil.main([str(tmp_path / "pairs"), str(out), "model", "--without", str(tmp_path / "words")])
    words, test = ["--words", str(tmp_path / "words")], ["--without", str(tmp_path / "test")]
    distil.main([str(tmp_path / "pairs"), str(out), "model", *words, *test])
    assert asked == ["a", "b", "c"]  # no word that is tested, none twice, no blank one
    assert out.read_text("utf-8") == "a\tA\nb\tB\na\tAA\nb\tBB\n"
    sys.modules.pop("distil")
