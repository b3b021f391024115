"""What one daemon process passes to the next over their private socket pair: descriptors and facts.

A message is one byte that carries the descriptor, if there is one, then u32 length, then that many bytes of
JSON: {"kind": text, …}, at most 64 KiB. Both ends are this user's own processes, yet of different versions:
unknown fields and unknown kinds are left aside, and everything is bounded.

    new -> old   ready {pid, version}      loaded and able to read this home; nothing is touched yet
    old -> new   lock                      the store's lock
                 tcp, udp                  listening socket of the peers, socket of the DHT; one message each
                 api, apps                 listening Unix sockets of the local API and of the apps
                 token {…}                 an app's start that was issued and not begun
                 channel {…}               a running app's connection; `attendant` {…}, its `pearrt run`
                 end                       that was all
    new -> old   serving                   all of it is in use; the old one lets go
                 confirmed                 it stands; the old one may end
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pearrt.errors import PeerTimeout, ProtocolViolation, Unreachable

MAX_MESSAGE_BYTES = 64 * 1024
MAX_MESSAGES = 4096
END = "end"


@dataclass(slots=True)
class Item:
    """One message. `fd` is the receiver's to close; -1 where there is none."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    fd: int = -1

    def take(self) -> int:
        """The descriptor, which is the caller's from now on."""
        fd, self.fd = self.fd, -1
        return fd

    def socket(self) -> socket.socket:
        """The descriptor as a socket, which is the caller's from now on."""
        return socket.socket(fileno=self.take())

    def duplicate(self) -> Item:
        """The same with a second descriptor."""
        return Item(self.kind, self.fields, os.dup(self.fd) if self.fd >= 0 else -1)

    def close(self) -> None:
        """Closes a descriptor that nobody took."""
        if self.fd >= 0:
            os.close(self.take())


class Line:
    """One end of the pair; blocking, for use in a thread. A context manager that closes it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    @classmethod
    def pair(cls) -> tuple[Line, socket.socket]:
        """This end, and the one for the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def send(self, kind: str, fd: int = -1, **fields: Any) -> None:
        """Raises Unreachable when the other process has gone, ProtocolViolation for what is too long."""
        body = json.dumps({"kind": kind, **fields}).encode()
        if len(body) > MAX_MESSAGE_BYTES:
            raise ProtocolViolation(f"A hand-over message of {len(body)} bytes.")
        try:
            self.connection.settimeout(10.0)
            socket.send_fds(self.connection, [b"\x01" if fd >= 0 else b"\x00"], [fd] if fd >= 0 else [])
            self.connection.sendall(len(body).to_bytes(4) + body)
        except OSError as e:
            raise Unreachable(f"The other daemon has gone: {e.strerror or e}.") from e

    def send_all(self, items: list[Item]) -> None:
        """What is to be passed on, and the end. The descriptors stay open here."""
        for item in items:
            self.send(item.kind, item.fd, **item.fields)
        self.send(END)

    def receive(self, timeout_s: float) -> Item:
        """The next message. Raises PeerTimeout, Unreachable at the end of the stream, ProtocolViolation."""
        deadline = time.monotonic() + timeout_s
        self.connection.settimeout(timeout_s)
        try:
            mark, fds, _, _ = socket.recv_fds(self.connection, 1, 1)
        except TimeoutError as e:
            raise PeerTimeout(f"The other daemon said nothing for {timeout_s:.0f} s.") from e
        except OSError as e:
            raise Unreachable(f"The other daemon has gone: {e.strerror or e}.") from e
        if not mark:
            raise Unreachable("The other daemon has gone.")
        fd = fds[0] if fds else -1
        try:
            if fd >= 0:
                os.set_inheritable(fd, False)
            length = int.from_bytes(self._exactly(4, deadline))
            if length > MAX_MESSAGE_BYTES:
                raise ProtocolViolation(f"A hand-over message of {length} bytes.")
            fields = json.loads(self._exactly(length, deadline))
            if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
                raise ProtocolViolation("A hand-over message names no kind.")
            if (mark == b"\x01") != (fd >= 0):
                raise ProtocolViolation("A hand-over message lost its descriptor.")
        except ValueError as e:
            _close(fd)
            raise ProtocolViolation("A hand-over message is no JSON.") from e
        except BaseException:
            _close(fd)
            raise
        return Item(fields.pop("kind"), fields, fd)

    def expect(self, kind: str, timeout_s: float) -> Item:
        """The next message of this kind; others are left aside. Raises as `receive`."""
        deadline = time.monotonic() + timeout_s
        while True:
            item = self.receive(max(0.001, deadline - time.monotonic()))
            if item.kind == kind:
                return item
            item.close()

    def receive_all(self, timeout_s: float) -> list[Item]:
        """What the other process passes on, up to the end. Raises as `receive`; nothing stays open then."""
        deadline = time.monotonic() + timeout_s
        items: list[Item] = []
        try:
            while (item := self.receive(max(0.001, deadline - time.monotonic()))).kind != END:
                items.append(item)
                if len(items) > MAX_MESSAGES:
                    raise ProtocolViolation("A hand-over without end.")
        except BaseException:
            close_all(items)
            raise
        return items

    def _exactly(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            self.connection.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                part = self.connection.recv(size - len(data))
            except TimeoutError as e:
                raise PeerTimeout("The other daemon stopped in the middle of a message.") from e
            except OSError as e:
                raise Unreachable(f"The other daemon has gone: {e.strerror or e}.") from e
            if not part:
                raise Unreachable("The other daemon has gone in the middle of a message.")
            data += part
        return bytes(data)


def close_all(items: list[Item]) -> None:
    """Closes the descriptors that nobody took."""
    for item in items:
        item.close()


def of_kind(items: Sequence[Item], kind: str) -> Iterator[Item]:
    """Those items of one kind, in order."""
    return (item for item in items if item.kind == kind)


def _close(fd: int) -> None:
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)
