"""The person's desktop, from the process that has it: `pearrt run`. Outside the sandbox, so every word that
an app had a hand in was checked before (`daemon/app_calls.py`) and none is ever an option of a program.
"""

from __future__ import annotations

import contextlib
import html
import shutil
import subprocess
import sys

from pearrt.errors import Unsupported

OPENED_AFTER_S = 3.0  # a program that opens pages and still runs by then has found a browser
NOTIFIED_AFTER_S = 10.0
SHOWN_MS = 10_000


def open_page(url: str) -> None:
    """Opens a page in the browser that the person has chosen. Raises Unsupported where there is none."""
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if program is None:
        raise Unsupported(
            "This desktop opens no pages: there is no xdg-open.", hint="Install the package xdg-utils."
        )
    process = _start([program, url])
    with contextlib.suppress(subprocess.TimeoutExpired):
        if process.wait(OPENED_AFTER_S) != 0:
            raise Unsupported(
                f"This desktop opened no page: {program} ended with {process.returncode}.",
                hint="Is there a browser, and a desktop to show it on?",
            )


def notify(app_name: str, title: str, body: str) -> None:
    """Shows a notification (freedesktop.org Desktop Notifications 1.2, by libnotify's notify-send).

    Raises Unsupported where the desktop shows none.
    """
    program = shutil.which("notify-send")
    if program is None:
        raise Unsupported(
            "This desktop shows no notifications: there is no notify-send.",
            hint="Install the package libnotify-bin.",
        )
    # The body is markup to many servers (4.2 of the specification), and notify-send undoes backslash escapes
    # in it first, `\074` for `<` among them: what an app wrote is text.
    process = _start(
        [
            program, f"--app-name={app_name}", f"--expire-time={SHOWN_MS}", "--", f"{app_name}: {title}",
            html.escape(body).replace("\\", "&#92;"),
        ]
    )  # fmt: skip
    try:
        code = process.wait(NOTIFIED_AFTER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code != 0:
        raise Unsupported(
            f"This desktop showed no notification: notify-send ended with {code}.",
            hint="Is there a notification service on the session's D-Bus?",
        )


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as e:
        raise Unsupported(f"{command[0]} does not start: {e.strerror}.") from e
