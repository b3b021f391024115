"""What is measured and bounded from outside: storage and, on made-up control groups, the total of an app."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pearrt.errors import SandboxError
from pearrt.sandbox import cgroup, disk, memory, storage
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
    (folder,) = group.folders
    assert folder.parent.name == "app.slice"
    assert (folder / "memory.max").read_text() == str(256 << 20)
    assert (folder / "pids.max").read_text() == "32"
    assert group.add(1234)
    assert (folder / "cgroup.procs").read_text() == "1234"


def test_only_controls_that_exist_are_set(tree: Path) -> None:
    group = make(tree)
    assert group is not None
    assert {path.name for path in group.folders[0].iterdir()} == {"memory.max", "pids.max"}


@pytest.mark.parametrize("handed_down", ["", "cpu io", "memory", "pids cpu"])
def test_no_group_without_the_controllers(tree: Path, handed_down: str) -> None:
    (tree / "fs/user.slice/app.slice/cgroup.subtree_control").write_text(handed_down)
    assert make(tree) is None


def test_no_group_without_any_control_groups(tree: Path) -> None:
    (tree / "own").unlink()
    assert make(tree) is None


@pytest.fixture
def old_tree(tree: Path) -> Path:
    """Version 1: a hierarchy per controller, with this process in a group of its own in `memory`."""
    for folder in ("memory/jobs/7", "pids", "cpu"):
        (tree / "fs" / folder).mkdir(parents=True)
        (tree / "fs" / folder / "cgroup.procs").write_text("")
    (tree / "own").write_text("9:name=systemd:/\n4:memory:/jobs/7\n3:pids:/\n2:cpu:/\n0::/\n")
    return tree


def test_under_version_1_a_group_is_made_below_the_launchers_own_of_each_hierarchy(old_tree: Path) -> None:
    group = make(old_tree)
    assert group is not None
    assert (group.folders[0] / "memory.limit_in_bytes").read_text() == str(256 << 20)
    assert (group.folders[1] / "pids.max").read_text() == "32"
    places = [folder.parent.relative_to(old_tree / "fs").as_posix() for folder in group.folders]
    assert places == ["memory/jobs/7", "pids", "cpu"]
    assert {folder.name for folder in group.folders} == {f"{cgroup.NAME}{os.getpid()}"}


@pytest.mark.parametrize("missing", ["memory/jobs/7", "pids"])
def test_no_group_under_version_1_without_memory_and_processes(old_tree: Path, missing: str) -> None:
    (old_tree / "fs" / missing / "cgroup.procs").unlink()
    assert make(old_tree) is None


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


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bool]]:
    """Ten bytes are allowed, that many are there before the app begins: says whether each of these is too
    much when it is measured next, which takes three seconds."""
    clock, used = [100.0], [0]

    def slow(_: Path) -> int:
        clock[0] += 3.0
        return used[0]

    monkeypatch.setattr(storage.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(storage, "used_bytes", slow)

    def next_is(meter: Meter, size: int) -> bool:
        used[0] = size
        clock[0] = meter.next_check - 0.001
        assert not meter.over(), "measured before it was due"
        clock[0] = meter.next_check
        over = meter.over()
        assert meter.next_check - clock[0] >= 3.0 / storage.SHARE_OF_TIME
        return over

    def begins_with(size: int, *later: int) -> list[bool]:
        used[0] = size
        meter = Meter(Path("/data"), 10)
        return [next_is(meter, each) for each in later]

    return begins_with


def test_more_than_the_storage_is_too_much_and_measuring_takes_a_small_share_of_the_time(
    measured: Callable[..., list[bool]],
) -> None:
    assert measured(0, 0, 10, 11) == [False, False, True]


def test_an_app_that_starts_with_too_much_can_tidy_up_but_not_grow(
    measured: Callable[..., list[bool]],
) -> None:
    assert measured(15, 15, 9, 15, 16) == [False, False, False, True]


def test_what_is_written_at_once_was_not_there_before(measured: Callable[..., list[bool]]) -> None:
    """Else each start would raise the bound by as much as an app writes until it is first measured."""
    assert measured(10, 11) == [True]


def test_far_too_much_is_too_much_from_the_start(measured: Callable[..., list[bool]]) -> None:
    assert measured(UNMEASURABLE, UNMEASURABLE) == [True]


def test_a_disk_that_an_app_fills_unseen_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By files that are deleted and held open, say: in no folder, and yet there."""
    clock, free = [100.0], [10 << 30]
    monkeypatch.setattr(disk.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    meter = Meter(tmp_path, 1 << 30)
    floor = disk.DiskFloor(meter, clock[0])

    def after(left: int) -> tuple[bool, bool]:
        """Whether the app is stopped, and whether its folder is measured at once."""
        clock[0], meter.next_check, free[0] = floor.next_check, clock[0] + 1000, left
        return floor.over(), meter.next_check == clock[0]

    assert after(9 << 30) == (False, False)
    assert after((9 << 30) - 1) == (False, True)
    assert after(8 << 30) == (False, False)
    assert after(disk.LEAST_FREE_BYTES) == (False, True)
    assert after(disk.LEAST_FREE_BYTES - 1) == (True, False)


def test_a_full_disk_is_no_fault_of_an_app_that_writes_little(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [100.0]
    monkeypatch.setattr(disk.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    floor = disk.DiskFloor(Meter(tmp_path, 1 << 30), 100.0)
    clock[0] = floor.next_check
    assert not floor.over()


def test_a_folder_that_is_removed_meanwhile_is_told_at_the_start_and_no_matter_later(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    floor = disk.DiskFloor(Meter(folder, 1 << 30), 0.0)
    folder.rmdir()
    assert not floor.over()
    with pytest.raises(SandboxError, match="gone") as caught:
        disk.DiskFloor(Meter(folder, 1 << 30), 0.0)
    assert "uninstalled" in caught.value.hint


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Made-up processes: 10 started 11 and 12, 12 started 13; 20 is another's. 100 pages each, 60 of them
    shared."""
    parents = {1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1}
    for pid, parent in parents.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b (c) S {parent} 1 1 0")
        (tmp_path / str(pid) / "statm").write_text("900 100 60 1 0 1 0\n")
        (tmp_path / str(pid) / "smaps_rollup").write_text("Rss: 9999 kB\nPss_Anon:  40 kB\nPss_Shmem: 2 kB\n")
    (tmp_path / "14").mkdir()  # gone since it was listed
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def test_a_family_is_all_that_one_process_started(proc: Path) -> None:
    assert sorted(memory.family(10, proc)) == [10, 11, 12, 13]
    assert memory.family(99, proc) == [99]


def test_a_process_name_cannot_forge_its_parent(proc: Path) -> None:
    (proc / "20" / "stat").write_text("20 (x) S 10 1) R 1 1 1 0")
    assert 20 not in memory.family(10, proc)


def test_memory_is_what_lies_in_all_processes_shared_parts_once(proc: Path) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    assert memory.at_most_bytes([10, 11, 99], proc) == 200 * page
    assert memory.taken_bytes([10, 11, 99], proc) == 2 * 42 * 1024
    (proc / "10" / "smaps_rollup").write_text("Pss_Anon: rubbish")
    assert memory.taken_bytes([10], proc) == 100 * page


def test_memory_is_looked_at_sooner_the_less_room_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, used = [100.0], [0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(memory, "family", lambda _: [1])
    monkeypatch.setattr(memory, "at_most_bytes", lambda _: used[0])
    monkeypatch.setattr(memory, "taken_bytes", lambda _: used[0])
    meter = memory.MemoryMeter(1, 2 << 30, clock[0])
    pauses = []
    for taken in (0, 1 << 30, (2 << 30) - 1):
        used[0], clock[0] = taken, meter.next_check
        assert not meter.over()
        pauses.append(meter.next_check - clock[0])
    assert pauses == pytest.approx([0.5, 0.25, memory.LEAST_PAUSE_S])
    used[0], clock[0] = (2 << 30) + 1, meter.next_check
    assert meter.over()
