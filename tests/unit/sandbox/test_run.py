"""What a person and an app may expect of a run: exit code, signals, streams, arguments, libraries."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support import sandboxed
from tests.support.require import missing, require

pytestmark = pytest.mark.sandbox


@pytest.fixture(params=sandboxed.available_modes())
def mode(request: pytest.FixtureRequest) -> str:
    require("bwrap", "setpriv")
    if request.param == "user" and not sandboxed.user_interpreter():
        missing("needs a Python that a plain user can start")
    return str(request.param)


@pytest.fixture
def app(mode: str) -> Iterator[sandboxed.AppFolder]:
    with sandboxed.AppFolder({}, mode) as folder:
        yield folder


def write(app: sandboxed.AppFolder, name: str, text: str) -> None:
    path = app.app / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(text)
    path.chmod(0o644)


def run(app: sandboxed.AppFolder, source: str, **changes: object) -> str:
    """Runs `source` as the app; its exit code is 0; gives what it printed."""
    write(app, "main.py", source)
    done = app.run(**changes)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_is_the_apps(app: sandboxed.AppFolder, code: int) -> None:
    write(app, "main.py", f"import sys; sys.exit({code})")
    assert app.run().returncode == code


def test_an_uncaught_exception_is_a_traceback_and_exit_code_1(app: sandboxed.AppFolder) -> None:
    write(app, "main.py", "raise ValueError('mine')")
    done = app.run()
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "Traceback (most recent call last):",
        '  File "/app/main.py", line 1, in <module>',
        "    raise ValueError('mine')",
        "ValueError: mine",
    ]


def test_death_by_signal_is_128_plus_its_number(app: sandboxed.AppFolder) -> None:
    write(app, "main.py", "import os; os.kill(os.getpid(), 9)")
    assert app.run().returncode == 137


WAIT = """
import signal, sys, time
{handler}
print("up", flush=True)
time.sleep(30)
"""


def started(app: sandboxed.AppFolder, handler: str = "") -> subprocess.Popen[bytes]:
    write(app, "main.py", WAIT.format(handler=handler))
    process = app.start()
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    return process


def test_a_signal_to_the_launcher_reaches_the_app(app: sandboxed.AppFolder) -> None:
    with started(app, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 7


def test_a_signal_that_the_app_does_not_handle_ends_it(app: sandboxed.AppFolder) -> None:
    with started(app) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_an_interrupt_is_a_keyboard_interrupt_inside(app: sandboxed.AppFolder) -> None:
    with started(app, "import atexit; atexit.register(print, 'cleaned', flush=True)") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 128 + signal.SIGINT
        assert process.stdout
        assert process.stdout.read() == b"cleaned\n"
        assert process.stderr
        assert b"KeyboardInterrupt" in process.stderr.read()


def test_ctrl_c_on_a_terminal_reaches_the_app_once_and_the_terminal_is_given_back(
    app: sandboxed.AppFolder,
) -> None:
    import pty
    import termios

    write(
        app,
        "main.py",
        "import os, signal, sys, tty\n"
        "seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        "sys.stdout.write('up\\n'); sys.stdout.flush()\n"
        "sys.stdin.readline()\n"
        "tty = open('/dev/tty').fileno() > 2\n"
        "print('seen', len(seen), os.isatty(0), os.get_terminal_size().columns, tty)\n",
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(app.environ())
        os.execv(app.command()[0] if "/" in app.command()[0] else "/usr/bin/setpriv", app.command())
    try:
        termios.tcsetwinsize(terminal, (24, 77))
        said = b""
        while b"up" not in said:
            said += os.read(terminal, 1000)
        os.write(terminal, b"\x03")
        while b"^C" not in said:
            said += os.read(terminal, 1000)
        os.write(terminal, b"\n")
        while b"seen" not in said:
            said += os.read(terminal, 1000)
        assert b"seen 1 True 77 True" in said
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


def test_ctrl_z_stops_the_whole_job_and_fg_goes_on(app: sandboxed.AppFolder) -> None:
    import pty
    import shlex

    require("bash")
    write(app, "main.py", "print('up', flush=True)\nprint('got', input())\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(app.environ())
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    said = b""

    def until(text: bytes) -> None:
        nonlocal said
        while text not in said:
            assert select.select([terminal], [], [], 20)[0], said
            said += os.read(terminal, 1000)
        said = said.split(text, 1)[1]

    def type_in(line: str) -> None:
        os.write(terminal, line.encode())

    # Two halves, lest the echo of this line is taken for the prompt. What is typed before the shell has
    # the terminal again may be lost.
    type_in("PS1='rea''dy> '; bind 'set enable-bracketed-paste off'\n")
    until(b"ready> ")
    type_in(shlex.join(app.command()) + "; echo code $?\n")
    until(b"\nup")
    type_in("\x1a")
    until(b"Stopped")
    until(b"ready> ")
    type_in("echo in the $((1 + 1))nd shell\n")
    until(b"in the 2nd shell")
    type_in("fg\n")
    until(b"sandboxed.py")
    type_in("text\n")
    until(b"got text")
    until(b"ready> ")
    type_in("exit\n")
    os.waitpid(pid, 0)
    os.close(terminal)


def test_streams_pass_through_whole(app: sandboxed.AppFolder) -> None:
    data = os.urandom(3_000_000)
    write(app, "main.py", "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)")
    done = app.run(stdin=data)
    assert done.returncode == 0
    assert done.stdout == data


def test_arguments_pass_byte_for_byte(app: sandboxed.AppFolder) -> None:
    arguments = ["", "a b", "--help", "-c", "ünï", "\n\t", os.fsdecode(b"\xff\xfe"), "'\"$(id)`"]
    said = run(app, "import sys, json; print(json.dumps(sys.argv[1:]))", argv=arguments)
    assert json.loads(said) == arguments


def test_the_environment_is_made_from_scratch(app: sandboxed.AppFolder) -> None:
    write(app, "main.py", "import os, json; print(json.dumps(dict(os.environ)))")
    command = app.command(env={"PEARRT_APP_LINK_PATH": "/a"})
    hostile = {
        "LD_PRELOAD": "",
        "PYTHONSTARTUP": "/x",
        "SECRET": "s",
        "TERM": "xterm",
        "TZ": "Europe/Berlin\x1b[",
    }
    done = subprocess.run(command, env=app.environ() | hostile, capture_output=True, check=True)
    inside = json.loads(done.stdout)
    assert inside.keys() >= {"PATH", "HOME", "PEARRT_DATA", "PEARRT_APP_LINK_PATH", "TERM"}
    assert inside["HOME"] == inside["PEARRT_DATA"] == inside["PWD"] == "/data"
    assert not inside.keys() & {"LD_PRELOAD", "PYTHONSTARTUP", "SECRET", "TZ", "PEARRT_TEST_GUARD_LOG"}


def test_an_extra_that_is_not_the_apps_is_refused(app: sandboxed.AppFolder) -> None:
    write(app, "main.py", "")
    done = app.run(env={"LD_PRELOAD": "/data/x.so"})
    assert done.returncode == 202
    assert b"LD_PRELOAD" in done.stderr


def test_data_stays_from_run_to_run_and_temporary_files_do_not(app: sandboxed.AppFolder) -> None:
    source = (
        "import os, pathlib\n"
        "for folder in ('/data', '/tmp', '/dev/shm'):\n"
        "    file = pathlib.Path(folder, 'kept'); print(file.exists()); file.write_text('x')\n"
        "print(os.getcwd())\n"
    )
    assert run(app, source).split() == ["False", "False", "False", "/data"]
    assert run(app, source).split() == ["True", "False", "False", "/data"]


def test_the_app_sees_only_its_own_world(app: sandboxed.AppFolder) -> None:
    source = (
        "import os, socket\n"
        "print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit())[:2], os.uname().nodename)\n"
        "print(*(os.path.exists(p) for p in ('/home', '/var', '/etc/shadow', '/sys')))\n"
        "home = __import__('pwd').getpwuid(os.getuid()).pw_dir\n"
        "print(sorted(os.listdir('/app')), os.environ['USER'], home)\n"
    )
    lines = run(app, source).splitlines()
    assert lines[0].startswith("[1, ")
    assert lines[0].endswith(" pearrt")
    assert lines[1] == "False False False False"
    assert lines[2] == "['main.py'] app /data"


def test_the_first_process_is_out_of_sight(app: sandboxed.AppFolder) -> None:
    """It closed fewer doors than the app did."""
    assert run(app, "import os; print(os.listdir('/proc/1'), os.getppid())") == "[] 1\n"


def test_no_privilege_is_left(app: sandboxed.AppFolder) -> None:
    said = run(app, "print(open('/proc/self/status').read())")
    status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert not status["Groups"].strip() or os.geteuid() != 0 or app.mode == "user"


def test_the_libraries_that_programs_use_work(app: sandboxed.AppFolder) -> None:
    source = """
import asyncio, ctypes, curses, hashlib, multiprocessing, os, socket, sqlite3, ssl, subprocess, sys, tempfile
import threading, zoneinfo, concurrent.futures, shutil, signal, select, mmap, lzma, bz2, zlib, decimal, uuid

async def main():
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6*7)", stdout=subprocess.PIPE)
    assert (await done.communicate())[0] == b"42\\n"
    await asyncio.gather(*(asyncio.to_thread(hashlib.sha256, bytes(1000)) for _ in range(20)))

def square(n):
    return n * n

if __name__ == "__main__":
    asyncio.run(main())
    assert subprocess.run("echo $HOME | tr a-z A-Z || echo $HOME", shell=True, capture_output=True).stdout
    assert subprocess.check_output(["sh", "-c", "echo hi"]) == b"hi\\n"
    with multiprocessing.Pool(3) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        assert list(executor.map(square, range(3))) == [0, 1, 4]
    db = sqlite3.connect("/data/x.db")
    assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",)
    db.execute("create table t (a)"); db.execute("insert into t values (1)"); db.commit(); db.close()
    threads = [threading.Thread(target=lambda: None) for _ in range(100)]
    [t.start() for t in threads]; [t.join() for t in threads]
    assert ssl.create_default_context()
    assert zoneinfo.ZoneInfo("Europe/Berlin")
    a, b = socket.socketpair(); a.sendall(b"x"); assert b.recv(1) == b"x"
    shutil.copytree("/app", "/data/copy"); os.mkfifo("/data/fifo")
    q = multiprocessing.Queue(); q.put(1); assert q.get() == 1
    lock = multiprocessing.Lock(); lock.acquire(); lock.release()
    os.makedirs("/data/a/b"); os.makedirs("/data/c"); open("/data/a/b/file", "w").close()
    os.rename("/data/a/b/file", "/data/c/file"); os.link("/data/c/file", "/data/a/link")
    os.symlink("/data/c", "/data/d"); os.chmod("/data/c/file", 0o600); os.utime("/data/c/file")
    shutil.move("/data/c/file", "/tmp/file"); shutil.rmtree("/data/a"); os.truncate("/tmp/file", 5)
    import pty
    leader, follower = pty.openpty(); os.write(leader, b"x\\n"); assert os.read(follower, 9) == b"x\\n"
    pid, terminal = pty.fork()
    if pid == 0: os.execv(sys.executable, [sys.executable, "-c", "print(open('/dev/tty').isatty())"])
    assert b"True" in os.read(terminal, 99); os.waitpid(pid, 0)
    asyncio.run(asyncio.wait_for(asyncio.to_thread(subprocess.run, ["sh", "-c", "kill $$"]), 5))
    print("all well", __name__, sys.flags.isolated, sys.flags.no_site)
"""
    assert run(app, source) == "all well __main__ 1 1\n"


def test_subprocesses_find_the_apps_modules_and_stay_inside(app: sandboxed.AppFolder) -> None:
    write(app, "lib/helper.py", "print('helped'); open('/data/made', 'w')")
    source = (
        "import subprocess, sys\n"
        "print(subprocess.run([sys.executable, '-m', 'helper'], capture_output=True, text=True).stdout)\n"
        "code = 'import socket; socket.socket()'\n"
        "print(subprocess.run([sys.executable, '-c', code], capture_output=True).returncode)"
    )
    assert run(app, source, path=[".", "lib"]).split() == ["helped", "1"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("pkg.tool", ["__main__", "/app/pkg/tool.py", "pkg"]),
        ("pkg", ["__main__", "/app/pkg/__main__.py", "pkg"]),
        ("pkg.tool:start", ["pkg.tool", "app", "pkg"]),
    ],
)
def test_modules_packages_and_functions_start_as_python_would(
    app: sandboxed.AppFolder, entry: str, expected: list[str]
) -> None:
    say = "import sys\nprint(__name__, sys.argv[0], __package__)\n"
    write(app, "pkg/__init__.py", "")
    write(app, "pkg/__main__.py", say)
    write(
        app,
        "pkg/tool.py",
        say.replace("print", "start = lambda: print") + "if __name__ == '__main__': start()\n",
    )
    done = app.run(entry=entry)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == expected


def test_the_channel_is_the_only_descriptor_passed_on(app: sandboxed.AppFolder) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as leaked:
        os.set_inheritable(leaked.fileno(), True)
        source = (
            "import os, socket\n"
            "s = socket.socket(fileno=int(os.environ['PEARRT_CHANNEL_FD']))\n"
            "s.sendall(repr([fd for fd in range(300) if os.path.exists(f'/proc/self/fd/{fd}')]).encode())\n"
        )
        write(app, "main.py", source)
        done = app.run(pass_fds=(theirs.fileno(), leaked.fileno()), channel_fd=theirs.fileno())
        assert done.returncode == 0, done.stderr.decode()
        assert ours.recv(100) == b"[0, 1, 2, 3]"


@pytest.mark.parametrize("kind", ["datagram socket", "closed", "all closed"])
def test_a_standard_input_that_leads_out_is_replaced(app: sandboxed.AppFolder, kind: str) -> None:
    write(app, "main.py", "import os, stat; print(os.path.samestat(os.fstat(0), os.stat('/dev/null')))")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        stdin = theirs.fileno() if kind == "datagram socket" else None
        closing = {"closed": "<&-", "all closed": "<&- 2>&-"}.get(kind, "")
        command = ["sh", "-c", f'exec "$@" {closing}', "sh", *app.command()]
        done = subprocess.run(command, env=app.environ(), stdin=stdin, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"True\n"), done.stderr.decode()


def test_an_app_below_a_folder_of_mode_0700_runs(mode: str) -> None:
    with sandboxed.AppFolder({"main.py": "print('hello')"}, mode, readable=False) as app:
        assert app.run().stdout == b"hello\n"


def test_a_link_in_place_of_the_data_folder_is_refused(app: sandboxed.AppFolder) -> None:
    write(app, "main.py", "print('ran')")
    app.data.rmdir()
    app.data.symlink_to("/etc")
    done = app.run()
    assert (done.returncode, done.stdout) == (207, b"")


def test_nothing_outlives_a_launcher_that_is_killed(app: sandboxed.AppFolder) -> None:
    source = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    os.set_inheritable(1, True)\n"
        "    while True: time.sleep(1)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    write(app, "main.py", source)
    process = app.start()
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    process.kill()
    began = time.monotonic()
    assert process.stdout.read() == b""  # the pipe closes when the last process that holds it is gone
    assert time.monotonic() - began < 5
    process.communicate()


def test_an_app_that_ends_takes_its_background_processes_along(app: sandboxed.AppFolder) -> None:
    write(app, "main.py", "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)\n")
    began = time.monotonic()
    assert app.run().returncode == 0
    assert time.monotonic() - began < 10


def test_the_app_cannot_claim_to_be_ready_before_the_doors_are_closed(app: sandboxed.AppFolder) -> None:
    """`-I -S -B`: nothing of the app's or the data folder's is imported by the interpreter's own start."""
    for name in (
        "sitecustomize.py",
        "usercustomize.py",
        "marshal.py",
        "ctypes.py",
        "resource.py",
        "signal.py",
        "json.py",
    ):
        for folder in (app.app, app.data):
            (folder / name).write_text("print('hijacked')")
    (app.app / "x.pth").write_text("import os; print('hijacked')")
    assert run(app, "print('mine')") == "mine\n"


def test_a_started_app_has_its_own_names_only(app: sandboxed.AppFolder) -> None:
    said = run(
        app,
        "import sys\nprint(sorted(n for n in globals() if n[:2] != '__'), sys.modules['__main__'].__file__)",
    )
    assert said == "['sys'] /app/main.py\n"


def test_prepared_bytecode_is_used_and_cannot_be_written(app: sandboxed.AppFolder) -> None:
    write(app, "pkg/__init__.py", "")
    write(app, "pkg/module.py", "answer = 42")
    write(app, "broken.py", "def (")
    write(app, "main.py", "raise SystemExit('not to be run by the compiler')")
    bytecode = str(app.runtime / "bytecode")
    assert app.run(bytecode=bytecode, prepare=True).returncode == 0
    source = (
        "import os, sys, pkg.module\n"
        "path = pkg.module.__cached__\n"
        "print(path.startswith('/bytecode/app/pkg/module.cpython-'), os.path.exists(path))\n"
        "attempts = [lambda: open(path, 'wb'), lambda: os.unlink(path), lambda: os.chmod(path, 0o777)]\n"
        "for attempt in [*attempts, lambda: open('/bytecode/x', 'w')]:\n"
        "    try:\n"
        "        attempt()\n"
        "        print('written')\n"
        "    except OSError:\n"
        "        pass\n"
        "import tabnanny\n"
        "print(tabnanny.__cached__.startswith(sys.prefix), os.path.exists(tabnanny.__cached__))\n"
    )
    assert run(app, source, bytecode=bytecode).split() == ["True"] * 4
    assert app.run(bytecode=bytecode, prepare=True).returncode == 0


def test_processors_are_shared_out(app: sandboxed.AppFolder) -> None:
    source = (
        "import os\n"
        "print(len(os.sched_getaffinity(0)))\n"
        "try: os.sched_setaffinity(0, range(64))\n"
        "except PermissionError: print('refused')\n"
    )
    assert run(app, source, permissions={"cpu": 1}).split() == ["1", "refused"]


if sys.platform != "linux":
    pytest.skip("not applicable: the Linux sandbox", allow_module_level=True)


@pytest.mark.parametrize("background", [False, True])
def test_an_app_whose_terminal_is_closed_is_ended_unless_it_may_run_in_the_background(
    background: bool,
) -> None:
    import pty

    main = (
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "time.sleep(6)\n"
        "pathlib.Path('done').write_text('')\n"
    )
    with sandboxed.AppFolder({"main.py": main}, sandboxed.available_modes()[-1]) as app:
        command = app.command(permissions={"background": background})
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(app.environ())
            os.execv(command[0] if "/" in command[0] else "/usr/bin/setpriv", command)
        said = b""
        while b"up" not in said:
            said += os.read(terminal, 1000)
        os.close(terminal)
        os.waitpid(pid, 0)
        assert (app.data / "done").exists() == background
