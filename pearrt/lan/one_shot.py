"""One-shot mDNS: asks the LAN once who is there, with the standard library alone (RFC 6762, 5.1 and 6.7).

The question goes out from an ordinary port, so responders answer that port directly and nothing has to listen
on 5353. Finds what `LanService` advertises. A machine where multicast does not work finds nobody; that is no
error. IPv4, as `LanService`.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

from pearrt.errors import RemoteError
from pearrt.lan.advertisement import SERVICE_TYPE, Address, usable_addresses
from pearrt.lan.dns_message import MAX_MESSAGE_BYTES, instances, question

GROUP, PORT = "224.0.0.251", 5353
MAX_INTERFACES = 16
MAX_ANSWERS = 256


def ask(mdns: str, *, timeout_s: float = 1.5) -> Iterator[Address]:
    """Addresses of peers as their answers come in, until the time is over. `mdns`: off, loopback or all."""
    message_id = secrets.randbelow(0xFFFF) + 1
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(sock) for sock in _sockets(mdns)]
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.sendto(question(SERVICE_TYPE, message_id), (GROUP, PORT))
        deadline = time.monotonic() + timeout_s
        seen: set[Address] = set()
        for _ in range(MAX_ANSWERS if sockets else 0):
            ready, _, _ = select.select(sockets, [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return
            for sock in ready:
                for address in _answer(sock, message_id):
                    if address not in seen:
                        seen.add(address)
                        yield address


def _answer(sock: socket.socket, message_id: int) -> list[Address]:
    try:
        message, sender = sock.recvfrom(MAX_MESSAGE_BYTES + 1)
        found = instances(message, SERVICE_TYPE, message_id)
    except (OSError, RemoteError):
        return []
    return [
        address
        for instance in found
        for address in usable_addresses(instance.hosts or (sender[0],), instance.port, instance.properties)
    ]


def _sockets(mdns: str) -> Iterator[socket.socket]:
    """One socket for each interface that a question can leave by."""
    if mdns == "loopback":
        choices = [("127.0.0.1", socket.inet_aton("127.0.0.1"))]
    elif mdns == "all":
        choices = [("0.0.0.0", _by_number(number)) for number, _ in _interfaces()]  # noqa: S104
    else:
        return
    for bind, interface in choices:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            sock.bind((bind, 0))
        except OSError:
            sock.close()
        else:
            yield sock


def _interfaces() -> list[tuple[int, str]]:
    try:
        return socket.if_nameindex()[:MAX_INTERFACES]
    except (AttributeError, OSError):
        return []


def _by_number(number: int) -> bytes:
    """What IP_MULTICAST_IF takes to mean the interface with this number: Linux and macOS have `ip_mreqn`,
    Windows an address 0.0.0.number."""
    return struct.pack(">I", number) if sys.platform == "win32" else struct.pack("=4s4si", b"", b"", number)
