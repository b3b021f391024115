"""Apps that take all they can get: memory, processes, disk. Each is stopped by a bound, and the launcher
lives on.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from pearrt.paths import Home
from tests.hostile.sandbox.corpus import TIERS, worlds
from tests.support import sandboxed
from tests.support.machine import Machine
from tests.support.require import missing, require

pytestmark = [pytest.mark.sandbox, pytest.mark.alone]
SMALL = {"memory": "128 MiB", "storage": "32 MiB", "processes": 24}


# Each tier once: bounds do not depend on who starts the app, but for the cgroup that only root has here.
WORLDS = [world for world in worlds() if world in {("root", "A"), ("user", "B"), ("user", "C")}]


@pytest.fixture(params=WORLDS, ids="-".join)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    require("bwrap", "setpriv")
    mode, tier = request.param
    if mode == "user" and not sandboxed.user_interpreter():
        missing("needs a Python that a plain user can start")
    with sandboxed.AppFolder({}, mode) as folder:
        yield World(folder, TIERS[tier])


class World:
    """An app's folder, and the layers that its machine lacks."""

    def __init__(self, app: sandboxed.AppFolder, without: tuple[str, ...]) -> None:
        self.app = app
        self.without = without

    def run(self, source: str, **permissions: object) -> subprocess.CompletedProcess[bytes]:
        (self.app.app / "main.py").write_text(source)
        return self.app.run(permissions=SMALL | permissions, without=self.without)

    def bomb(self, source: str, **permissions: object) -> str:
        """What the app says after its attempt; it lives."""
        done = self.run(source, **permissions)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


FOUR_TIMES = """
import os, sys, time
for _ in range(4):
    if os.fork() == 0:
        {take}
        time.sleep(1.5)
        os._exit(0)
killed = sum(os.wait()[1] == 9 for _ in range(4))
sys.exit(137 if killed >= 3 else f"only {{killed}} were stopped")
"""
TAKE = {
    "heap": "held = b'1' * (100 << 20)",
    "shared maps": "import mmap; held = mmap.mmap(-1, 100 << 20); held.write(b'1' * (100 << 20))",
}


@pytest.mark.parametrize("kind", TAKE)
def test_memory_in_total_is_bounded_over_many_processes(world: World, kind: str) -> None:
    """On tier A by the kernel, which ends what asks for more; elsewhere by measuring, which ends the app."""
    done = world.run(FOUR_TIMES.format(take=TAKE[kind]))
    assert done.returncode in (137, 207), done
    if done.returncode == 207:
        assert b"memory in total" in done.stderr


def test_a_map_that_is_shared_counts_as_memory(world: World) -> None:
    """Which no limit on a process counts: one alone could take gigabytes."""
    done = world.run("import mmap\nheld = mmap.mmap(-1, 1 << 30)\nwhile True: held.write(bytes(1 << 20))\n")
    assert done.returncode in (137, 207), done


def test_memory_counts_when_the_first_thread_has_ended(world: World) -> None:
    """The process then shows none at its own place."""
    done = world.run(
        "import ctypes, os, sys, threading, time\n"
        "def take():\n"
        "    held = b'1' * (100 << 20)\n"
        "    time.sleep(2)\n"
        "    os._exit(0)\n"
        "leave = 60 if os.uname().machine == 'x86_64' else 93\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        threading.Thread(target=take).start()\n"
        "        ctypes.CDLL(None).syscall(leave, 0)\n"
        "killed = sum(os.wait()[1] == 9 for _ in range(4))\n"
        "sys.exit(137 if killed >= 2 else f'only {killed} were stopped')\n"
    )
    assert done.returncode in (137, 207), done


def test_what_the_kernel_keeps_in_sockets_counts_as_memory(world: World) -> None:
    done = world.run(
        "import os, socket, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        held = []\n"
        "        try:\n"
        "            while True:\n"
        "                held.append(socket.socketpair())\n"
        "                for end in held[-1]:\n"
        "                    end.setblocking(False)\n"
        "                    try:\n"
        "                        while True: end.send(bytes(60000))\n"
        "                    except BlockingIOError: pass\n"
        "        except OSError: time.sleep(3)\n"
        "        os._exit(0)\n"
        "for _ in range(3): os.wait()\n"
    )
    assert done.returncode in (137, 207), done


def test_a_processor_bomb_leaves_processors_to_others(world: World) -> None:
    said = world.bomb("import os; print(len(os.sched_getaffinity(0)))", cpu=1)
    assert said == "1"


def test_a_heap_bomb_meets_its_bound(world: World) -> None:
    said = world.bomb(
        "held = []\n"
        "try:\n"
        "    while True: held.append(bytearray(8 << 20))\n"
        "except MemoryError:\n"
        "    n = len(held); held.clear(); print(n)\n",
    )
    assert int(said) <= 16


def test_a_process_bomb_meets_its_bound(world: World) -> None:
    said = world.bomb(
        "import os, signal, time\n"
        "children = []\n"
        "try:\n"
        "    while len(children) < 500:\n"
        "        pid = os.fork()\n"
        "        if pid == 0: time.sleep(60); os._exit(0)\n"
        "        children.append(pid)\n"
        "except BlockingIOError:\n"
        "    print(len(children))\n"
        "for pid in children: os.kill(pid, signal.SIGKILL)\n",
    )
    assert 0 < int(said) <= 24


def test_a_thread_bomb_meets_its_bound(world: World) -> None:
    said = world.bomb(
        "import threading\n"
        "stop = threading.Event(); n = 0\n"
        "try:\n"
        "    while n < 500: threading.Thread(target=stop.wait, daemon=True).start(); n += 1\n"
        "except RuntimeError:\n"
        "    print(n)\n"
        "stop.set()\n",
    )
    assert 0 < int(said) <= 24


@pytest.mark.parametrize(("folder", "most_mib"), [("/tmp", 256), ("/dev/shm", 256), ("/dev", 0), ("/", 0)])
def test_a_memory_file_system_is_no_larger_than_it_says(world: World, folder: str, most_mib: int) -> None:
    said = world.bomb(
        "n = 0\n"
        "try:\n"
        "    for i in range(100):\n"
        f"        with open(f'{folder}/bomb{{i}}', 'wb') as f:\n"
        "            for _ in range(4): f.write(bytes(4 << 20)); f.flush(); n += 4\n"
        "except OSError: pass\n"
        "print(n)\n",
        memory="1 GiB",
    )
    assert int(said) <= most_mib


def test_a_file_is_no_larger_than_the_storage(world: World) -> None:
    said = world.bomb(
        "import os, signal\n"
        "try: os.truncate(os.open('/data/large', os.O_CREAT | os.O_RDWR), 33 << 20)\n"
        "except OSError as e: print(e.errno)\n",
    )
    assert said == "27"


def test_many_files_that_outgrow_the_storage_end_the_app(world: World) -> None:
    done = world.run(
        "import time\n"
        "for i in range(6):\n"
        "    open(f'/data/{i}', 'wb').write(bytes(8 << 20))\n"
        "print('written', flush=True)\n"
        "time.sleep(30)\n"
        "print('lived', flush=True)\n"
    )
    assert done.returncode == 207
    assert done.stdout == b"written\n"
    assert b"storage" in done.stderr


def test_a_folder_that_cannot_be_measured_ends_the_app(world: World) -> None:
    done = world.run(
        "import os, time\n"
        "for _ in range(30):\n"
        "    os.mkdir('d' * 200); os.chdir('d' * 200)\n"
        "time.sleep(30)\n"
        "print('lived')\n"
    )
    assert (done.returncode, done.stdout) == (207, b"")


def test_memory_that_no_limit_counts_cannot_be_made(world: World) -> None:
    said = world.bomb(
        "import ctypes, mmap, os\n"
        "libc = ctypes.CDLL(None)\n"
        "try: os.memfd_create('x'); print('memfd')\n"
        "except OSError: pass\n"
        "if libc.shmget(0, 1 << 20, 0o600) >= 0: print('shm')\n"
        "try: mmap.mmap(-1, 16 << 30); print('shared map')\n"
        "except OSError: pass\n",
    )
    assert said == ""


CALM_S, BOMB_S = 2.0, 2.5
EVERYTHING = """
import os, threading, time
def spin():
    while True: pass
def write(n):
    while True:
        with open(f"/data/{n}", "wb") as file:
            for _ in range(6): file.write(bytes(1 << 20)); os.fsync(file.fileno())
for n in range(12):
    try:
        if os.fork() == 0:
            (spin if n % 2 else lambda: write(n))()
    except OSError: pass
while True:
    try:
        if os.fork() == 0: os._exit(0)
        os.wait()
        open(f"/tmp/{time.monotonic_ns()}", "w").close()
    except OSError: pass
"""


def test_the_daemon_answers_while_an_app_takes_all_it_can_get(
    world: World, new_home: Callable[[], Home]
) -> None:
    """Processors, processes, disk writes and files at once, all that the app is granted."""
    machine = Machine(new_home())
    try:
        machine.ok("daemon", "start")
        (world.app.app / "main.py").write_text(EVERYTHING)
        bomb = world.app.start(permissions=SMALL, without=world.without)
        try:
            deadline = time.monotonic() + BOMB_S
            waits = []
            while time.monotonic() < deadline:
                began = time.monotonic()
                machine.daemon.status()
                waits.append(time.monotonic() - began)
                time.sleep(0.02)
            assert bomb.poll() is None, bomb.communicate()
        finally:
            bomb.kill()
            bomb.communicate()
    finally:
        machine.stop()
    assert sorted(waits)[len(waits) // 2] < CALM_S / 4
    assert max(waits) < CALM_S
