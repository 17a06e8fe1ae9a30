"""Boards: what they are told, what a resume takes back, and what is said where a package is missing."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from regard.config import Training
from regard.errors import UsageError
from regard.training import boards
from regard.training.boards import BOARDS, check_boards, open_boards

CONFIG = {"model": {"size": 8}, "training": {"boards": ("tensorboard",)}}


def step(number: int, loss: float) -> dict[str, Any]:
    return {"event": "step", "step": number, "epoch": 0, "loss": loss, "rate": 0.5, "gradient": 2.0, "seconds": 1.0}


EVENTS: list[dict[str, Any]] = [
    {"event": "recipe", "pairs": 3, "reasons": []},
    {"event": "start", "steps": 4},
    {**step(1, 4.0), "tokens_per_second": 100},
    step(2, 3.0),
    {"event": "checkpoint", "step": 2, "best": True, "loss": 2.5, "wer": 50.0},
    {"event": "samples", "step": 2, "samples": [{"source": "a|b", "reference": "<b>", "answer": "c"}]},
    step(3, 9.0),
    {"event": "checkpoint", "step": 4, "best": False, "loss": 9.5, "wer": 90.0},
]
END = {"event": "end", "step": 4, "seconds": 3.0, "published": "step 2", "loss": 2.5, "wer": 50.0}


class Fake:
    """A board that keeps what it is told."""

    def __init__(self, run: Path, config: Mapping[str, Any], history: Any) -> None:
        self.said: list[tuple[Any, ...]] = []
        OPENED.append(self)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.said.append((step, dict(values)))

    def text(self, step: int, name: str, markdown: str) -> None:
        self.said.append((step, name, markdown))

    def close(self) -> None:
        self.said.append(("closed",))


OPENED: list[Fake] = []


def test_each_board_is_told_numbers_and_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("one", "two"):
        monkeypatch.setitem(BOARDS, name, boards._Maker("json", "none", Fake))
    tell = open_boards(["one", "two"], tmp_path, CONFIG)
    for event in [*EVENTS[:6], {"event": "unheard of"}, END]:
        tell(event)
    first, second = OPENED[-2:]
    assert first.said == second.said == [
        (1, {"training/loss": 4.0, "training/rate": 0.5, "training/gradient": 2.0, "training/tokens_per_second": 100}),
        (2, {"training/loss": 3.0, "training/rate": 0.5, "training/gradient": 2.0}),
        (2, {"development/loss": 2.5, "development/wer": 50.0}),
        (2, "samples", "| source | wanted | answer |\n|---|---|---|\n| a&#124;b | &lt;b> | c |"),
        (4, {"published/loss": 2.5, "published/wer": 50.0}),
        ("closed",),
    ]  # fmt: skip


def test_no_board_is_nothing_to_do(tmp_path: Path) -> None:
    open_boards((), tmp_path, CONFIG)(EVENTS[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BOARDS)
def test_a_missing_package_is_named_before_anything_is_written(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(boards, "find_spec", lambda package: None)
    with pytest.raises(UsageError, match=rf"{name}.*not installed\n.*pip install 'regard\[{BOARDS[name].extra}\]'"):
        check_boards([name])
    with pytest.raises(UsageError, match="not installed"):
        open_boards([name], tmp_path, CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_settings_and_extras_name_the_boards() -> None:
    item = get_args(get_args(Training.model_fields["boards"].annotation)[0])
    assert sorted(item) == sorted(BOARDS)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    for maker in BOARDS.values():
        assert any(each.startswith(maker.package) for each in project["optional-dependencies"][maker.extra])


def test_boards_are_not_imported_unless_asked_for() -> None:
    script = (
        "import sys; from regard.training.boards import open_boards; from pathlib import Path;"
        "open_boards((), Path('x'), {}); assert not {'torch', 'tensorboard', 'trackio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# The boards themselves: trackio as it is documented, TensorBoard where it is installed.


class FakeTrackio(types.ModuleType):
    """As much of trackio as is used: runs by name in one project, each a list of (step, metrics)."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.stored: list[FakeRun] = []
        self.Markdown = lambda text: ("markdown", text)
        self.Api = lambda: self

    def init(self, project: str, name: str, config: dict[str, str], **rest: bool) -> None:
        sys.stdout.write("* View dashboard\n")  # as trackio does
        assert rest == {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}  # nothing but what we tell
        self.stored.append(FakeRun(self, project, name, config))

    def log(self, metrics: dict[str, Any], step: int) -> None:
        self.stored[-1].logged.append((step, metrics))

    def finish(self) -> None:
        sys.stdout.write("* Run finished\n")
        self.stored[-1].finished = True

    def runs(self, project: str) -> list[FakeRun]:
        if not self.stored:
            raise ValueError(f"Project '{project}' does not exist")
        return [run for run in self.stored if run.project == project]


class FakeRun:
    def __init__(self, module: FakeTrackio, project: str, name: str, config: dict[str, str]) -> None:
        self.module, self.project, self.name, self.config = module, project, name, config
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.finished = False

    def delete(self) -> bool:
        self.module.stored.remove(self)
        return True


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> FakeTrackio:
    module = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", module)
    monkeypatch.setattr(boards, "find_spec", lambda package: object())
    return module


def test_trackio_gets_a_run_with_all_settings(
    trackio: FakeTrackio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell = open_boards(["trackio"], tmp_path / "mine", CONFIG)
    for event in [*EVENTS, END]:
        tell(event)
    [run] = trackio.stored
    assert (run.project, run.name, run.finished) == ("regard", "mine", True)
    assert run.config == {"folder": str(tmp_path / "mine"), "model.size": "8", "training.boards": "('tensorboard',)"}
    assert [at for at, _ in run.logged] == [1, 2, 2, 2, 3, 4, 4]
    assert run.logged[3][1]["samples"][0] == "markdown"
    said = capsys.readouterr()
    assert said.out == ""  # standard output belongs to answers
    assert said.err == "* View dashboard\n"


def test_trackio_has_each_step_of_a_resumed_run_once(trackio: FakeTrackio, tmp_path: Path) -> None:
    other = open_boards(["trackio"], tmp_path / "other" / "mine", CONFIG)
    other(EVENTS[2])
    killed = open_boards(["trackio"], tmp_path / "mine", CONFIG)
    for event in EVENTS:
        killed(event)
    resumed = open_boards(["trackio"], tmp_path / "mine", CONFIG, EVENTS[:6])
    resumed(step(3, 2.0))
    assert [run.config["folder"] for run in trackio.stored] == [
        str(tmp_path / "other" / "mine"),
        str(tmp_path / "mine"),
    ]
    assert [(at, each.get("training/loss")) for at, each in trackio.stored[1].logged] == [
        (1, 4.0), (2, 3.0), (2, None), (2, None), (3, 2.0)
    ]  # fmt: skip


def test_trackio_resumes_where_it_was_not_asked_for_before(trackio: FakeTrackio, tmp_path: Path) -> None:
    open_boards(["trackio"], tmp_path, CONFIG, EVENTS[:4])
    assert [at for at, _ in trackio.stored[0].logged] == [1, 2]


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    return {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_back_what_was_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tell = open_boards(["tensorboard"], tmp_path, CONFIG)
    for event in EVENTS:
        tell(event)
    found = scalars(tmp_path)  # while the run goes on: what was told is on the disk
    assert found["training/loss"] == [(1, 4.0), (2, 3.0), (3, 9.0)]
    assert found["development/wer"] == [(2, 50.0), (4, 90.0)]
    assert found["training/tokens_per_second"] == [(1, 100.0)]
    tell(END)
    assert scalars(tmp_path)["published/loss"] == [(4, 2.5)]


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_has_each_step_of_a_resumed_run_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    killed = open_boards(["tensorboard"], tmp_path, CONFIG)
    for event in EVENTS:
        killed(event)
    resumed = open_boards(["tensorboard"], tmp_path, CONFIG, EVENTS[:6])
    for event in (step(3, 2.0), {"event": "checkpoint", "step": 4, "best": True, "loss": 1.5, "wer": 10.0}):
        resumed(event)
    found = scalars(tmp_path)
    assert found["training/loss"] == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert found["development/wer"] == [(2, 50.0), (4, 10.0)]


def test_the_real_trackio_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))  # read when it is imported, which nothing did before
    trackio = pytest.importorskip("trackio")

    asked: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    for history in (None, EVENTS[:6]):  # a run that dies after its last event, and goes on from step 2
        tell = open_boards(["trackio"], tmp_path / "mine", CONFIG, history)
        for event in EVENTS if history is None else (step(3, 2.0), END):
            tell(event)
        if history is None:
            trackio.finish()
    [record] = storage.get_run_records("regard")
    logs = storage.get_logs("regard", record["name"], run_id=record["id"])
    losses = [(each["step"], each["training/loss"]) for each in logs if "training/loss" in each]
    assert losses == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert asked == []
