"""The power goes at any moment of a run: what a save returned for is there, and nothing half has a final name."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from recorded_disk import Choice, Killed, Recorder, Tree, after, drawn, kept, lost, nameless, write_tree, zeroed

from regard.folder import MANIFEST, remove_folder, seal, verify, write_file
from regard.models.weights import save_weights
from regard.training import journal as journal_module
from regard.training.checkpoint import Checkpoint, list_checkpoints, newest_good, prune_checkpoints, save_checkpoint
from regard.training.journal import Journal

FILES = {"tokenizer/tokenizer.json": b"words " * 50, "recipe.toml": b"[model]\n"}


@dataclass
class Story:
    """A run on a recorded disk. `saves` holds (step, version, log when it began, log when it returned)."""

    recorder: Recorder
    saves: list[list[int]] = field(default_factory=list)
    known: dict[int, list[bytes]] = field(default_factory=dict)  # the weights of each step, in their versions
    sealed: int = 1 << 60

    @property
    def run(self) -> Path:
        return self.recorder.root / "run"

    def begin(self) -> None:
        (self.run / "tokenizer").mkdir(parents=True)  # unsynced: saving must see to it
        for name, content in FILES.items():
            write_file(self.run / name, content)

    def save(self, step: int, version: int = 0, keep: tuple[int, ...] = ()) -> None:
        """What the loop does at a checkpoint."""
        journal = Journal(self.run)
        for number in range(2):
            journal.write({"event": "step", "step": step, "loss": 1 / (step + number), "text": "größer"})
        journal.flush()
        weights = {"w": torch.full((3,), float(100 * step + version))}
        now = [step, version, len(self.recorder.log), 1 << 60]
        self.saves.append(now)
        self.known.setdefault(step, []).append(save_weights(weights))
        save_checkpoint(self.run, Checkpoint(step, weights, {}, {"version": version}), FILES)
        now[3] = len(self.recorder.log)
        prune_checkpoints(self.run, keep)

    def resume(self) -> None:
        """What a later process does first."""
        loaded, _ = newest_good(self.run)
        Journal(self.run).rewind(loaded.step if loaded else 0)

    def finish(self) -> None:
        with self.recorder.open(self.run / "curve.svg", "a", encoding="utf-8") as file:
            file.write("a picture, which nobody synced")
        write_file(self.run / "model.safetensors", b"weights")
        seal(self.run, [*FILES, "model.safetensors", "curve.svg", "metrics.jsonl"])
        self.sealed = len(self.recorder.log)

    def allowed(self, count: int) -> list[tuple[int, int] | None]:
        """What may be the newest checkpoint after so many operations: the last one saved, or one being saved."""
        last = max((number for number, save in enumerate(self.saves) if save[3] <= count), default=None)
        under_way = [save for save in self.saves[0 if last is None else last + 1 :] if save[2] <= count]
        first: list[tuple[int, int] | None] = [None] if last is None else [(self.saves[last][0], self.saves[last][1])]
        return [*first, *((save[0], save[1]) for save in under_way)]


def whole_run(story: Story) -> None:
    """Saves that prune, one that replaces, a removal, the end."""
    story.begin()
    for step in range(1, 9):
        story.save(step, keep=(2,))
    story.save(8, version=1, keep=(2,))
    story.save(9, keep=(2,))
    remove_folder(story.run / "checkpoints" / "00000002")
    story.save(10)
    story.finish()


def run_killed_at(story: Story, operation: int) -> None:
    """Dies in the middle of replacing a checkpoint, and goes on in another process."""
    story.begin()
    story.save(1)
    story.save(2)
    story.recorder.die_at = len(story.recorder.log) + operation
    try:
        story.save(2, version=1)
        story.save(3)
    except Killed:
        pass
    story.recorder.die_at = None
    story.resume()
    story.save(4)


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    recorder = Recorder(tmp_path / "disk")
    recorder.root.mkdir()
    recorder.install(monkeypatch)
    monkeypatch.setattr(journal_module, "open", recorder.open, raising=False)
    return Story(recorder)


def faults(story: Story, count: int, tree: Tree, place: Path, go_on: bool) -> Iterator[str]:
    """What is wrong with a disk that lost power after so many operations."""
    write_tree(tree, place)
    run, allowed = place / "run", story.allowed(count)
    loaded, broken = newest_good(run)
    yield from (f"half under a final name: {fault}" for fault in broken)
    found = None if loaded is None else (loaded.step, loaded.state["version"])
    if found not in allowed:
        yield f"newest is {found}, may be {allowed}"
    if loaded and not torch.equal(loaded.weights["w"], torch.full((3,), 100.0 * loaded.step + loaded.state["version"])):
        yield "other bytes"
    for folder in list_checkpoints(run):
        verify(folder)
        if (folder / "model.safetensors").read_bytes() not in story.known[int(folder.name)]:
            yield f"{folder.name}: other content than was saved"
    if found and None not in allowed:
        yield from (f"lost: {name}" for name, content in FILES.items() if (run / name).read_bytes() != content)
        steps = {event["step"] for event in Journal(run).read()}
        yield from (f"no events of step {save[0]}" for save in story.saves if save[3] <= count and save[0] not in steps)
    if (run / MANIFEST).exists():
        verify(run)
    elif count >= story.sealed:
        yield "lost: the finished model"
    if go_on and loaded:
        again = save_checkpoint(run, Checkpoint(loaded.step + 1, loaded.weights, {}, {"version": 0}), {})
        prune_checkpoints(run, keep=[])
        left = [path.name for path in again.parent.iterdir() if not path.name.isdigit()]
        yield from (f"left over: {name}" for name in left)


def lose_power(story: Story, seeds: int, place: Path, patch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Every prefix of what was recorded, with every choice; (prefixes, different disks) tried."""
    patch.undo()
    patch.setattr(os, "fsync", lambda handle: None)  # the disks below need not survive us
    seen: set[str] = set()
    dice = random.Random(0)
    numbers = itertools.count()
    for count in range(len(story.recorder.log) + 1):
        choices: list[Choice] = [lost, kept, zeroed, nameless] if seeds else [(lost, kept, zeroed, nameless)[count % 4]]
        choices += [drawn(dice.randrange(1 << 30)) for _ in range(seeds or 1)]
        for choose in choices:
            tree = after(story.recorder, count, choose)
            state = f"{story.allowed(count)} {tree}"
            if state in seen:
                continue
            seen.add(state)
            number = next(numbers)
            found = list(faults(story, count, tree, place / str(number), go_on=number % 10 == 0))
            assert found == [], f"after {count} operations, {choose}: {story.recorder.log[max(0, count - 3) : count]}"
    return len(story.recorder.log) + 1, len(seen)


@pytest.mark.parametrize("seeds", [0, pytest.param(30, marks=pytest.mark.slow)])
def test_power_lost_at_any_operation(story: Story, seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_run(story)
    prefixes, disks = lose_power(story, seeds, tmp_path, monkeypatch)
    assert prefixes >= 500
    assert disks >= 500


# 35: the old checkpoint is aside and the new one not yet in its place; 36: it is, but that is not synced.
OPERATIONS = [pytest.param(number, marks=[] if number in (35, 36) else pytest.mark.slow) for number in range(46)]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_and_then_power_lost(
    story: Story, operation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next process must not take for granted what the dead one did not sync."""
    run_killed_at(story, operation)
    lose_power(story, 1, tmp_path, monkeypatch)


# The model itself, by hand.


def test_what_was_not_synced_may_be_lost_and_what_was_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "disk")
    recorder.root.mkdir()
    recorder.install(monkeypatch)
    handle = os.open(recorder.root / "a", os.O_WRONLY | os.O_CREAT)
    os.write(handle, b"12")
    os.fsync(handle)
    os.write(handle, b"34")
    os.close(handle)
    os.rename(recorder.root / "a", recorder.root / "b")
    folder = os.open(recorder.root, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    os.unlink(recorder.root / "b")
    monkeypatch.undo()
    disks = [[after(recorder, count, choose) for choose in (lost, kept, zeroed)] for count in range(8)]
    assert disks[1] == [{}, {"a": b""}, {"a": b""}]
    assert disks[2] == [{}, {"a": b"12"}, {"a": b"\0\0"}]
    assert disks[3] == [{}, {"a": b"12"}, {"a": b"12"}]
    assert disks[4] == [{}, {"a": b"1234"}, {"a": b"12\0\0"}]
    assert disks[5] == [{}, {"b": b"1234"}, {"b": b"12\0\0"}]
    assert disks[6] == [{"b": b"12"}, {"b": b"1234"}, {"b": b"12\0\0"}]
    assert disks[7] == [{"b": b"12"}, {}, {}]
