"""The next daemon process, from the side of the one that starts it: spawned, told, watched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pearrt.errors import PearrtError
from pearrt.runtime.handover import Item, Line
from pearrt.runtime.layout import command

INHERIT = "--inherit"
READY_TIMEOUT_S = 30.0
SERVING_TIMEOUT_S = 30.0
KILL_TIMEOUT_S = 5.0
ENDING_S = 0.3


class Successor:
    """A daemon of the version `digest` that was started to take over. Its methods wait in threads."""

    def __init__(self, process: subprocess.Popen[bytes], line: Line) -> None:
        self.process = process
        self.line = line

    @classmethod
    async def spawn(cls, data: Path, digest: str, environ: Mapping[str, str]) -> Successor:
        """Starts it and waits until it is loaded and able to read this home. Raises PearrtError, and nothing
        is left of it then."""
        line, theirs = Line.pair()
        try:
            process = await asyncio.to_thread(_start, data, digest, environ, theirs)
        except OSError as e:
            line.close()
            raise PearrtError(f"It does not start: {e.strerror or e}.") from e
        finally:
            theirs.close()
        successor = cls(process, line)
        try:
            await asyncio.to_thread(line.expect, "ready", READY_TIMEOUT_S)
        except BaseException:
            await successor.kill()
            raise
        return successor

    async def take_over(self, items: list[Item]) -> None:
        """Passes everything on and waits until all of it is in use. Raises PearrtError."""
        await asyncio.to_thread(self.line.send_all, items)
        await asyncio.to_thread(self.line.expect, "serving", SERVING_TIMEOUT_S)

    async def confirmed(self, timeout_s: float) -> None:
        """Waits until it stands. Raises PearrtError when it ends or says nothing."""
        await asyncio.to_thread(self.line.expect, "confirmed", timeout_s)

    def give_up_waiting(self) -> None:
        """Ends what waits in a thread; the process goes on alone."""
        with contextlib.suppress(OSError):
            self.line.connection.shutdown(socket.SHUT_RDWR)

    async def kill(self) -> None:
        """Makes sure that it is gone. A process that cannot take over must not linger."""
        self.process.kill()
        await asyncio.to_thread(self.process.wait, KILL_TIMEOUT_S)
        self.line.close()

    @property
    def ended_well(self) -> bool:
        """Whether it has ended because it was to."""
        return self.process.poll() == 0

    def how_it_ended(self) -> str:
        """In words; "" while it runs."""
        try:
            code = self.process.wait(ENDING_S)  # its line may end a little before it does
        except subprocess.TimeoutExpired:
            return ""
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def _start(
    data: Path, digest: str, environ: Mapping[str, str], theirs: socket.socket
) -> subprocess.Popen[bytes]:
    arguments = [INHERIT, str(theirs.fileno())]
    return subprocess.Popen(
        command(data, digest, arguments, module="pearrt.daemon"),
        stdin=subprocess.DEVNULL,
        env=dict(environ),
        cwd="/",
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )


def tell_service_manager(pid: int) -> None:
    """Under systemd (sd_notify(3)): the service is that process from now on."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(f"MAINPID={pid}".encode(), address)
