"""What an app tries with its terminal against the person, their shell and its own supervisor."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support import sandboxed
from tests.support.require import missing, require
from tests.support.shell_at_terminal import PROMPT, shell

pytestmark = [pytest.mark.sandbox, pytest.mark.alone]

# A shell with job control, on the terminal that is its standard input; the job is its arguments. When the job
# stops, it looks whether the app's heart still beats, and lets the job go on.
SHELL = """
import fcntl, os, signal, sys, time
data, *job = sys.argv[1:]
def beat():
    try: return open(data + "/heart").read()
    except FileNotFoundError: return ""
stops = (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP)
for number in stops: signal.signal(number, signal.SIG_IGN)
flags = fcntl.fcntl(1, fcntl.F_GETFL)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    for number in stops: signal.signal(number, signal.SIG_DFL)
    os.execvp(job[0], job)
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status): break
    before = beat(); time.sleep(0.5)
    print("stopped, and the app", "goes on" if beat() != before else "stands still", flush=True)
    os.tcsetpgrp(0, pid); os.killpg(pid, signal.SIGCONT)
print("ended", os.waitstatus_to_exitcode(status), fcntl.fcntl(1, fcntl.F_GETFL) == flags, flush=True)
"""
HEART = """
def live(seconds):
    for n in range(int(seconds * 20)):
        open("/data/heart", "w").write(str(n)); time.sleep(0.05)
"""


@pytest.fixture(params=sandboxed.available_modes())
def app(request: pytest.FixtureRequest) -> Iterator[sandboxed.AppFolder]:
    require("bwrap", "setpriv")
    if request.param == "user" and not sandboxed.user_interpreter():
        missing("needs a Python that a plain user can start")
    with sandboxed.AppFolder({}, request.param) as folder:
        yield folder


def _in_a_shell(app: sandboxed.AppFolder, source: str, typed: bytes = b"", *, after: bytes = b"") -> str:
    """What stands on the terminal in the end; `typed` is, once `after` stands there."""
    import pty

    (app.app / "main.py").write_text("import os, signal, sys, termios, time\n" + HEART + source)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(app.environ())
        os.execv(sys.executable, [sys.executable, "-c", SHELL, str(app.data), *app.command()])
    said, deadline = b"", time.monotonic() + 30
    try:
        while not re.search(rb"ended -?[0-9]+ [A-Z]", said):
            assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], said
            said += os.read(terminal, 4096)
            if typed and after in said:
                os.write(terminal, typed)
                typed = b""
    finally:
        if sys.exc_info()[0] is not None:
            os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    return said.decode()


def test_an_app_that_ignores_a_stop_does_not_outrun_its_supervisor(app: sandboxed.AppFolder) -> None:
    said = _in_a_shell(
        app,
        "signal.signal(signal.SIGTSTP, signal.SIG_IGN)\nprint('up', flush=True)\nlive(2)\nprint('done')\n",
        b"\x1a",
        after=b"up",
    )
    assert "stopped, and the app stands still" in said
    assert "goes on" not in said
    assert "done" in said
    assert "ended 0" in said


def test_an_app_cannot_stop_its_supervisor_by_reading_from_the_background(app: sandboxed.AppFolder) -> None:
    """It makes itself the background of its own terminal; the kernel stops its group for reading, not the
    child that goes on."""
    said = _in_a_shell(
        app,
        "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "terminal = os.open('/dev/tty', os.O_RDWR)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.setpgid(0, 0)\n"
        "    for number in (signal.SIGTTIN, signal.SIGTSTP): signal.signal(number, signal.SIG_IGN)\n"
        "    live(1.5); os._exit(0)\n"
        "time.sleep(0.2)\n"
        "os.tcsetpgrp(terminal, child)\n"
        "reader = os.fork()\n"
        "if reader == 0:\n"
        "    signal.signal(signal.SIGCONT, lambda *_: os._exit(0))\n"  # once is enough
        "    os.read(terminal, 1); os._exit(0)\n"
        "os.waitpid(child, 0)\n",
    )
    assert "stopped, and the app stands still" in said
    assert "goes on" not in said
    assert "ended 0" in said


def test_a_terminal_whose_output_was_halted_speaks_again(app: sandboxed.AppFolder) -> None:
    said = _in_a_shell(app, "termios.tcflow(0, termios.TCOOFF)\n")
    assert "ended 0 True" in said


def test_descriptors_that_the_shell_shares_block_again(app: sandboxed.AppFolder) -> None:
    said = _in_a_shell(app, "os.set_blocking(0, False)\nos.set_blocking(1, False)\n")
    assert "ended 0 True" in said


ASK = """
import os, signal, sys
from pearrt.app.terminal import ask
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.write(1, sys.argv[1].encode("latin-1"))
print("\\r\\nanswer", ask("reader asks to read the text on your clipboard. Allow it?", timeout_s=5))
"""
TRICKS = {
    "half a string": "\x1bPq",
    "half a title": "\x1b]0;",
    "hidden letters": "Save? [y/N] \x1b[8m",
    "another set of letters": "\x0e\x1b(0",
    "black on black": "\x1b[30;40m\x1b]10;#000\x1b\\\x1b]11;#000\x1b\\",
    "one line to scroll": "\x1b[1;1r\x1b[H",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_question_is_seen_whatever_the_app_left_on_the_terminal(trick: str) -> None:
    """In a real terminal, tmux's; what it shows is what the person sees, colours and all."""
    if (tmux := shutil.which("tmux")) is None:
        pytest.skip("not applicable here: no tmux")
    server = [tmux, "-L", f"pearrt-{os.getpid()}-{list(TRICKS).index(trick)}", "-f", "/dev/null"]
    command = [*server, "new-session", "-d", "-x", "100", "-y", "20", "env"]
    command += [f"PYTHONPATH={sandboxed.ROOT}", sys.executable, "-c", ASK, TRICKS[trick]]
    subprocess.run(command, check=True, env={**os.environ, "TERM": "xterm"})
    try:
        deadline, shown = time.monotonic() + 20, ""
        while "Allow it? [y/N]" not in shown:
            assert time.monotonic() < deadline, shown
            shown = subprocess.run(
                [*server, "capture-pane", "-p", "-e"], capture_output=True, text=True, check=False
            ).stdout
            time.sleep(0.05)
    finally:
        subprocess.run([*server, "kill-server"], check=False, capture_output=True)
    line = next(line for line in shown.splitlines() if "Allow it?" in line)
    assert line.removeprefix("\x1b[39m\x1b[49m").removeprefix("\x1b[0m").startswith("reader asks to read"), (
        line
    )


# A child that leaves the session reads standard input; what it got is in a file.
EAVESDROP = """
import os, select, sys, time
if os.fork() == 0:
    os.setsid()
    while not os.path.exists(sys.argv[1] + "/go"):
        time.sleep(0.02)
    got = b"" if not select.select([0], [], [], 1.5)[0] else os.read(0, 100)
    with open(sys.argv[1] + "/got", "wb") as file:
        file.write(got)
    os._exit(0)
os.write(1, b"listening\\n")
os.wait()
os.write(1, b"done\\n")
"""


@pytest.mark.parametrize("how", ["app &", "app, then bg"])
@pytest.mark.parametrize("where", ["outside", "inside"])
def test_an_app_in_the_background_does_not_read_what_is_typed(
    app: sandboxed.AppFolder, where: str, how: str
) -> None:
    """It leaves the person's session and reads: the kernel lets any program do that."""
    (app.app / "main.py").write_text(EAVESDROP)
    command = "app" if where == "inside" else f"{sys.executable} {app.app}/main.py {app.data}"
    require("bash")
    with shell(app, app={"argv": ["/data"]}) as person:
        if how == "app &":
            person.type(f"{command} &\n")
            person.until("listening")
        else:
            person.type(f"{command}\n")
            person.until("listening")
            person.type("\x1a")
            person.until("Stopped")
            person.until(PROMPT)
            person.type("bg\n")
            person.until("&")
        person.type("cat >/dev/null\n")  # another program's, and theirs what is typed
        (app.data / "go").touch()
        deadline = time.monotonic() + 5
        while not (app.data / "got").exists() and time.monotonic() < deadline:
            person.type("password\n")
            person.quiet_for(0.05)
        person.until("done")
        got = (app.data / "got").read_bytes()
    assert (b"password" in got or b"cat" in got) == (where == "outside"), got


def test_the_apps_session_is_not_the_persons(app: sandboxed.AppFolder) -> None:
    """Nor is its terminal, and it does not get at theirs by any name or number."""
    (app.app / "main.py").write_text(
        "import fcntl, os, sys, termios\n"
        "terminal = os.open('/dev/tty', os.O_RDWR)\n"
        "print(*(os.fstat(fd).st_rdev for fd in (0, 1, 2)))\n"
        "print('sid', os.getsid(0), 'group', os.tcgetpgrp(terminal) == os.getpgrp() == os.getpid())\n"
        "print('pts', [name for name in os.listdir('/dev/pts') if name != 'ptmx'])\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    try: fcntl.ioctl(terminal, termios.TIOCSCTTY, 1); print('stolen')\n"
        "    except OSError as e: print('kept', e.errno)\n"
        "    try: fcntl.ioctl(0, termios.TIOCSTI, b'x'); print('typed')\n"
        "    except OSError as e: print('not typed', e.errno, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    require("bash")
    with shell(app) as person:
        said = person.do("app")
        theirs = _device_of(person.fd)
    devices, *rest = said.splitlines()
    assert len(set(devices.split())) == 1
    assert theirs != int(devices.split()[0])
    assert rest[:2] == ["sid 0 group True", "pts []"]
    assert "kept 1" in said
    assert "not typed 1" in said


HANDS_ON = """
import contextlib, runpy, sys
from pearrt.sandbox.process import Sandbox
Sandbox._terminal = lambda self: contextlib.nullcontext()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_launcher_that_hands_the_persons_terminal_on_starts_nothing(app: sandboxed.AppFolder) -> None:
    """The shim looks for itself, whatever was meant to be done outside."""
    import pty

    (app.app / "main.py").write_text("print('ran')")
    (app.runtime.parent / "launcher.py").write_text(HANDS_ON)
    (app.runtime.parent / "launcher.py").chmod(0o644)
    command = app.command()
    at = command.index("-B") + 1
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(app.environ())
        os.execvp(command[0], [*command[:at], str(app.runtime.parent / "launcher.py"), *command[at:]])
    said = b""
    while b"could not be set up" not in said:
        assert select.select([terminal], [], [], 20)[0], said
        said += os.read(terminal, 4096)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert b"a terminal leads out" in said
    assert b"ran" not in said


def _device_of(terminal: int) -> int:
    """Of the slave, from its master (TIOCGPTN)."""
    import fcntl

    number = int.from_bytes(fcntl.ioctl(terminal, 0x80045430, bytes(4)), sys.byteorder)
    return os.stat(f"/dev/pts/{number}").st_rdev
