"""Peers for tests: links between two services on loopback, and pure connections without any network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pearrt.crypto.noise import AESGCM_SHA256
from pearrt.errors import PearrtError
from pearrt.peer.connection import Connection, Event
from pearrt.peer.handshake import Handshake, Identity
from pearrt.peer.limits import PeerLimits
from pearrt.peer.link import PeerLink
from pearrt.peer.messages import Hello, Message
from pearrt.peer.service import PeerService

LOOPBACK = ("127.0.0.1", 0)
HAS_AES = AESGCM_SHA256.cipher.available
needs_aes = pytest.mark.skipif(not HAS_AES, reason="not applicable: this CPU has no AES instructions")


class Recorder:
    """A LinkReceiver that remembers; `wait(condition)` waits until what it remembers fulfils it."""

    def __init__(self) -> None:
        self.links: list[PeerLink] = []
        self.messages: list[Message] = []
        self.lost: list[tuple[PeerLink, PearrtError | None]] = []
        self.ready = 0
        self.on_message: Callable[[PeerLink, Message], None] | None = None
        self._changed = asyncio.Event()

    def on_link(self, link: PeerLink) -> None:
        link.receiver = self
        self.links.append(link)
        self._changed.set()

    def message_received(self, link: PeerLink, message: Message) -> None:
        self.messages.append(message)
        self._changed.set()
        if self.on_message:
            self.on_message(link, message)

    def link_ready(self, link: PeerLink) -> None:
        self.ready += 1
        self._changed.set()

    def link_lost(self, link: PeerLink, error: PearrtError | None) -> None:
        self.lost.append((link, error))
        self._changed.set()

    async def wait(self, condition: Callable[[], object], timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def peer(recorder: Recorder | None = None, **options: Any) -> AsyncIterator[PeerService]:
    """A running PeerService with a fresh identity on loopback."""
    settings: dict[str, Any] = {"identity_seed": os.urandom(32), "bind": LOOPBACK, "agent": "test"}
    settings |= options
    if recorder is not None:
        settings["on_link"] = recorder.on_link
    async with PeerService(**settings) as service:
        yield service


class Lines:
    """Two pure connections joined by lines of our own: nothing moves until `exchange`."""

    def __init__(
        self,
        *,
        psks: tuple[bytes, bytes] = (b"", b""),
        aes: tuple[bool, bool] = (HAS_AES, HAS_AES),
        seeds: tuple[bytes, bytes] = (b"a" * 32, b"b" * 32),
        limits: PeerLimits | None = None,
    ) -> None:
        self.now = 1000.0
        self.limits = limits or PeerLimits()
        self.sides = [
            Connection(
                Handshake(
                    Identity.create(seed, os.urandom(32)),
                    initiator=initiator,
                    random_bytes=os.urandom,
                    psk=psk,
                    aes=aes_here,
                ),
                Hello("pure", 4000 + initiator),
                self.limits,
                self.now,
            )
            for initiator, seed, psk, aes_here in zip((True, False), seeds, psks, aes, strict=True)
        ]
        self.events: list[list[Event]] = [[], []]
        self.mangle: Callable[[int, bytes], bytes] = lambda _side, data: data

    def pull(self, side: int) -> bytes:
        """Everything that this side has to send now, sent through `mangle`."""
        pieces = []
        while (piece := self.sides[side].to_send()) is not None:
            pieces.append(bytes(piece))
        data = b"".join(pieces)
        return self.mangle(side, data) if data else b""

    def push(self, side: int, data: bytes, step: int = 1 << 20) -> None:
        """Gives bytes to this side, at most `step` at a time."""
        while data:
            room = self.sides[side].room()
            size = min(len(room), len(data), step)
            room[:size] = data[:size]
            data = data[size:]
            self.events[side] += self.sides[side].received(size, self.now)

    def exchange(self, step: int = 1 << 20) -> None:
        """Moves bytes in both directions until neither side has any."""
        moved = True
        while moved:
            moved = False
            for side in (0, 1):
                data = self.pull(side)
                if data:
                    moved = True
                    self.push(1 - side, data, step)
