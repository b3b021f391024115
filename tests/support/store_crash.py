"""Kills a process that writes to a store, at every system call in turn and at random moments, and looks at
what is left. Run as a program: forking is safe in a process without threads. Prints how many crashes it
survived.

    python -m tests.support.store_crash FOLDER calls|moments
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pearrt.crypto.hashes import sha256
from pearrt.store.service import Store

CRASHING = ("open", "write", "rename", "replace", "unlink", "fsync", "close", "mkdir", "ftruncate")
KILLS = 40


def blocks(seed: int, count: int) -> dict[bytes, bytes]:
    chosen = random.Random(seed)
    made = [chosen.randbytes(chosen.choice([1, 100, 5000, 262_144])) for _ in range(count)]
    return {sha256(data): data for data in made}


OLD, NEW, EXTRA = blocks(1, 5), blocks(2, 5), blocks(3, 3)


def update(root: Path) -> None:
    """What an update of an app does to the store: pin, put, sync, forget the old, collect."""
    with Store(root) as store:
        store.pin("app", [*OLD, *NEW])
        for block_id, data in (NEW | EXTRA).items():
            store.put(block_id, data)
        store.sync()
        store.pin("app", NEW)
        store.unpin("gone")
        store.gc()


def prepare(root: Path) -> None:
    with Store(root) as store:
        store.pin("app", OLD)
        store.pin("gone", EXTRA)
        for block_id, data in OLD.items():
            store.put(block_id, data)
        store.sync()


def check(root: Path) -> None:
    """Old or new, never mixed: blocks whole, pins as asked for, no old block lost early."""
    with Store(root) as store:
        known = OLD | NEW | EXTRA
        for block_id, data in known.items():
            if store.has(block_id):
                assert store.get(block_id) == data
        report = store.fsck()
        assert (report.damaged, report.foreign) == ((), ())
        lines = (root / "pins" / "app").read_text().split()
        pinned = {bytes.fromhex(line) for line in lines}
        assert pinned in (set(OLD), set(OLD) | set(NEW), set(NEW)), "a pin that nobody asked for"
        if pinned != set(NEW):
            assert all(store.has(block_id) for block_id in OLD)
        else:
            assert all(store.has(block_id) for block_id in NEW)
        assert set(store.pins()) <= {"app", "gone"}
        assert not list((root / "tmp").iterdir())
        assert not [path for path in (root / "pins").iterdir() if path.name.startswith(".")]
        # A second try goes through.
    update(root)
    with Store(root) as store:
        assert store.pins() == ["app"]
        assert {i for i in OLD | NEW | EXTRA if store.has(i)} == set(NEW)


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a fork; gives its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as e:
            sys.stderr.write(f"{type(e).__name__}: {e}\n")
            os._exit(1)
    return pid


def crash_at(number: int) -> None:
    """Makes the `number`th system call of this process its last; a write gets half way."""
    left = [number]

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for name in CRASHING:
        setattr(os, name, wrap(name, getattr(os, name)))


def every_call(folder: Path) -> int:
    number = 0
    while True:
        number += 1
        root = folder / str(number)
        prepare(root)

        def work(root: Path = root, number: int = number) -> None:
            crash_at(number)
            update(root)

        _, status = os.waitpid(in_child(work), 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return number - 1
        check(root)


def random_moments(folder: Path) -> int:
    chosen = random.Random()
    killed = 0
    while killed < KILLS:
        root = folder / str(killed)
        prepare(root)

        def work(root: Path = root) -> None:
            while True:
                update(root)
                with Store(root) as store:
                    store.pin("app", OLD)
                    for block_id, data in OLD.items():
                        store.put(block_id, data)

        pid = in_child(work)
        time.sleep(chosen.uniform(0, 0.06))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status)
        check_moment(root)
        killed += 1
    return killed


def check_moment(root: Path) -> None:
    """As `check`; the loop also goes back to the old blocks, which it pins before it has them."""
    with Store(root) as store:
        for block_id, data in (OLD | NEW | EXTRA).items():
            if store.has(block_id):
                assert store.get(block_id) == data
        report = store.fsck()
        assert (report.damaged, report.foreign) == ((), ())
        pinned = {bytes.fromhex(line) for line in (root / "pins" / "app").read_text().split()}
        assert pinned in (set(OLD), set(OLD) | set(NEW), set(NEW))
    update(root)


if __name__ == "__main__":
    survived = (every_call if sys.argv[2] == "calls" else random_moments)(Path(sys.argv[1]))
    print(survived)
