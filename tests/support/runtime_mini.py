"""A daemon of one socket: what a hand-over passes on, without all that a real one carries, so that many
hand-overs can be killed. It runs as a version's tree would, from `start.py` of that tree.

    start.py pearrt.daemon [--inherit FD]

It answers every connection with the name of its tree. As the confirmed version it hands over to the version
on trial as soon as there is one; on trial it confirms itself after TRIAL_S, or falls over, if its tree holds
a file `falls`. The succession is the product's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from pathlib import Path

from pearrt.daemon.succession import succeed
from pearrt.daemon.successor import INHERIT
from pearrt.errors import PearrtError
from pearrt.runtime import starts
from pearrt.runtime import state as states
from pearrt.runtime.handover import Item, Line, close_all, of_kind
from pearrt.runtime.layout import RuntimeFolder
from pearrt.store.lock import ProcessLock

TRIAL_S = 0.1
STUB = """import sys
sys.path[:0] = {path!r}
from pathlib import Path
from tests.support.runtime_mini import main
main(Path(__file__).parents[2], sys.argv[2:])
"""


def write_stub(tree: Path, *, falls: bool = False) -> None:
    """A version's tree that runs this."""
    starter = tree / "pearrt" / "runtime" / "start.py"
    starter.parent.mkdir(parents=True)
    root = str(Path(__file__).resolve().parents[2])
    starter.write_text(STUB.format(path=[root, *(p for p in sys.path if p.endswith("site-packages"))]))
    if falls:
        (tree / "falls").touch()


class Mini:
    """One such daemon; a `succession.Predecessor`."""

    def __init__(self, tree: Path, line: Line | None) -> None:
        self.name, self.falls = tree.name, (tree / "falls").exists()
        self.home = tree.parents[3]
        self.folder = RuntimeFolder(self.home)
        self.line = line
        self.lock = ProcessLock(self.home / "lock")
        self.over = asyncio.Event()

    async def serve(self) -> None:
        items = [] if self.line is None else await asyncio.to_thread(self._inherit)
        if self.line is None:
            self.lock.acquire()
            (self.home / "sock").unlink(missing_ok=True)
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(str(self.home / "sock"))
        else:
            self.lock.adopt(next(of_kind(items, "lock")).take())
            self.listener = next(of_kind(items, "api")).socket()
        close_all(items)
        self.server = await asyncio.start_unix_server(self._answer, sock=self.listener)
        self._tell("serving")
        work = asyncio.create_task(self._prove() if self._on_trial() else self._hand_over())
        await self.over.wait()
        work.cancel()

    def _inherit(self) -> list[Item]:
        assert self.line is not None
        self.line.send("ready")
        return self.line.receive_all(10)

    def _tell(self, kind: str) -> None:
        if self.line is not None:
            try:
                self.line.send(kind)
            except PearrtError:
                self.line = None

    def _on_trial(self) -> bool:
        return self.folder.read().trial == self.name

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.name.encode())
        writer.close()

    async def _prove(self) -> None:
        await asyncio.sleep(TRIAL_S)
        if self.falls:
            os._exit(3)
        self.folder.edit(lambda state: states.confirm(state, self.name))
        self._tell("confirmed")

    async def _hand_over(self) -> None:
        while not (trial := self.folder.read().trial):
            await asyncio.sleep(0.01)
        if await succeed(self, self.folder, trial, trial_s=TRIAL_S):
            self.over.set()

    # -- the predecessor's part

    async def quiet(self) -> None:
        return

    async def pass_on(self) -> list[Item]:
        items = [Item("api", {}, os.dup(self.listener.fileno())), Item("lock", {}, os.dup(self.lock.fd))]
        self.lock.disown()
        return items

    async def let_go(self) -> None:
        self.server.close()

    async def drain(self) -> None:
        return


def main(tree: Path, arguments: list[str]) -> None:
    line = Line(socket.socket(fileno=int(arguments[1]))) if arguments[:1] == [INHERIT] else None
    threading.excepthook = lambda _: None  # a wait in a thread whose line was closed under it

    async def run() -> None:
        await Mini(tree, line).serve()

    folder = RuntimeFolder(tree.parents[3])
    watch = starts.watched(folder.starts, tree.name, on_trial=folder.read().trial == tree.name)
    try:
        with watch if line is None else contextlib.nullcontext():
            asyncio.run(run())
    except PearrtError as e:
        sys.exit(f"{e.message}")
