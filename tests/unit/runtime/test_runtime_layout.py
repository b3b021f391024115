"""Starting a version: the launcher, the starter, counted starts, a full disk, two updaters."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.errors import Full, Locked, StoreError
from pearrt.link import Link
from pearrt.runtime import layout
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder, command, running
from pearrt.runtime.state import MAX_STARTS, RuntimeState
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
    for _ in range(2 * MAX_STARTS):
        assert start(folder, "list", "--json") == "b list --json"
    assert folder.read().starts == 0


def test_a_trial_that_does_not_load_gives_way_with_nobody_but_the_launcher_there(
    folder: RuntimeFolder,
) -> None:
    write_version(folder, B, broken=True)
    said = [start(folder, "list") for _ in range(MAX_STARTS + 1)]
    assert said[:-1] == ["ImportError: half"] * MAX_STARTS
    assert said[-1] == "a list"
    assert "did not stay up" in folder.read().failed[B]


def test_a_daemon_that_crashes_is_counted_although_it_loads(folder: RuntimeFolder) -> None:
    write_version(folder, B)
    assert [start(folder, "daemon", "run", "crash")[0] for _ in range(MAX_STARTS + 1)] == [
        "b"
    ] * MAX_STARTS + ["a"]


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


def test_on_a_full_disk_the_confirmed_version_runs(
    folder: RuntimeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Full("No space.")

    monkeypatch.setattr(layout, "write_file", full)
    assert folder.choose().runs == A
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
