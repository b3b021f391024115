"""Messages to the same app on other machines. Needs the permission `p2p = ["join"]`.

A circle is a name that some of them agree on: who runs the app and knows the name is in.

    with sdk.p2p.join("table 4") as circle:
        circle.send(b"hello")
        for heard in circle:
            if isinstance(heard, sdk.p2p.Message):
                print(heard.peer[:8], heard.data)

Messages are bytes, 16 KiB at most, encrypted on the way between machines, and may be lost: where nobody
reads, where somebody sends too fast, while machines find each other. Who sent a message is the machine called
`peer`, a name of its own in each circle; whether it runs the app as its signers made it cannot be known.
"""

from __future__ import annotations

import contextlib
import queue
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from pearrt.sdk.channel import MAX_UNREAD_EVENTS, channel
from pearrt.sdk.errors import Denied, Error, NotConnected

MAX_MESSAGE_BYTES = 16 * 1024


@dataclass(frozen=True)
class Message:
    """What `peer` said."""

    peer: str
    data: bytes


@dataclass(frozen=True)
class Presence:
    """`peer` has come, or gone."""

    peer: str
    here: bool


class Circle:
    """A joined circle: a context manager that leaves it, an iterator of what is heard. Made by `join`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._present = Present(name)
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue(MAX_UNREAD_EVENTS)
        channel().listen(self._listen)
        try:
            channel().call("p2p.join", circle=name).result()
        except BaseException:
            channel().unlisten(self._listen)
            raise

    def _listen(self, event: dict[str, Any]) -> None:
        if not self._present.concerns(event):
            return
        while True:  # what nobody takes pushes out the oldest
            try:
                self._heard.put_nowait(event)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._heard.get_nowait()

    def send(self, data: bytes, peer: str = "") -> int:
        """Says it to one peer, or to all; gives to how many it went out, which is not how many heard it.

        Raises TooMuch for more than MAX_MESSAGE_BYTES, Denied when the permission was revoked.
        """
        return sent(channel().call("p2p.send", **message(self.name, data, peer)).result())

    def peers(self) -> tuple[str, ...]:
        """Who is there now."""
        return tuple(channel().call("p2p.peers", circle=self.name).result()["peers"])

    def receive(self, timeout_s: float | None = None) -> Message | Presence:
        """Waits for the next. Raises sdk.Error after `timeout_s`, NotConnected when the daemon has gone,
        Denied when the permission was revoked."""
        try:
            return heard(self._heard.get(timeout=timeout_s))
        except queue.Empty:
            raise Error(f"Nothing was heard within {timeout_s} s.", code="peer-timeout") from None

    def leave(self) -> None:
        channel().unlisten(self._listen)
        channel().call("p2p.leave", circle=self.name).result()

    def __enter__(self) -> Circle:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Error):
            self.leave()

    def __iter__(self) -> Circle:
        return self

    def __next__(self) -> Message | Presence:
        return self.receive()


def join(name: str) -> Circle:
    """Joins a circle, whose name has 1 to 64 bytes. Who is there already is heard first.

    Raises Denied without the permission, TooMuch for too many circles.
    """
    return Circle(name)


class Present:
    """Who is in a circle as far as was told: the daemon tells it anew to each who joins in one process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._here: set[str] = set()

    def concerns(self, event: dict[str, Any]) -> bool:
        """Whether an event of the channel is news for who is in this circle."""
        kind = event.get("event")
        if kind == "p2p.message":
            return event.get("circle") == self.name
        if kind != "p2p.peer":
            return kind == "ended" or (kind == "permission-revoked" and event.get("permission") == "p2p")
        peer, here = str(event.get("peer")), event.get("here") is True
        if event.get("circle") != self.name or (peer in self._here) is here:
            return False
        (self._here.add if here else self._here.discard)(peer)
        return True


def heard(event: dict[str, Any]) -> Message | Presence:
    """The event as a value. Raises NotConnected, Denied."""
    if event["event"] == "ended":
        raise NotConnected("The daemon has gone.", code="unreachable")
    if event["event"] == "permission-revoked":
        raise Denied("The person took the permission p2p back.", code="denied")
    if event["event"] == "p2p.peer":
        return Presence(str(event["peer"]), event["here"] is True)
    return Message(str(event["peer"]), b64decode(event["data"]))


def message(name: str, data: bytes, peer: str) -> dict[str, Any]:
    """The fields of a `p2p.send` call."""
    return {"circle": name, "data": b64encode(data).decode(), "peer": peer}


def sent(result: dict[str, Any]) -> int:
    return int(result["sent"])
