"""Where the daemon listens for its user's programs, and how they get in.

A Unix socket in a private folder: the folder and the kernel say who connects. Where Python has none
(Windows): a port of 127.0.0.1, and in the socket's place a file with that port and a secret. Every user of
the machine can connect to a port, and so can a page in a browser; so both ends show that they know the
secret, and never the secret itself, before anything else is said:

    caller    32 bytes, drawn
    daemon    32 bytes, drawn; HMAC-SHA256(secret, DAEMON + caller's 32 + daemon's 32)
    caller    HMAC-SHA256(secret, CALLER + caller's 32 + daemon's 32)

Whoever takes the port of a daemon that has gone learns nothing by it and is not spoken to. The file is as
private as the folder that it lies in, which on Windows is what the user's profile makes of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import socket
import time
from pathlib import Path

from pearrt.atomic import read_file, write_file
from pearrt.errors import Unreachable

DRAWN_BYTES = PROOF_BYTES = SECRET_BYTES = 32
DAEMON, CALLER = b"pearrt-daemon\0", b"pearrt-caller\0"
TIMEOUT_S = 10.0


def by_port() -> bool:
    """Whether this system has no Unix sockets for us."""
    return not hasattr(socket, "AF_UNIX")


def listen(path: Path) -> tuple[socket.socket, bytes]:
    """A new listening socket, this user's alone, and its secret: empty where the kernel says who connects.
    Raises Unreachable.

    It is bound here, not by a library that would remove it when it closes: it may have been passed on by
    then.
    """
    try:
        return _listen_by_port(path) if by_port() else (_listen_at(path), b"")
    except OSError as e:  # its name is too long, say
        raise Unreachable(
            f"Cannot listen at {path}: {e.strerror or e}.", hint="PEARRT_HOME can name another folder."
        ) from e


def _listen_at(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(os.fspath(path))
        path.chmod(0o600)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_by_port(path: Path) -> tuple[socket.socket, bytes]:
    sock, secret = socket.socket(socket.AF_INET, socket.SOCK_STREAM), secrets.token_bytes(SECRET_BYTES)
    try:
        if (exclusive := getattr(socket, "SO_EXCLUSIVEADDRUSE", None)) is not None:
            sock.setsockopt(socket.SOL_SOCKET, exclusive, 1)  # else another program could share the port
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        write_file(path, json.dumps({"port": sock.getsockname()[1], "secret": secret.hex()}).encode())
    except BaseException:
        sock.close()
        raise
    return sock, secret


def connect(path: Path) -> socket.socket:
    """A connection to whoever listens at `path`, who has shown to be the daemon. Raises OSError."""
    if by_port():
        return _connect_by_port(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(os.fspath(path))
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_by_port(path: Path) -> socket.socket:
    port, secret = _read(path)
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    try:
        ours = secrets.token_bytes(DRAWN_BYTES)
        sock.sendall(ours)
        answer = _receive(sock, DRAWN_BYTES + PROOF_BYTES)
        theirs, shown = answer[:DRAWN_BYTES], answer[DRAWN_BYTES:]
        if not hmac.compare_digest(shown, proof(secret, DAEMON, ours, theirs)):
            raise ConnectionRefusedError("it is not the daemon that listens there")
        sock.sendall(proof(secret, CALLER, ours, theirs))
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def proof(secret: bytes, who: bytes, callers: bytes, daemons: bytes) -> bytes:
    """What shows that `who` knows the secret; both drew 32 bytes for it."""
    return hmac.new(secret, who + callers + daemons, hashlib.sha256).digest()


def _read(path: Path) -> tuple[int, bytes]:
    try:
        fields = json.loads(read_file(path))
        return int(fields["port"]), bytes.fromhex(fields["secret"])
    except (ValueError, KeyError, TypeError) as e:
        raise ConnectionRefusedError(f"{path} does not say where the daemon listens") from e


def _receive(sock: socket.socket, size: int) -> bytes:
    data, deadline = b"", time.monotonic() + TIMEOUT_S
    while len(data) < size:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        part = sock.recv(size - len(data))
        if not part:
            raise ConnectionResetError("it closed the connection")
        data += part
    return data
