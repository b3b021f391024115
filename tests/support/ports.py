"""Port numbers for tests: below the ephemeral range, so that no outgoing connection takes them in between,
and in a range of its own for each xdist worker."""

from __future__ import annotations

import os
import random
import socket

FIRST, LAST, WORKERS = 20_000, 32_000, 8

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
_width = (LAST - FIRST) // WORKERS
_candidates = list(range(FIRST + _worker * _width, FIRST + (_worker + 1) * _width))
random.Random(os.getpid()).shuffle(_candidates)


def unused_port() -> int:
    """A port that is free on 127.0.0.1 for TCP and UDP."""
    while _candidates:
        port = _candidates.pop()
        if _is_free(port, socket.SOCK_STREAM) and _is_free(port, socket.SOCK_DGRAM):
            return port
    raise RuntimeError("no free port left")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
