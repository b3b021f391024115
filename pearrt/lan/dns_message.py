"""DNS messages as mDNS service discovery needs them: one question out, answers in. Pure, bounded.

What is read of an answer: PTR, SRV, TXT, A and AAAA records of one service type (RFC 6763). A name has at
most 255 bytes, and a compression pointer may only lead backwards (RFC 1035, 4.1.4), so that no message can
make the reader go round. Raises ProtocolViolation or LimitExceeded for anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from pearrt.errors import LimitExceeded, ProtocolViolation

MAX_MESSAGE_BYTES = 9000  # RFC 6762, section 17
MAX_RECORDS = 256
MAX_NAME_BYTES = 255
A, PTR, TXT, AAAA, SRV = 1, 12, 16, 28, 33
IN = 1
_HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">2HIH")
_RESPONSE = 0x8000
_CACHE_FLUSH = 0x8000


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of the service: where it listens, and its TXT record's keys."""

    name: str
    hosts: tuple[str, ...]
    port: int
    properties: Mapping[bytes, bytes | None]


def question(name: str, message_id: int) -> bytes:
    """Asks for the PTR records of `name`."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(message_id, 0, 1, 0, 0, 0) + wire + struct.pack(">2H", PTR, IN)


def instances(message: bytes, service_type: str, message_id: int) -> list[Instance]:
    """The instances that a response with this id (or 0, as multicast ones have) tells of."""
    records = list(_records(message, message_id))
    service_type = service_type.lower()
    names = {_name(message, at)[0] for owner, kind, at, _ in records if (owner, kind) == (service_type, PTR)}
    found = []
    for name in sorted(names):
        services = [
            _service(message, at, end) for owner, kind, at, end in records if (owner, kind) == (name, SRV)
        ]
        texts = [
            _properties(message[at:end]) for owner, kind, at, end in records if (owner, kind) == (name, TXT)
        ]
        for port, target in services[:1]:
            hosts = tuple(
                str(ip_address(message[at:end]))
                for owner, kind, at, end in records
                if owner == target and (kind, end - at) in ((A, 4), (AAAA, 16))
            )
            found.append(Instance(name, hosts, port, texts[0] if texts else {}))
    return found


def _records(message: bytes, message_id: int) -> Iterator[tuple[str, int, int, int]]:
    """(owner, type, begin, end) of every record of class IN behind the questions."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise LimitExceeded(f"a DNS message of {len(message)} bytes, at most {MAX_MESSAGE_BYTES} are allowed")
    if len(message) < _HEADER.size:
        raise ProtocolViolation("a DNS message without a whole header")
    given_id, flags, questions, *counts = _HEADER.unpack_from(message)
    if given_id not in (0, message_id) or not flags & _RESPONSE:
        raise ProtocolViolation("a DNS message that answers another question")
    if questions + sum(counts) > MAX_RECORDS:
        raise LimitExceeded(f"a DNS message of more than {MAX_RECORDS} records")
    at = _HEADER.size
    for _ in range(questions):
        at = _name(message, at)[1] + 4
    for _ in range(sum(counts)):
        owner, at = _name(message, at)
        if at + _RECORD.size > len(message):
            raise ProtocolViolation("a DNS record that is cut off")
        kind, dns_class, _, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size
        if at + length > len(message):
            raise ProtocolViolation("a DNS record that is cut off")
        if dns_class & ~_CACHE_FLUSH == IN:
            yield owner, kind, at, at + length
        at += length


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, lower case with a dot at its end, and where what follows it begins."""
    labels: list[bytes] = []
    size, end, limit = 0, 0, at + 1
    while True:
        if at >= len(message):
            raise ProtocolViolation("a DNS name that is cut off")
        length = message[at]
        if length == 0:
            break
        if length >= 0xC0:
            if at + 2 > len(message):
                raise ProtocolViolation("a DNS name that is cut off")
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
            if at >= limit - 1:
                raise ProtocolViolation("a DNS name that points forwards")
            limit = at + 1
            continue
        size += length + 1
        if length > 63 or size > MAX_NAME_BYTES or at + 1 + length > len(message):
            raise ProtocolViolation("a DNS name that is too long or cut off")
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    text = b".".join([*labels, b""]).decode("utf-8", "backslashreplace").lower()
    return text, end or at + 1


def _service(message: bytes, at: int, end: int) -> tuple[int, str]:
    """(port, target) of an SRV record (RFC 2782)."""
    if end - at < 7:
        raise ProtocolViolation("an SRV record that is cut off")
    return struct.unpack_from(">H", message, at + 4)[0], _name(message, at + 6)[0]


def _properties(data: bytes) -> dict[bytes, bytes | None]:
    """The key/value pairs of a TXT record (RFC 6763, 6.4); the first of a key counts."""
    found: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(data):
        item = data[at + 1 : at + 1 + data[at]]
        if len(item) != data[at]:
            raise ProtocolViolation("a TXT record that is cut off")
        key, equals, value = item.partition(b"=")
        if key:
            found.setdefault(key.lower(), value if equals else None)
        at += 1 + len(item)
    return found
