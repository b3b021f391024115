"""`python -m pearrt.daemon`: the daemon in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence

from pearrt import __version__
from pearrt.daemon.service import Daemon
from pearrt.daemon.successor import INHERIT
from pearrt.errors import Locked, PearrtError
from pearrt.paths import Home
from pearrt.runtime.handover import Item, Line, close_all
from pearrt.runtime.starts import EXIT_LOCKED
from pearrt.settings import Settings

INHERIT_TIMEOUT_S = 900.0  # the other one waits until nothing is under way that writes


async def serve(home: Home, settings: Settings, line: Line | None = None) -> None:
    """Runs one daemon until SIGTERM, SIGINT, its API or idleness ends it. `line`: to the daemon that it takes
    over from."""
    inherited = [] if line is None else await asyncio.to_thread(_inherit, line)
    async with contextlib.AsyncExitStack() as parts:
        parts.callback(close_all, inherited)
        daemon = await parts.enter_async_context(Daemon(home, settings, inherited))
        if line is not None:
            daemon.self_update.line = line
            with contextlib.suppress(PearrtError):  # it may have gone: then there is nobody to tell
                line.send("serving")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, daemon.stop)
        await daemon.stopped()


def _loop() -> asyncio.AbstractEventLoop:
    """One that can wait for any socket: on Windows it is not the usual one."""
    return asyncio.SelectorEventLoop()


def _inherit(line: Line) -> list[Item]:
    """Tells the daemon before this one that it may pass things on, and takes them."""
    line.send("ready", pid=os.getpid(), version=__version__)
    return line.receive_all(INHERIT_TIMEOUT_S)


def main(argv: Sequence[str] = ()) -> int:
    """The process: 0 after a clean stop, else the exit code of the error. `--inherit FD`: the descriptor of
    the line to the daemon that this one takes over from."""
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("PEARRT_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    home = Home.from_environment()
    try:
        line = Line(socket.socket(fileno=int(argv[1]))) if argv[:1] == [INHERIT] else None
        with contextlib.nullcontext() if line is None else line, asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(serve(home, Settings.load(home), line))
    except PearrtError as e:
        sys.stderr.write(f"error: {e.message}\n" + (f"hint: {e.hint}\n" if e.hint else ""))
        return EXIT_LOCKED if isinstance(e, Locked) else e.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
