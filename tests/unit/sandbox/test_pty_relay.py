"""An app at its own terminal, seen by a person at theirs, with a real shell between them."""

from __future__ import annotations

import os
import signal
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from tests.support import sandboxed
from tests.support.require import missing, require
from tests.support.shell_at_terminal import PROMPT, Shell, cpu_s, launchers, shell

pytestmark = [pytest.mark.sandbox, pytest.mark.alone]
if sys.platform != "linux":
    pytest.skip("not applicable: the Linux sandbox", allow_module_level=True)


@pytest.fixture
def app() -> Iterator[sandboxed.AppFolder]:
    require("bwrap", "setpriv", "bash")
    mode = sandboxed.available_modes()[-1]
    if mode == "user" and not sandboxed.user_interpreter():
        missing("needs a Python that a plain user can start")
    with sandboxed.AppFolder({}, mode) as folder:
        yield folder


def write(app: sandboxed.AppFolder, source: str) -> None:
    (app.app / "main.py").write_text("import os, signal, sys, termios, time\n" + source)


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


# -- ordinary programs


def test_lines_are_read_and_edited_as_in_any_terminal(app: sandboxed.AppFolder) -> None:
    write(app, "print('got', [input('name? '), input()])\n")
    with shell(app) as person:
        person.type("app\n")
        person.until("name? ")
        person.type("wronx\x7fg\nnext\n")
        assert "got ['wrong', 'next']" in person.until(PROMPT)


def test_a_password_is_not_echoed(app: sandboxed.AppFolder) -> None:
    write(app, "import getpass\nprint('got', getpass.getpass('secret? '))\nprint(input('again? '))\n")
    with shell(app) as person:
        person.type("app\n")
        person.until("secret? ")
        person.type("hush\n")
        assert "hush" not in person.until("got ")
        person.until("again? ")
        person.type("seen\n")
        assert person.until(PROMPT).split() == ["seen", "seen"]


def test_readline_and_curses_work(app: sandboxed.AppFolder) -> None:
    write(
        app,
        "import readline, curses\n"
        "def screen(s):\n"
        "    s.addstr(3, 4, 'drawn'); s.refresh(); return s.getch(), s.getmaxyx()\n"
        "print('said', input('> '))\n"
        "print('key', *curses.wrapper(screen))\n",
    )
    with shell(app) as person:
        person.type("TERM=xterm app\n")
        person.until("> ")
        person.type("bc\x01a\n")  # to the line's beginning
        person.until("said abc")
        person.until("drawn")
        person.type("\x1bOA")
        person.until("key 259 (24, 80)")
        person.until(PROMPT)


def test_the_size_is_the_persons_and_a_change_is_told(app: sandboxed.AppFolder) -> None:
    write(
        app,
        "signal.signal(signal.SIGWINCH, lambda *_: print('now', *os.get_terminal_size(), flush=True))\n"
        "print('up', *os.get_terminal_size(), flush=True)\ninput()\n",
    )
    with shell(app) as person:
        person.type("app\n")
        person.until("up 80 24")
        termios.tcsetwinsize(person.fd, (30, 99))
        person.until("now 99 30")
        person.type("\n")
        person.until(PROMPT)


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x1c", 131)])
def test_an_interrupt_reaches_all_of_the_apps_job_once(app: sandboxed.AppFolder, key: str, code: int) -> None:
    write(
        app,
        "import subprocess\n"
        "seen = []\n"
        "for number in (signal.SIGINT, signal.SIGQUIT):\n"
        "    signal.signal(number, lambda *_: seen.append(1))\n"
        "child = subprocess.Popen(['sh', '-c', 'trap \"\" INT QUIT; trap \"echo child\" INT QUIT; "
        "echo up; while :; do :; done'])\n"
        "while not seen: time.sleep(0.02)\n"
        "time.sleep(0.3); print('seen', len(seen)); child.kill(); child.wait()\n"
        "number = signal.SIGINT if sys.argv[1:] == ['130'] else signal.SIGQUIT\n"
        "signal.signal(number, signal.SIG_DFL); os.kill(os.getpid(), number)\n",
    )
    with shell(app, key={"argv": [str(code)]}) as person:
        person.type("key; echo code $?\n")
        person.until("up")
        person.type(key)
        said = person.until("code ")
        assert "child" in said
        assert "seen 1" in said
        person.until(f"{code}\r\n")


def test_the_terminal_is_put_back_whatever_the_app_did(app: sandboxed.AppFolder) -> None:
    write(app, "import tty; tty.setraw(0); print('raw', flush=True); os.kill(os.getpid(), 9)\n")
    with shell(app, "sh") as person:
        before = person.mode()
        assert "raw" in person.do("app")
        assert person.mode() == before


def test_a_shell_inside_has_job_control(app: sandboxed.AppFolder) -> None:
    write(app, "os.execv('/bin/sh', ['sh', '-i'])\n")
    with shell(app) as person:
        person.type("app\n")
        person.until("$ ")
        person.type("PS1='in''side> '\n")
        person.until("inside> ")
        person.type("python3 -c 'import time; print(1+41, flush=True); time.sleep(9)'\n")
        person.until("42\r\n")
        person.type("\x1a")
        person.until("inside> ")
        person.type("jobs\n")
        assert "Stopped" in person.until("inside> ")
        person.type("fg\n")
        person.until("time.sleep(9)")
        time.sleep(0.3)  # the shell says so before it gives the terminal away
        person.type("\x03")
        person.until("inside> ")
        person.type("exit 3\n")
        person.until(PROMPT)
        assert person.do("echo $?").strip() == "3"


# -- jobs of the person's shell


@pytest.mark.parametrize("name", ["bash", "sh"])
def test_ctrl_z_puts_the_terminal_back_and_fg_takes_it_again(app: sandboxed.AppFolder, name: str) -> None:
    write(app, "import tty; tty.setcbreak(0); print('up', flush=True)\nprint('got', sys.stdin.read(1))\n")
    with shell(app, name) as person:
        before = person.mode()
        for _ in range(2):
            person.type("app\n" if _ == 0 else "fg\n")
            if _ == 0:
                person.until("up")
            person.await_mode(raw=True)
            person.type("\x1a")
            person.until("Stopped")
            person.until(PROMPT)
            assert person.mode() == before
        assert person.do("echo $((1 + 1))").strip() == "2"
        person.type("fg\n")
        person.await_mode(raw=True)
        person.type("k")
        person.until("got k")
        person.until(PROMPT)
        assert person.mode() == before


@pytest.mark.parametrize("how", ["SIGTSTP", "SIGSTOP"])
def test_an_app_that_stops_itself_stops_the_job(app: sandboxed.AppFolder, how: str) -> None:
    write(app, f"print('up', flush=True)\nos.kill(os.getpid(), signal.{how})\nprint('on again')\n")
    with shell(app) as person:
        person.type("app\n")
        person.until("Stopped")
        person.until(PROMPT)
        person.type("fg\n")
        person.until("on again")
        person.until(PROMPT)


def test_in_the_background_the_person_types_for_their_shell_alone(app: sandboxed.AppFolder) -> None:
    write(app, "print('up', flush=True)\nprint('got', input())\n")
    with shell(app) as person:
        before = person.mode()
        person.type("app &\n")
        person.until("up")
        assert person.mode() == before
        person.type("echo one$((1 + 1))\n")
        person.until("one2")
        person.until(PROMPT)
        person.type("fg\n")
        person.await_mode(raw=True)
        person.type("text\n")
        person.until("got text")
        person.until(PROMPT)
        assert person.mode() == before


def test_bg_goes_on_without_the_terminal(app: sandboxed.AppFolder) -> None:
    write(
        app, "print('up', flush=True)\nfor n in range(1000): time.sleep(0.05); print('tick', n, flush=True)\n"
    )
    with shell(app) as person:
        before = person.mode()
        person.type("app\n")
        person.until("tick 1")
        person.type("\x1a")
        person.until("Stopped")
        person.until(PROMPT)
        assert "tick" not in person.quiet_for(0.4)
        person.type("bg\n")
        person.until("tick")
        assert person.mode() == before
        person.type("kill %1; wait %1; echo code $?\n")
        person.until("code 143")
        assert person.mode() == before


def test_with_tostop_it_writes_nothing_from_the_background(app: sandboxed.AppFolder) -> None:
    write(app, "print('up', flush=True)\ntime.sleep(1)\nprint('written', flush=True)\n")
    with shell(app) as person:
        person.do("stty tostop")
        person.do("app &")
        assert "written" not in person.quiet_for(1.8)
        person.type("fg\n")
        person.until("written")
        person.until(PROMPT)


def test_a_stopped_launcher_goes_on_where_it_was(app: sandboxed.AppFolder) -> None:
    write(app, "print('up', flush=True)\nprint('got', input())\n")
    with shell(app, "sh") as person:
        person.type("app\n")
        person.until("up")
        person.await_mode(raw=True)
        (pid,) = launchers(app)
        os.kill(pid, signal.SIGSTOP)
        person.until(PROMPT)
        person.do("stty sane")
        person.type("fg\n")
        person.await_mode(raw=True)
        person.type("text\n")
        person.until("got text")
        person.until(PROMPT)
        assert not person.raw()


def test_a_killed_launcher_takes_the_app_along(app: sandboxed.AppFolder) -> None:
    write(app, "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)\n")
    with shell(app) as person:
        person.type("app\n")
        person.until("up")
        (pid,) = launchers(app)
        os.kill(pid, signal.SIGKILL)
        person.until("Killed")
        person.until(PROMPT)
        assert not person.raw()  # bash sets its mode again
        assert launchers(app) == []


# -- pipes and files


def test_pipes_and_files_pass_byte_for_byte_beside_a_terminal(app: sandboxed.AppFolder) -> None:
    write(app, "import shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\n")
    given, came = app.folder / "given", app.data / "came"
    given.write_bytes(os.urandom(3_000_000))
    given.chmod(0o644)
    with shell(app) as person:
        person.type(f"app < {given} > {came}; cat {given} | app | cmp - {given}; echo code $?\n")
        person.until("code 0")
    assert came.read_bytes() == given.read_bytes()


def test_a_pager_beside_the_app_gets_the_keys(app: sandboxed.AppFolder) -> None:
    write(app, "for n in range(100000): print('line', n)\n")
    pager = app.folder / "pager.py"
    pager.write_text(
        "import os, sys, tty, termios\n"
        "t = os.open('/dev/tty', os.O_RDWR); before = termios.tcgetattr(t); tty.setcbreak(t)\n"
        "print(sys.stdin.readline(), end=''); print('keys?', flush=True)\n"
        "print('keys', ''.join(os.read(t, 1).decode() for _ in range(20)), flush=True)\n"
        "termios.tcsetattr(t, termios.TCSANOW, before)\n"
    )
    pager.chmod(0o644)
    with shell(app) as person:
        before = person.mode()
        person.type(f"app 2>/dev/null | {sys.executable} {pager}\n")
        person.until("keys?")
        for key in "abcdefghijklmnopqrst":
            person.type(key)
            time.sleep(0.02)
        person.until("keys abcdefghijklmnopqrst")
        person.until(PROMPT)
        assert person.mode() == before


def test_a_password_in_a_pipeline_is_not_echoed_and_lines_arrive(app: sandboxed.AppFolder) -> None:
    write(
        app,
        "import getpass\nprint('line', input(), flush=True)\n"
        "print('got', getpass.getpass('secret? '), flush=True)\nprint('end', repr(sys.stdin.read()))\n",
    )
    with shell(app) as person:
        person.type("app | cat\n")
        time.sleep(0.5)
        person.type("first\n")
        shown = person.until("secret? ")  # what comes through the pipe may come later
        person.await_mode(raw=True)
        person.type("hush\n")
        shown += person.until("got ")
        assert "hush" not in shown
        assert "line first" in shown
        person.until("hush")
        person.await_mode(raw=False)
        person.type("last\n\x04")
        person.until("end 'last\\n'")
        person.until(PROMPT)


def test_ctrl_c_ends_a_pipeline(app: sandboxed.AppFolder) -> None:
    write(
        app,
        "print('up', flush=True)\ntime.sleep(60)\n",
    )
    with shell(app) as person:
        person.type("app | cat\n")
        person.until("up")
        person.type("\x03")
        person.until("KeyboardInterrupt")
        person.until(PROMPT)


# -- much of it, and the end of it


def test_all_that_was_said_before_the_end_is_shown(app: sandboxed.AppFolder) -> None:
    write(app, "sys.stdout.write('x' * 2_000_000 + 'end'); sys.stdout.flush(); os._exit(4)\n")
    with shell(app) as person:
        person.type("app; echo code $?\n")
        time.sleep(1)  # nobody reads
        said = person.until("code 4")
        assert said.count("x") == 2_000_000
        assert "xend" in said


def test_who_does_not_read_holds_the_app_up_at_no_cost(app: sandboxed.AppFolder) -> None:
    write(app, "data = 'y\\n' * 50_000\nprint('up')\nwhile True: sys.stdout.write(data)\n")
    with shell(app) as person:
        person.type("app\n")
        person.until("up")
        time.sleep(0.7)
        (pid,) = launchers(app)
        before = cpu_s(pid)
        time.sleep(1.5)
        assert cpu_s(pid) - before < 0.2
        person.type("\x03")
        person.until("KeyboardInterrupt")
        person.until(PROMPT)


@pytest.mark.parametrize("command", ["app", "app &", "app | cat"])
def test_an_idle_app_costs_nothing(app: sandboxed.AppFolder, command: str) -> None:
    write(app, "print('up', flush=True)\ntime.sleep(60)\n")
    with shell(app) as person:
        person.type(f"{command}\n")
        person.until("up")
        time.sleep(0.3)
        (pid,) = launchers(app)
        before = cpu_s(pid)
        time.sleep(1)
        assert cpu_s(pid) - before <= 0.03
        os.kill(pid, signal.SIGTERM)
        person.type("wait\n" if command == "app &" else "")
        person.until("Exit 143" if command == "app &" else PROMPT)


def test_a_large_paste_arrives_whole(app: sandboxed.AppFolder) -> None:
    write(
        app,
        "import hashlib, tty\ntty.setcbreak(0)\nprint('up', flush=True)\n"
        "data = b''\nwhile len(data) < 300_000:\n    data += os.read(0, 1000); time.sleep(0.0005)\n"
        "print('got', hashlib.sha256(data).hexdigest())\n",
    )
    import hashlib
    import threading

    pasted = ("".join(f"line {n} of a paste\n" for n in range(20_000)))[:300_000]
    with shell(app) as person:
        person.type("app\n")
        person.until("up")
        person.await_mode(raw=True)

        def paste() -> None:
            data = pasted.encode()
            while data:
                data = data[os.write(person.fd, data[:4000]) :]

        thread = threading.Thread(target=paste)
        thread.start()
        person.until(f"got {hashlib.sha256(pasted.encode()).hexdigest()}")
        thread.join()
        person.until(PROMPT)


def test_an_app_that_lets_go_of_its_terminal_goes_on(app: sandboxed.AppFolder) -> None:
    write(
        app,
        "print('up', flush=True)\nnull = os.open('/dev/null', os.O_RDWR)\n"
        "for fd in range(3): os.dup2(null, fd)\n"
        "os.fork() and time.sleep(1.2)\nopen('/data/done', 'w').close()\n",
    )
    with shell(app) as person:
        before = person.mode()
        person.type("app; echo code $?\n")
        person.until("code 0")
        assert person.mode() == before
    assert (app.data / "done").exists()


def test_a_terminal_that_vanishes_hangs_the_app_up_once(app: sandboxed.AppFolder) -> None:
    write(
        app,
        "seen = []\nsignal.signal(signal.SIGHUP, lambda *_: seen.append(1))\nprint('up', flush=True)\n"
        "while not seen: time.sleep(0.05)\n"
        "time.sleep(0.5)\n"
        "try: end = os.read(0, 1)\nexcept OSError as e: end = e.errno\n"
        "open('/data/done', 'w').write(repr((len(seen), end)))\n",
    )
    with shell(app) as person:
        person.type("app\n")
        person.until("up")
        (pid,) = launchers(app)
        os.close(person.fd)
        assert gone(pid)
        person.fd = -1
        assert (app.data / "done").read_text() in ("(1, b'')", "(1, 5)")


def test_without_a_terminal_no_relay_is_even_imported(app: sandboxed.AppFolder) -> None:
    write(
        app, "print(os.isatty(1))\ntry: os.open('/dev/tty', os.O_RDWR)\nexcept OSError as e: print(e.errno)\n"
    )
    done = app.run()
    assert done.stdout.split() == [b"False", b"6"], done.stderr


def test_where_no_shell_would_go_on_with_it_a_stop_does_not_last(app: sandboxed.AppFolder) -> None:
    """The launcher leads the session: its group is orphaned, and the kernel itself stops no such group."""
    import pty

    write(app, "print('up', flush=True)\nfor n in range(20): time.sleep(0.05)\nprint('done', flush=True)\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(app.environ())
        command = app.command()
        os.execvp(command[0], command)
    person = Shell(pid, terminal)
    try:
        person.until("up")
        person.await_mode(raw=True)
        person.type("\x1a")
        person.until("done")
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


def test_what_was_said_before_a_start_failed_is_shown() -> None:
    from pearrt.sandbox.pty_relay import Relay

    ours, theirs = os.openpty()
    relay = Relay([theirs], 0)
    os.write(relay.slave, b"bwrap: no permission\n")
    before = termios.tcgetattr(ours)
    relay.finish()
    person = Shell(0, ours)
    person.until("bwrap: no permission\r\n")
    assert termios.tcgetattr(ours) == before
    os.close(ours)
    os.close(theirs)
