"""The person's clipboard, by the program that their desktop has for it. Text only.

Rules: what is written was checked before (`checked_text`); what is read is bounded while it is read, and text
or an error. A program that stays to serve the clipboard is let go on; one that hangs is ended.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time

from pearrt.errors import LimitExceeded, PeerTimeout, Unsupported, UserError

MAX_BYTES = 1 << 20
WAIT_S = 10.0
_PLAIN = frozenset("\n\t")


def checked_text(text: str) -> str:
    """Text as it may be put on a clipboard: nothing but printable characters, newlines and tabs, so that a
    terminal that it is pasted into gets no escapes. Raises UserError, LimitExceeded over MAX_BYTES."""
    if not all(letter.isprintable() or letter in _PLAIN for letter in text):
        raise UserError("The clipboard takes printable text, newlines and tabs only.")
    if len(text.encode()) > MAX_BYTES:
        raise LimitExceeded(f"The clipboard takes at most {MAX_BYTES} bytes.")
    return text


def write(text: str) -> None:
    """Puts text on the clipboard. Raises Unsupported where the desktop has none."""
    command = _program(writing=True)
    process = _start(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        process.communicate(text.encode(), timeout=WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    _check(command, process)


def read() -> str:
    """The text on the clipboard. Raises Unsupported where there is none, LimitExceeded for too much."""
    command = _program(writing=False)
    process = _start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        data = _bounded(process)
        process.wait(WAIT_S)
    except subprocess.TimeoutExpired as e:
        raise PeerTimeout("The clipboard did not answer in time.") from e
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    _check(command, process)
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise Unsupported("There is no text on the clipboard.") from e


def _bounded(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    data, deadline = bytearray(), time.monotonic() + WAIT_S
    while select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(process.stdout.fileno(), 65536)
        if not part:
            return bytes(data)
        data += part
        if len(data) > MAX_BYTES:
            raise LimitExceeded(f"There are more than {MAX_BYTES} bytes on the clipboard.")
    raise PeerTimeout("The clipboard did not answer in time.")


def _program(*, writing: bool) -> list[str]:
    """The command of the first program that fits the desktop. Raises Unsupported."""
    known: list[tuple[bool, list[str], list[str]]] = [
        (sys.platform == "darwin", ["pbcopy"], ["pbpaste"]),
        (
            bool(os.environ.get("WAYLAND_DISPLAY")),
            ["wl-copy", "--type", "text/plain;charset=utf-8"],
            ["wl-paste", "--no-newline", "--type", "text"],
        ),
        (
            bool(os.environ.get("DISPLAY")),
            ["xclip", "-selection", "clipboard", "-in"],
            ["xclip", "-selection", "clipboard", "-out"],
        ),
        (
            bool(os.environ.get("DISPLAY")),
            ["xsel", "--clipboard", "--input"],
            ["xsel", "--clipboard", "--output"],
        ),
    ]
    for fits, copy, paste in known:
        command = copy if writing else paste
        if fits and (program := shutil.which(command[0])):
            return [program, *command[1:]]
    raise Unsupported(
        "There is no clipboard here.",
        hint="On a desktop, install wl-clipboard (Wayland), or xclip or xsel (X11).",
    )


def _start(command: list[str], *, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as e:
        raise Unsupported(f"{command[0]} does not start: {e.strerror}.") from e


def _check(command: list[str], process: subprocess.Popen[bytes]) -> None:
    if process.returncode != 0:
        raise Unsupported(
            f"The clipboard gave nothing: {os.path.basename(command[0])} ended with {process.returncode}."
        )
