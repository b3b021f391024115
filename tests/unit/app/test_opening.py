"""What of a person's choice is opened for an app, and what never is."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from pearrt.app import opening, picker
from pearrt.errors import Denied, PearrtError, StoreError, UserError
from tests.support.require import require

pytestmark = pytest.mark.sandbox


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    require("bwrap")


def test_what_is_opened_for_reading_can_be_read_and_neither_written_nor_changed(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("dear")
    fd = opening.open_chosen(str(path), "read")
    try:
        assert os.read(fd, 10) == b"dear"
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_NONBLOCK) == os.O_RDONLY
        for attempt in (
            lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR),
            lambda: os.fchmod(fd, 0o777),
            lambda: os.utime(fd, (0, 0)),
            lambda: os.fchown(fd, 1, 1),
            lambda: os.setxattr(fd, "user.a", b"b"),
            lambda: os.truncate(f"/proc/self/fd/{fd}", 0),
        ):
            with pytest.raises(OSError) as refused:
                attempt()
            assert refused.value.errno == errno.EROFS
    finally:
        os.close(fd)
    assert path.read_text() == "dear"


def test_what_is_saved_is_written_to_only_and_emptied_first(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    path.write_text("something older and longer")
    fd = opening.open_chosen(str(path), "save")
    os.write(fd, b"new")
    with pytest.raises(OSError):
        os.read(fd, 1)
    os.close(fd)
    assert path.read_text() == "new"
    os.close(opening.open_chosen(str(tmp_path / "not there yet"), "save"))
    assert stat.S_IMODE((tmp_path / "not there yet").stat().st_mode) & 0o111 == 0


@pytest.mark.parametrize("mode", picker.MODES)
def test_no_link_folder_pipe_socket_or_device_is_opened_and_none_is_waited_for(
    tmp_path: Path, mode: str
) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "made")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("link", "dangling", "folder", "pipe", "socket"):
            with pytest.raises((UserError, Denied)):
                opening.open_chosen(str(tmp_path / name), mode)
    for path in ("/dev/null", "/dev/tty", "/dev/zero"):
        with pytest.raises(Denied):
            opening.open_chosen(path, mode)
    assert target.read_text() == "kept"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("mode", picker.MODES)
def test_nothing_of_the_machine_or_of_pearrt_is_opened_by_whatever_way(tmp_path: Path, mode: str) -> None:
    kept = tmp_path / "home"
    kept.mkdir()
    (kept / "identity").write_text("secret")
    (tmp_path / "way").symlink_to(kept)
    (tmp_path / "machine").symlink_to("/proc/self")
    for path in (
        kept / "identity",
        tmp_path / "way" / "identity",
        f"{tmp_path}/x/../home/identity",
        "/proc/self/environ",
        "/proc/self/mem",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        tmp_path / "machine" / "environ",
        f"/../proc/{os.getpid()}/environ",
    ):
        with pytest.raises(Denied):
            opening.open_chosen(str(path), mode, kept=[kept])
    assert (kept / "identity").read_text() == "secret"


@pytest.mark.parametrize("path", ["relative", "", "/a\0b", "/" + "a" * 5000])
def test_what_is_no_path_is_an_error(path: str) -> None:
    with pytest.raises(UserError):
        opening.open_chosen(path, "read")


@pytest.mark.parametrize("mode", picker.MODES)
def test_what_cannot_be_opened_is_an_error(tmp_path: Path, mode: str) -> None:
    with pytest.raises(StoreError):
        opening.open_chosen(str(tmp_path / "nowhere" / "file"), mode)


@pytest.mark.parametrize("mode", picker.MODES)
def test_a_folder_that_is_exchanged_for_a_link_on_the_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("other")
    check = opening._check_place

    def exchanged(*judged: Any) -> None:
        check(*judged)
        if not (tmp_path / "gone").exists():
            (tmp_path / "mine").rename(tmp_path / "gone")
            (tmp_path / "mine").symlink_to(tmp_path / "other")

    monkeypatch.setattr(opening, "_check_place", exchanged)
    with pytest.raises(Denied, match="exchanged"):
        opening.open_chosen(str(tmp_path / "mine" / "file"), mode)
    assert (tmp_path / "other" / "file").read_text() == "other"


def dialog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A desktop whose dialog is this shell script."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "zenity").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n{script}\n')
    (tools / "zenity").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":9")
    return tmp_path / "asked"


def test_the_desktops_dialog_chooses_and_no_word_of_the_app_is_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = dialog(tmp_path, monkeypatch, 'echo "/home/a file.txt"')
    assert picker.choose("app", "--help", "save", "../../.--x/../.bashrc") == "/home/a file.txt"
    options = asked.read_text().splitlines()
    assert options[:2] == ["--file-selection", "--title=app asks to save a file: --help"]
    assert options[2:] == [f"--filename={Path.home()}/bashrc", "--save", "--confirm-overwrite"]


def test_a_closed_dialog_and_one_that_does_not_start_give_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(Denied, match="no file"):
        picker.choose("app", "why", "read", "")
    for script in ("exit 255", "echo cannot open display: :9 >&2; exit 1"):
        (tmp_path / "bin" / "zenity").write_text(f"#!/bin/sh\n{script}\n")
        with pytest.raises(PearrtError, match="no dialog"):
            picker.choose("app", "why", "read", "")
