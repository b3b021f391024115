"""Apps that take all they can get: memory, processes, disk. Each is stopped by a bound, and the launcher
lives on.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import sandboxed
from tests.support.require import missing, require

pytestmark = pytest.mark.sandbox
SMALL = {"memory": "128 MiB", "storage": "32 MiB", "processes": 24}


@pytest.fixture(params=sandboxed.available_modes())
def app(request: pytest.FixtureRequest) -> Iterator[sandboxed.AppFolder]:
    require("bwrap", "setpriv")
    if request.param == "user" and not sandboxed.user_interpreter():
        missing("needs a Python that a plain user can start")
    with sandboxed.AppFolder({}, str(request.param)) as folder:
        yield folder


def bomb(app: sandboxed.AppFolder, source: str, **permissions: object) -> str:
    """What the app says after its attempt."""
    (app.app / "main.py").write_text(source)
    done = app.run(permissions=SMALL | permissions)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_a_heap_bomb_meets_its_bound(app: sandboxed.AppFolder) -> None:
    said = bomb(
        app,
        "held = []\n"
        "try:\n"
        "    while True: held.append(bytearray(8 << 20))\n"
        "except MemoryError:\n"
        "    n = len(held); held.clear(); print(n)\n",
    )
    assert int(said) <= 16


def test_a_process_bomb_meets_its_bound(app: sandboxed.AppFolder) -> None:
    said = bomb(
        app,
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


def test_a_thread_bomb_meets_its_bound(app: sandboxed.AppFolder) -> None:
    said = bomb(
        app,
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
def test_a_memory_file_system_is_no_larger_than_it_says(
    app: sandboxed.AppFolder, folder: str, most_mib: int
) -> None:
    said = bomb(
        app,
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


def test_a_file_is_no_larger_than_the_storage(app: sandboxed.AppFolder) -> None:
    said = bomb(
        app,
        "import os, signal\n"
        "try: os.truncate(os.open('/data/large', os.O_CREAT | os.O_RDWR), 33 << 20)\n"
        "except OSError as e: print(e.errno)\n",
    )
    assert said == "27"


def test_many_files_that_outgrow_the_storage_end_the_app(app: sandboxed.AppFolder) -> None:
    (app.app / "main.py").write_text(
        "import time\n"
        "for i in range(6):\n"
        "    open(f'/data/{i}', 'wb').write(bytes(8 << 20))\n"
        "print('written', flush=True)\n"
        "time.sleep(30)\n"
        "print('lived', flush=True)\n"
    )
    done = app.run(permissions=SMALL)
    assert done.returncode == 207
    assert done.stdout == b"written\n"
    assert b"storage" in done.stderr


def test_a_folder_that_cannot_be_measured_ends_the_app(app: sandboxed.AppFolder) -> None:
    (app.app / "main.py").write_text(
        "import os, time\n"
        "for _ in range(30):\n"
        "    os.mkdir('d' * 200); os.chdir('d' * 200)\n"
        "time.sleep(30)\n"
        "print('lived')\n"
    )
    done = app.run(permissions=SMALL)
    assert (done.returncode, done.stdout) == (207, b"")


def test_memory_that_no_limit_counts_cannot_be_made(app: sandboxed.AppFolder) -> None:
    said = bomb(
        app,
        "import ctypes, mmap, os\n"
        "libc = ctypes.CDLL(None)\n"
        "try: os.memfd_create('x'); print('memfd')\n"
        "except OSError: pass\n"
        "if libc.shmget(0, 1 << 20, 0o600) >= 0: print('shm')\n"
        "try: mmap.mmap(-1, 16 << 30); print('shared map')\n"
        "except OSError: pass\n",
    )
    assert said == ""
