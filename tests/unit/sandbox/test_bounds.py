"""What is measured and bounded from outside: storage and, on made-up control groups, the total of an app."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pearrt.sandbox import cgroup, storage
from pearrt.sandbox.cgroup import Group
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.storage import UNMEASURABLE, Meter, used_bytes

BOUNDS = Permissions.parse({"memory": "256 MiB", "processes": 32, "cpu": 2})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A control group tree that hands memory and pids down to `app.slice`, where this process runs in
    `own.scope`.
    """
    own = tmp_path / "fs" / "user.slice" / "app.slice" / "own.scope"
    own.mkdir(parents=True)
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (own.parent / "cgroup.procs").write_text("")
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/user.slice/app.slice/own.scope\n")
    return tmp_path


def make(tree: Path) -> Group | None:
    return Group.make(BOUNDS, mount=tree / "fs", own=tree / "own")


def test_a_group_is_made_beside_the_launchers_own_with_its_bounds(tree: Path) -> None:
    group = make(tree)
    assert group is not None
    assert group.folder.parent.name == "app.slice"
    assert (group.folder / "memory.max").read_text() == str(256 << 20)
    assert (group.folder / "pids.max").read_text() == "32"
    assert group.add(1234)
    assert (group.folder / "cgroup.procs").read_text() == "1234"


def test_only_controls_that_exist_are_set(tree: Path) -> None:
    group = make(tree)
    assert group is not None
    assert {path.name for path in group.folder.iterdir()} == {"memory.max", "pids.max"}


@pytest.mark.parametrize("handed_down", ["", "cpu io", "memory", "pids cpu"])
def test_no_group_without_the_controllers(tree: Path, handed_down: str) -> None:
    (tree / "fs/user.slice/app.slice/cgroup.subtree_control").write_text(handed_down)
    assert make(tree) is None


def test_no_group_under_version_1_or_without_any(tree: Path) -> None:
    (tree / "own").write_text("4:memory:/x\n3:pids:/x\n")
    assert make(tree) is None
    (tree / "own").unlink()
    assert make(tree) is None


def test_what_a_killed_launcher_left_behind_is_removed(tree: Path) -> None:
    parent = tree / "fs/user.slice/app.slice"
    left, running = parent / f"{cgroup.NAME}{2**22 + 7}", parent / f"{cgroup.NAME}{os.getppid()}"
    left.mkdir()
    running.mkdir()
    assert make(tree) is not None
    assert not left.exists()
    assert running.exists()


def test_storage_is_what_lies_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(os.urandom(100_000))
    with open(tmp_path / "a" / "b" / "sparse", "wb") as sparse:
        sparse.truncate(1 << 40)
    assert 100_000 <= used_bytes(tmp_path) < 200_000


def test_measuring_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/usr")
    (tmp_path / "loop").symlink_to(".")
    assert used_bytes(tmp_path) < 100_000


def test_too_many_files_count_as_too_much(tmp_path: Path) -> None:
    for name in range(20):
        (tmp_path / str(name)).touch()
    assert used_bytes(tmp_path, max_entries=19) == UNMEASURABLE
    assert used_bytes(tmp_path, max_entries=20) < UNMEASURABLE


def test_a_folder_that_vanishes_is_not_an_error(tmp_path: Path) -> None:
    assert used_bytes(tmp_path / "gone") == 0


def test_measuring_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]

    def slow(_: Path) -> int:
        clock[0] += 3.0
        return 11

    monkeypatch.setattr(storage.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(storage, "used_bytes", slow)
    meter = Meter(tmp_path, 10, clock[0])
    assert not meter.over()  # not before the first check is due
    clock[0] = meter.next_check
    assert meter.over()
    assert meter.next_check - clock[0] >= 3.0 / storage.SHARE_OF_TIME
