"""Kills a process that unpacks a tree, at random moments, and looks at what is left. Run as a program:
forking is safe in a process without threads. Prints how many kills it survived.

    python -m tests.support.unpack_crash FOLDER
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from pearrt.bundle.index import Index
from pearrt.bundle.unpack import unpack
from pearrt.bundle.verify import verify_tree
from tests.support.trees import bundle, text, write_tree

KILLS = 20  # that came while it was unpacking
MOST_TRIES = 200


def main(folder: Path) -> int:
    files = {f"d{number % 7}/f{number}": text(number, 20_000) for number in range(150)}
    files["big"] = text(0, 100_000) * 60
    pid = os.fork()  # staging starts threads: let another process do it
    if pid == 0:
        made = bundle(write_tree(folder / "in", files))
        for block_id, data in made.blocks.items():
            (folder / block_id.hex()).write_bytes(data)
        (folder / "index").write_bytes(made.staged.index_bytes)
        os._exit(0)
    os.waitpid(pid, 0)
    took = max(unpack_one(folder, f"whole{number}") for number in range(2))
    kills = tries = 0
    while kills < KILLS and tries < MOST_TRIES:
        kills += kill_one(folder, tries, within=took)
        tries += 1
    return kills


def unpack_one(folder: Path, name: str) -> float:
    """Seconds that a process takes which is left alone."""
    started = time.monotonic()
    os.waitpid(start(folder, folder / "releases" / name), 0)
    return time.monotonic() - started


def start(folder: Path, target: Path) -> int:
    """A process that unpacks; its id."""
    target.parent.mkdir(exist_ok=True)
    pid = os.fork()
    if pid == 0:
        index = Index.parse((folder / "index").read_bytes())
        unpack(index, lambda i: (folder / i.hex()).read_bytes(), target)
        os._exit(0)
    return pid


def kill_one(folder: Path, number: int, *, within: float) -> bool:
    """Whether the kill came while it was unpacking. Whole or absent in any case."""
    index = Index.parse((folder / "index").read_bytes())
    target = folder / "releases" / str(number)
    pid = start(folder, target)
    time.sleep(random.Random().uniform(0, within))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if target.exists():
        assert verify_tree(index, target) == []
    left = [path.name for path in target.parent.iterdir() if path.name.startswith(f".{number}.")]
    assert len(left) <= (not target.exists())
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
