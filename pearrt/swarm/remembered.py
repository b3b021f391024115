"""What outlives a restart: addresses of peers that answered, per topic, and bans. A shell around two small
files.

Both are memory aids: a damaged or missing file counts as empty.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.codec import bencode
from pearrt.errors import RemoteError, StoreError
from pearrt.swarm.reputation import MAX_FILE_BYTES, Reputation
from pearrt.swarm.scope import Address, Scope, scope_of

MAX_TOPICS = 500
MAX_PER_TOPIC = 32
PEERS_FILE = "swarm-peers.benc"
BANS_FILE = "swarm-bans.benc"


class Remembered:
    """The memory of a SwarmService. `folder` None: nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._peers: dict[bytes, list[Address]] = {}
        self._written: dict[str, bytes] = {}

    def peers(self, topic: bytes) -> list[Address]:
        """Addresses where peers of the topic answered, last time."""
        return list(self._peers.get(topic, ()))

    def keep(self, topic: bytes, addresses: list[Address]) -> None:
        """Remembers the addresses of one topic; none leaves what is there."""
        if addresses:
            self._peers.pop(topic, None)
            self._peers[topic] = addresses[:MAX_PER_TOPIC]
            if len(self._peers) > MAX_TOPICS:
                del self._peers[next(iter(self._peers))]

    def load(self, now: float) -> Reputation:
        """Reads both files. `now` is wall-clock time."""
        with contextlib.suppress(RemoteError, KeyError, TypeError, ValueError, AttributeError):
            for topic, addresses in bencode.decode(self._read(PEERS_FILE), max_depth=4).items():
                good = [(host.decode(), int(port)) for host, port in addresses[:MAX_PER_TOPIC]]
                self._peers.setdefault(topic, [a for a in good if scope_of(a[0]) is not Scope.NONE])
        return Reputation.decode(self._read(BANS_FILE), now)

    def save(self, reputation: Reputation, now: float) -> None:
        """Writes what changed. Raises StoreError where the disk refuses."""
        peers = {topic: [[host, port] for host, port in known] for topic, known in self._peers.items()}
        self._write(PEERS_FILE, bencode.encode(peers))
        self._write(BANS_FILE, reputation.encode(now))

    def _write(self, name: str, data: bytes) -> None:
        if self._folder is not None and self._written.get(name) != data:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as e:
                raise StoreError(f"Cannot make {self._folder}: {e.strerror}.") from e
            write_file(self._folder / name, data)
            self._written[name] = data

    def _read(self, name: str) -> bytes:
        if self._folder is None:
            return b""
        try:
            with (self._folder / name).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError:
            return b""
        self._written[name] = data
        return data
