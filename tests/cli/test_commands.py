"""The commands as a user types them: exit codes, streams, files. In this process where that is enough."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regard.cli import run
from regard.translator import Translator
from small import saved, untrained

LINES = ["fox", "", "the lazy dogs", "  ", "jumps over\u2028the\u0085fox", "quick"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), untrained())


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    *lines, rest = capsys.readouterr().out.split("\n")
    assert rest == ""
    return lines


@pytest.mark.parametrize("options", [["--beam", "1"], ["--beam", "3", "--batch-size", "2"]])
def test_command_line_equals_python_line_for_line(
    options: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("\n".join(LINES).encode() + b"\r\n")
    assert run(["translate", str(folder), str(path), *options]) == 0
    wanted = [result.text for result in Translator.load(folder).translate(LINES, beam=int(options[1]))]
    assert lines_of(capsys) == wanted
    assert wanted[1] == wanted[3] == ""


def test_translate_reads_packed_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gzip.open(tmp_path / "in.txt.gz", "wt", encoding="utf-8") as file:
        file.write("fox\nquick\n")
    assert run(["translate", str(folder), str(tmp_path / "in.txt.gz")]) == 0
    assert len(lines_of(capsys)) == 2


def test_n_best_gives_n_lines_a_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("fox\nquick\n", encoding="utf-8")
    assert run(["translate", str(folder), str(tmp_path / "in.txt"), "--beam", "3", "--n-best", "3"]) == 0
    scores = [float(line.split("\t")[0]) for line in lines_of(capsys)]
    assert len(scores) == 6


def test_json_holds_scores_and_symbols(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("fox\n\nfö\n", encoding="utf-8")
    assert run(["translate", str(folder), str(tmp_path / "in.txt"), "--json"]) == 0
    rows = [json.loads(line) for line in lines_of(capsys)]
    assert [row["source"] for row in rows] == ["fox", "", "fö"]
    assert rows[1]["answers"][0]["text"] == ""
    assert rows[2]["unknown"] == ["ö"]
    parts = {"log_probabilities", "log_probability", "length_penalty", "coverage", "score"}
    assert set(rows[0]["answers"][0]) == {"text", "symbols", "finished", "met", *parts}


def test_warnings_go_to_stderr(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("fox\nzö\n", encoding="utf-8")
    assert run(["translate", str(folder), str(tmp_path / "in.txt")]) == 0
    assert "line 2: never seen in training: ö" in capsys.readouterr().err


def test_score_prints_every_way_of_counting(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test.tsv").write_text("fox\tA B\nfox\tC\nquick\tD\n", encoding="utf-8")
    assert run(["score", str(folder), str(tmp_path / "test.tsv"), "--beam", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"per", "wer", "per_per_line", "wer_per_line"} <= result.keys()
    assert (result["lines"], result["sources"], result["search"]) == (3, 2, "beam 2")
    assert run(["score", str(folder), str(tmp_path / "test.tsv"), "--beam", "1"]) == 0
    shown = capsys.readouterr().out
    assert "3 lines, 2 distinct sources, greedy" in shown
    assert "any" in shown


def test_info_and_verify(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["recipe"]["model"]["size"] == 16
    assert facts["decoding"] == "the engine's steps"
    assert run(["info", str(saved(tmp_path, untrained({"model": {"score": "additive"}})))]) == 0
    assert "the modules' own steps: the engine needs a score that is a plain product" in capsys.readouterr().out
    assert run(["info", str(folder)]) == 0
    assert run(["info", "--settings"]) == 0
    assert "model.layers" in capsys.readouterr().out
    assert run(["verify", str(folder)]) == 0
    assert "every file is as it was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "nowhere.tsv"], "nowhere.tsv"),
        (["train"], "give a file of pairs or --task NAME"),
        (["train", "--task", "revers"], "reverse"),
        (["train", "--task", "copy", "--set", "model.layrs=2"], "did you mean model.layers"),
        (["train", "--task", "copy", "--set", "model.layers=1000000000"], "model.layers"),
        (["train", "--task", "copy", "--set", "model.layers"], "section.key=value"),
        (["train", "--task", "copy", "--config", "nowhere.toml"], "nowhere.toml"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["train", "a.tsv", "--resume", "nowhere"], "--resume takes no other settings"),
        (["train", "--from", "pronounce", "--resume", "nowhere"], "--resume takes no other settings"),
        (["train", "--task", "copy", "--from", "prononce"], "models that come with the package: pronounce"),
        (["train", "--task", "copy", "--from", ""], "models that come with the package: pronounce"),
        (["translate", "nowhere"], "nowhere"),
        (["score", "nowhere", "nofile.tsv"], "nofile.tsv"),
        (["verify", "nowhere"], "nowhere"),
        (["info", "--layers"], "name a model folder"),
        (["check", "nowhere.tsv"], "nowhere.tsv"),
        (["nocommand"], "nocommand"),
        (["translate", "x", "--nooption"], "nooption"),
    ],
)
def test_a_mistake_is_a_message_and_exit_2(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    streams = capsys.readouterr()
    assert told in streams.err + streams.out
    assert "Traceback" not in streams.err
    assert list(tmp_path.iterdir()) == []


def test_a_bad_line_in_the_input_of_translate(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_bytes(b"fox\n\xff\xfe bad\n")
    assert run(["translate", str(folder), str(tmp_path / "in.txt")]) == 2
    assert "in.txt:2" in capsys.readouterr().err


def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "regard", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_from_pairs_to_answers_in_three_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way in real processes, from standard input to standard output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    words = [f"{a}{b}{c}" for a in "abcd" for b in "efgh" for c in "ijk"]
    Path("pairs.tsv").write_text("".join(f"{word}\t{' '.join(word)}\n" for word in words), encoding="utf-8")
    sizes = ("model.size=16", "model.layers=1", "training.steps=30", "training.checkpoint_every=15")
    trained = command("train", "pairs.tsv", *(part for size in sizes for part in ("--set", size)))
    assert trained.returncode == 0, trained.stderr
    assert "set by you" in trained.stderr
    assert trained.stdout == ""
    answered = command("translate", "runs/pairs", stdin="aei\n\nbfj")
    assert answered.returncode == 0, answered.stderr
    assert len(answered.stdout.split("\n")) == 4
    scored = command("score", "runs/pairs", "pairs.tsv", "--json")
    assert json.loads(scored.stdout)["lines"] == 48


def test_the_reader_of_our_output_may_leave(folder: Path) -> None:
    """As `| head -n 1` does: no traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "regard", "translate", str(folder), "--beam", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write(b"fox\n" * 100)
        process.stdin.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait() == 0


def test_no_torch_before_it_is_needed() -> None:
    code = (
        "import sys, regard; from regard.cli import run; run(['--help']); run(['info', '--settings']);"
        "run(['train', '--task', 'copy', '--set', 'model.nothing=1']);"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_translating_does_not_import_the_optimisers(folder: Path) -> None:
    code = (
        f"import sys; from regard.cli import run; code = run(['translate', {str(folder)!r}]);"
        "slow = [m for m in ('torch._dynamo', 'torch._inductor', 'sacrebleu', 'matplotlib') if m in sys.modules];"
        "print(slow, file=sys.stderr); sys.exit(bool(code or slow))"
    )
    result = subprocess.run([sys.executable, "-c", code], input=b"fox\n", capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_python_m_regard_knows_its_version() -> None:
    assert command("--version").stdout.strip() == "0.1.0"


def test_the_first_signal_saves_and_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ("model.size=16", "model.layers=1", "training.steps=100000", "training.checkpoint_every=100000")
    options = [part for size in sizes for part in ("--set", size)]
    with subprocess.Popen(
        [sys.executable, "-m", "regard", "train", "--task", "copy", *options], stderr=subprocess.PIPE, text=True
    ) as process:
        journal = tmp_path / "runs/copy/metrics.jsonl"
        while not journal.exists() or '"event": "step"' not in journal.read_text(encoding="utf-8"):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        told = process.stderr.read()
        assert process.wait() == 143
    assert "go on with: regard train --resume runs/copy" in told
    assert "Traceback" not in told
    [checkpoint] = Path("runs/copy/checkpoints").iterdir()
    assert command("verify", str(checkpoint)).returncode == 0
    assert command("translate", "runs/copy", stdin="1 2").returncode == 2  # the run is not finished
