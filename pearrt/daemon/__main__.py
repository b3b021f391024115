"""`python -m pearrt.daemon`: the daemon in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys

from pearrt.daemon.client import EXIT_LOCKED
from pearrt.daemon.service import Daemon
from pearrt.errors import Locked, PearrtError
from pearrt.paths import Home
from pearrt.settings import Settings


async def serve(home: Home, settings: Settings) -> None:
    """Runs one daemon until SIGTERM, SIGINT, its API or idleness ends it."""
    async with Daemon(home, settings) as daemon:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, daemon.stop)
        await daemon.stopped()


def main() -> int:
    """The process: 0 after a clean stop, else the exit code of the error."""
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("PEARRT_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    home = Home.from_environment()
    try:
        asyncio.run(serve(home, Settings.load(home)))
    except PearrtError as e:
        sys.stderr.write(f"error: {e.message}\n" + (f"hint: {e.hint}\n" if e.hint else ""))
        return EXIT_LOCKED if isinstance(e, Locked) else e.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
