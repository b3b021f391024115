"""Starting a version: the launcher, the starter, counted starts, a full disk, two updaters."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pearrt.errors import Full, Locked, StoreError
from pearrt.link import Link
from pearrt.runtime import layout
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder, command, running
from pearrt.runtime.starts import MAX_CRASHES
from pearrt.runtime.state import RuntimeState
from tests.support.runtime_started import start, write_version

LINK = str(Link(b"r" * 32))
A, B = "a" * 64, "b" * 64


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    """A home in which A is confirmed and B is on trial."""
    made = RuntimeFolder(tmp_path)
    made.edit(lambda _: states.install(RuntimeState(), LINK, A, "A"))
    write_version(made, A)
    made.edit(lambda state: states.begin(state, B, "B"))
    return made


def test_the_launcher_starts_the_version_on_trial_and_a_good_start_is_not_counted(
    folder: RuntimeFolder,
) -> None:
    write_version(folder, B)
    for _ in range(2 * MAX_CRASHES):
        assert start(folder, "list", "--json") == "b list --json"
    assert not list(folder.starts.glob("*"))


def test_a_trial_that_does_not_load_gives_way_with_nobody_but_the_launcher_there(
    folder: RuntimeFolder,
) -> None:
    write_version(folder, B, broken=True)
    said = [start(folder, "list") for _ in range(MAX_CRASHES + 1)]
    assert said[:-1] == ["ImportError: half"] * MAX_CRASHES
    assert said[-1] == "a list"
    assert "did not stay up" in folder.read().failed[B]


def test_a_daemon_that_crashes_is_counted_although_it_loads(folder: RuntimeFolder) -> None:
    write_version(folder, B)
    assert [start(folder, "daemon", "run", "crash")[0] for _ in range(MAX_CRASHES + 1)] == [
        "b"
    ] * MAX_CRASHES + ["a"]


def test_a_trial_answers_for_what_it_tells_and_not_for_the_machine(folder: RuntimeFolder) -> None:
    write_version(folder, B)
    for _ in range(2 * MAX_CRASHES):
        for end in ("full", "exit75", "exit0", "SIGINT"):
            assert start(folder, "daemon", "run", end)[0] == "b", end
    assert not list(folder.starts.iterdir())
    said = [start(folder, "daemon", "run", "exit5")[0] for _ in range(MAX_CRASHES + 1)]
    assert said == ["b"] * MAX_CRASHES + ["a"]
    assert "exit code 5" in folder.read().failed[B]


def test_without_its_confirmed_tree_the_launcher_starts_the_previous_one(folder: RuntimeFolder) -> None:
    write_version(folder, B)
    folder.edit(lambda state: states.confirm(state, B))
    folder.tree(B).rename(folder.data / "gone")
    assert start(folder, "x") == "a x"


def test_the_launcher_says_what_is_missing(tmp_path: Path) -> None:
    assert "bootstrapper" in start(RuntimeFolder(tmp_path))


def test_a_version_is_isolated_and_its_tree_is_never_written_to(folder: RuntimeFolder) -> None:
    line = command(folder.data, A, ["list"])
    assert line[1:3] == ["-I", "-S"]
    assert f"pycache_prefix={folder.bytecode(A)}" in line
    start(folder, "list")
    assert not list(folder.tree(A).rglob("__pycache__"))
    (folder.tree(A) / "pearrt" / "__pycache__").mkdir()
    assert "-B" in command(folder.data, A, [])


def test_pip_brought_this_one(tmp_path: Path) -> None:
    assert running(tmp_path) == ""


def test_any_number_may_start_at_once_and_those_that_died_count(folder: RuntimeFolder) -> None:
    write_version(folder, B)
    line = command(folder.data, B, ["daemon", "run", "stays"])
    environ = {name: text for name, text in os.environ.items() if name != "PEARRT_HOME"}
    running = [
        subprocess.Popen(line, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(MAX_CRASHES + 1)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == b"b daemon run stays\n"
    assert start(folder, "list") == "b list"
    running.pop().communicate(b"")  # a good end
    for died, process in enumerate(running):
        assert start(folder, "list") == "b list", f"{died} died"
        process.kill()
        process.communicate()
    assert start(folder, "list") == "a list"
    assert "without a word" in folder.read().failed[B]


def test_a_daemon_on_trial_that_cannot_be_counted_gives_way_for_this_time(folder: RuntimeFolder) -> None:
    write_version(folder, B)
    folder.starts.write_text("")  # as on a full disk, there is no folder to write to
    assert start(folder, "daemon", "run") == "a daemon run"
    assert start(folder, "list") == "b list"
    folder.starts.unlink()
    assert start(folder, "daemon", "run") == "b daemon run"


def test_on_a_full_disk_the_state_stays_as_it_was(
    folder: RuntimeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Full("No space.")

    monkeypatch.setattr(layout, "write_file", full)
    with pytest.raises(Full):
        folder.edit(lambda state: states.confirm(state, B))
    assert folder.read().trial == B


def test_of_two_updaters_one_works(folder: RuntimeFolder) -> None:
    with folder.updating(), pytest.raises(Locked), RuntimeFolder(folder.data).updating():
        pass
    with folder.updating():
        pass


def test_an_edit_waits_for_another_and_raises_locked_in_the_end(
    folder: RuntimeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "EDIT_TIMEOUT_S", 0.05)

    def nested(state: RuntimeState) -> RuntimeState:
        return RuntimeFolder(folder.data).edit(lambda inner: inner)

    with pytest.raises(Locked):
        folder.edit(nested)


def test_a_home_that_cannot_be_written_to_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "runtime").write_text("a file is in the way")
    with pytest.raises(StoreError, match="runtime"):
        RuntimeFolder(tmp_path).edit(lambda state: state)
