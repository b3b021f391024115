"""A confirmed version that crashes at each start gives way; kills, told errors and full disks are no
crash."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from bootstrap import program
from bootstrap.options import Options
from pearrt.errors import Full
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.runtime import layout, starts
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder
from pearrt.runtime.starts import MAX_CRASHES, MAX_FILES, WINDOW_S
from pearrt.runtime.state import RuntimeState
from tests.support.runtime_started import start, started, write_version

A, B = "a" * 64, "b" * 64
LINK = Link(b"r" * 32)
DAEMON = ("daemon", "run")


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    """A home in which B is confirmed and A is the version before it."""
    made = RuntimeFolder(tmp_path)
    made.edit(lambda _: states.install(RuntimeState(), str(LINK), A, "1.0"))
    made.edit(lambda state: states.confirm(states.begin(state, B, "1.1"), B))
    write_version(made, A)
    write_version(made, B)
    return made


def crash(folder: RuntimeFolder, times: int, digest: str = B) -> None:
    """What so many crashes leave behind."""
    for number in range(times):
        _, fd = starts._create(folder.starts, digest, str(number))
        os.write(fd, b"ValueError: %d" % number)
        os.close(fd)


@pytest.mark.parametrize(
    ("how", "said"),
    [("bug", "ValueError: no such day"), ("SIGSEGV", "Segmentation fault")],
    ids=["bug", "signal"],
)
def test_a_daemon_that_crashes_at_each_start_gives_way_and_the_person_is_told(
    folder: RuntimeFolder, how: str, said: str
) -> None:
    for _ in range(MAX_CRASHES):
        assert start(folder, *DAEMON, how).startswith("b")
    done = started(folder, *DAEMON)
    assert done.stdout.startswith("a")
    assert "1.1 gives way to 1.0" in done.stderr
    assert said in done.stderr
    state = folder.read()
    assert (state.current, state.previous) == (A, "")
    assert said in state.failed[B]
    assert start(folder, "list") == "a list"


def test_a_command_that_cannot_be_loaded_gives_way_without_any_daemon(folder: RuntimeFolder) -> None:
    for _ in range(MAX_CRASHES):
        assert start(folder, "list", "lacking") == "b list lacking"
    assert start(folder, "list") == "a list"
    assert "no_such_library" in folder.read().failed[B]


def test_one_command_that_ends_well_takes_the_failures_of_others_back(folder: RuntimeFolder) -> None:
    for _ in range(2):
        for _ in range(MAX_CRASHES - 1):
            start(folder, "list", "lacking")
        assert start(folder, "list", "exit1") == "b list exit1"
    assert not starts.crashes(folder.starts, B)


@pytest.mark.parametrize(
    "how", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL", "exit0", "exit1", "exit6", "full"], ids=str
)
def test_what_is_no_crash_is_not_counted(folder: RuntimeFolder, how: str) -> None:
    start(folder, *DAEMON, how)
    assert not starts.crashes(folder.starts, B)
    if how.startswith("exit"):
        assert not list(folder.starts.iterdir())


def test_a_machine_that_is_switched_off_again_and_again_changes_nothing(folder: RuntimeFolder) -> None:
    for number in range(10 * MAX_CRASHES):
        os.close(starts._create(folder.starts, B, str(number))[1])  # begun, and no more
    assert start(folder, "list") == "b list"
    assert len(list(folder.starts.iterdir())) <= MAX_FILES


def test_a_daemon_that_ends_without_a_word_is_counted_by_whoever_started_it(folder: RuntimeFolder) -> None:
    for code, count in ((-9, 0), (-15, 0), (127, 1), (-6, 2)):
        os.close(starts._create(folder.starts, B, "4711")[1])
        starts.saw_end(folder.starts, 4711, code)
        assert len(starts.crashes(folder.starts, B)) == count
        if not count:
            starts.forget(folder.starts, process="4711")
    assert starts.crashes(folder.starts, B)[0] == "it ended with exit code 127"


def test_a_process_number_that_comes_again_counts_for_its_last_start_only(folder: RuntimeFolder) -> None:
    for digest in (A, B, B):  # the first two were killed
        os.close(starts._create(folder.starts, digest, "4711")[1])
    starts.saw_end(folder.starts, 4711, 127)
    assert (len(starts.crashes(folder.starts, A)), len(starts.crashes(folder.starts, B))) == (0, 1)


def test_without_a_version_before_it_everything_stays_and_the_files_are_bounded(
    folder: RuntimeFolder,
) -> None:
    folder.edit(lambda state: states.reject(state, A, "1.0", "its signers have revoked it"))
    crash(folder, 2 * MAX_FILES)
    assert folder.choose().runs == B
    assert folder.read().failed.keys() == {A}
    assert len(list(folder.starts.iterdir())) <= MAX_FILES


def test_a_version_before_it_that_is_not_whole_is_not_gone_back_to(folder: RuntimeFolder) -> None:
    (folder.tree(A) / layout.STARTER).unlink()
    crash(folder, MAX_CRASHES)
    assert folder.choose().runs == B


def test_on_a_full_disk_nothing_is_switched(folder: RuntimeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise Full("No space.")

    monkeypatch.setattr(layout, "write_file", full)
    crash(folder, MAX_CRASHES)
    assert folder.choose().runs == B
    monkeypatch.undo()
    assert folder.choose().runs == A


def test_the_bootstrapper_starts_the_version_before_it_too(
    folder: RuntimeFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(program.os, "execve", lambda _, line, __: became.append(line))
    options = Options(command=("list",), runtime=LINK)
    crash(folder, MAX_CRASHES)
    program._hand_over(Home.at(folder.data), options)
    assert str(folder.tree(A)) in became[0][-3]
    assert "1.1 gives way to 1.0" in capsys.readouterr().err


def test_crashes_of_long_ago_or_of_another_version_do_not_count(folder: RuntimeFolder) -> None:
    crash(folder, MAX_CRASHES)
    for path in folder.starts.iterdir():
        os.utime(path, (time.time() - WINDOW_S - 60,) * 2)
    crash(folder, MAX_CRASHES, "c" * 64)
    assert folder.choose().runs == B


def test_a_sign_of_health_forgets_them(folder: RuntimeFolder) -> None:
    crash(folder, MAX_CRASHES)
    starts.forget(folder.starts)
    assert folder.choose().runs == B
    assert not list(folder.starts.iterdir())


def test_a_killed_starter_leaves_nothing_that_the_next_does_not_put_right(folder: RuntimeFolder) -> None:
    crash(folder, MAX_CRASHES)
    reason = folder.gives_way(folder.read())
    folder.edit(lambda state: states.give_way(state, B, reason))  # and here it was killed
    assert folder.choose().runs == A
    folder.begin(B, "1.1", retry=True)  # the person wants it once more
    assert folder.choose().runs == B


def test_a_daemon_of_another_home_says_nothing_about_this_one(folder: RuntimeFolder, tmp_path: Path) -> None:
    line = layout.command(folder.data, B, [*DAEMON, "bug"])
    environ = os.environ | {"PEARRT_HOME": str(tmp_path / "other")}
    subprocess.run(line, env=environ, capture_output=True, check=False)
    assert not starts.crashes(folder.starts, B)
