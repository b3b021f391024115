"""Which file the person chooses for an app: by the desktop's dialog where there is one, else on the terminal.

What an app had a hand in (its purpose, a name it suggests) was made one line of printable text before
(`daemon/app_calls.py`), and is never an option of a program nor a path: of a suggested name only its last
part is used, without leading dots.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from pearrt.errors import Denied, Unsupported

READ, SAVE = "read", "save"
MODES = (READ, SAVE)
MAX_PATH_BYTES = 4096
CHOOSE_S = 300.0
NONE_CHOSEN = "The person chose no file."


def choose(app_name: str, purpose: str, mode: str, name: str) -> str:
    """The absolute path that the person chose. Raises Denied where they chose none or cannot be asked."""
    name = _plain(name) if mode == SAVE else ""  # what a dialog has chosen already is chosen by a habit
    title = f"{app_name} asks to {'save' if mode == SAVE else 'open'} a file: {purpose}"
    command = _dialog(title, mode, name)
    path = _shown(command) if command is not None else _asked(title, mode, name)
    if not path:
        raise Denied(NONE_CHOSEN)
    return os.path.abspath(os.path.expanduser(path))


def _plain(name: str) -> str:
    return name.rpartition("/")[2].lstrip(".- ")[:100]


def _dialog(title: str, mode: str, name: str) -> list[str] | None:
    """The desktop's dialog as a command; None where there is no desktop or no program for it."""
    if not (os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")):
        return None
    start = os.path.join(os.path.expanduser("~"), name)
    if zenity := shutil.which("zenity"):
        save = ["--save", "--confirm-overwrite"] if mode == SAVE else []
        return [zenity, "--file-selection", f"--title={title}", f"--filename={start}", *save]
    if kdialog := shutil.which("kdialog"):
        ask = "--getsavefilename" if mode == SAVE else "--getopenfilename"
        return [kdialog, "--title", title, ask, start]
    return None


def _shown(command: list[str]) -> str:
    """What the dialog says; "" where the person closed it."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHOOSE_S,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    except OSError as e:
        raise Unsupported(f"{command[0]} does not start: {e.strerror}.") from e
    no_display = ended.returncode == 1 and b"display" in ended.stderr.lower()  # GTK and Qt; else: closed
    if no_display or ended.returncode not in (0, 1):
        raise Unsupported(
            f"The desktop showed no dialog: {os.path.basename(command[0])} ended with {ended.returncode}.",
            hint="Unset DISPLAY and WAYLAND_DISPLAY to be asked on the terminal.",
        )
    return (
        os.fsdecode(ended.stdout[: MAX_PATH_BYTES + 1].removesuffix(b"\n")) if ended.returncode == 0 else ""
    )


def _asked(title: str, mode: str, name: str) -> str:
    from pearrt.app.terminal import ask, ask_line

    suggested = f" ({name})" if name else ""
    path = ask_line(f"{title}. Which one{suggested}? Its path, or nothing for none:", timeout_s=CHOOSE_S)
    there = os.path.abspath(os.path.expanduser(path))
    if (
        path
        and mode == SAVE
        and os.path.lexists(there)
        and not ask("It is there. Replace it?", timeout_s=CHOOSE_S)
    ):
        return ""
    return path
