"""The clipboard: by stand-ins for the desktop's programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pearrt.app import clipboard
from pearrt.errors import LimitExceeded, PeerTimeout, Unsupported, UserError


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return folder


def tool(tools: Path, name: str, script: str) -> None:
    (tools / name).write_text(f"#!/bin/sh\n{script}\n")
    (tools / name).chmod(0o755)


def test_what_is_written_is_read_again(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = tmp_path / "board"
    tool(tools, "xsel", f"[ $2 = --input ] && cat > {board} || cat {board}")
    clipboard.write("über\n\ttext")
    assert clipboard.read() == "über\n\ttext"
    tool(tools, "wl-copy", f"cat > {board}.wayland")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    clipboard.write("there")
    assert Path(f"{board}.wayland").read_text() == "there"


def test_without_a_desktop_or_its_program_it_says_so(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(Unsupported, match="no clipboard"):
        clipboard.write("a")
    tool(tools, "xclip", "exit 1")
    with pytest.raises(Unsupported, match="ended with 1"):
        clipboard.read()
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(Unsupported, match="no clipboard"):
        clipboard.read()


@pytest.mark.parametrize("text", ["a\x1b[201~rm -rf ~\n", "a\rb", "\0", "\u202eevil", "\x7f", "\ud800"])
def test_nothing_that_a_terminal_would_obey_is_put_on_it(text: str) -> None:
    with pytest.raises(UserError):
        clipboard.checked_text(text)


def test_too_much_is_refused_both_ways_and_what_is_no_text_too(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clipboard.checked_text("a" * clipboard.MAX_BYTES)
    with pytest.raises(LimitExceeded):
        clipboard.checked_text("ä" * (clipboard.MAX_BYTES // 2 + 1))
    tool(tools, "xclip", "exec cat /dev/zero")
    with pytest.raises(LimitExceeded):
        clipboard.read()
    tool(tools, "xclip", r"printf '\377\376'")
    with pytest.raises(Unsupported, match="no text"):
        clipboard.read()
    tool(tools, "xclip", "exec sleep 60")
    monkeypatch.setattr(clipboard, "WAIT_S", 0.2)
    with pytest.raises(PeerTimeout):
        clipboard.read()
