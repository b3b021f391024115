"""The floor under any receiver of this shape: the same cipher, hash and files as pearrt, and nothing else.

    python benchmarks/floor.py FILE TARGET      prints {"seconds": …}

One process reads FILE, seals it in records of 64 KiB with AES-256-GCM and sends it; the other receives,
opens, hashes with SHA-256 and writes every 256 KiB as a file of its own. No protocol, no scheduling, no
other peer, one thread each. What pearrt needs beyond this is its own cost; what this needs beyond nginx
+ curl is the price of encrypting and verifying.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pearrt.crypto.aead import AES256GCM, TAG_BYTES
from pearrt.peer.framing import LENGTH_BYTES, MAX_PLAINTEXT_BYTES

BLOCK_BYTES = 256 * 1024
KEY = bytes(32)


def records(size: int) -> Iterator[tuple[int, int, int]]:
    """Offset in the block, offset on the wire and size of the content of each record of one block."""
    sealed = 0
    for at in range(0, size, MAX_PLAINTEXT_BYTES):
        content = min(MAX_PLAINTEXT_BYTES, size - at)
        yield at, sealed + LENGTH_BYTES, content
        sealed += LENGTH_BYTES + content + TAG_BYTES


LAYOUT = list(records(BLOCK_BYTES))
WIRE_BYTES = LAYOUT[-1][1] + LAYOUT[-1][2] + TAG_BYTES


def send(file: Path, port: int) -> None:
    plain, sealed = memoryview(bytearray(BLOCK_BYTES)), memoryview(bytearray(WIRE_BYTES))
    number = 0
    with socket.create_connection(("127.0.0.1", port)) as connection, file.open("rb", buffering=0) as source:
        while source.readinto(plain) == BLOCK_BYTES:
            for at, wire, size in LAYOUT:
                AES256GCM.seal(KEY, number.to_bytes(12), b"", plain[at : at + size], sealed[wire:])
                number += 1
            connection.sendall(sealed)


def receive(connection: socket.socket, target: Path, blocks: int) -> None:
    plain, sealed = memoryview(bytearray(BLOCK_BYTES)), memoryview(bytearray(WIRE_BYTES))
    number = 0
    for block in range(blocks):
        got = 0
        while got < WIRE_BYTES:
            count = connection.recv_into(sealed[got:])
            assert count, "the sender ended early"
            got += count
        for at, wire, size in LAYOUT:
            record = sealed[wire : wire + size + TAG_BYTES]
            AES256GCM.open(KEY, number.to_bytes(12), b"", record, plain[at:])
            number += 1
        digest = hashlib.sha256(plain).hexdigest()
        path = f"{target}/{digest[:2]}/{block}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, plain)
        os.close(fd)


def main() -> None:
    file, target = Path(sys.argv[1]), Path(sys.argv[2])
    for prefix in range(256):
        (target / f"{prefix:02x}").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            send(file, listener.getsockname()[1])
            os._exit(0)
        started = time.perf_counter()
        connection, _ = listener.accept()
        with connection:
            receive(connection, target, file.stat().st_size // BLOCK_BYTES)
        seconds = time.perf_counter() - started
    os.waitpid(child, 0)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
