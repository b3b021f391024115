"""One app's metadata as it lies on disk and goes over the wire: raw signed blobs, nothing verified."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pearrt.codec import bencode
from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.trust.envelope import MAX_BYTES

MAX_ROOT_STEPS = 256
MAX_SET_BYTES = (MAX_ROOT_STEPS + 1) * (MAX_BYTES["root"] + 16) + 512 * 1024


@dataclass(frozen=True, slots=True)
class MetadataSet:
    """`roots` are consecutive versions, oldest first; a set sent as an update may begin after root 1."""

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes

    def encode(self) -> bytes:
        """Bencode: {roots: [blob, …], snapshot, targets, timestamp}."""
        return bencode.encode(
            {
                "roots": list(self.roots),
                "timestamp": self.timestamp,
                "snapshot": self.snapshot,
                "targets": self.targets,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> MetadataSet:
        """The inverse of `encode`. Raises LimitExceeded past the size of a role, ProtocolViolation."""
        if len(data) > MAX_SET_BYTES:
            raise LimitExceeded(f"a metadata set of {len(data)} bytes, at most {MAX_SET_BYTES} are allowed")
        value = bencode.decode(data, max_depth=2, max_items=MAX_ROOT_STEPS + 10)
        if not isinstance(value, dict) or value.keys() != {b"roots", b"timestamp", b"snapshot", b"targets"}:
            raise ProtocolViolation("a metadata set must have roots, timestamp, snapshot and targets")
        roots = value.pop(b"roots")
        if not isinstance(roots, list):
            raise ProtocolViolation("the roots of a metadata set are no list")
        named = [("root", root) for root in roots] + [(key.decode(), blob) for key, blob in value.items()]
        for role, blob in named:
            if not isinstance(blob, bytes):
                raise ProtocolViolation(f"the {role} of a metadata set is no string")
            if len(blob) > MAX_BYTES[role]:
                raise LimitExceeded(
                    f"{role} metadata of {len(blob)} bytes, at most {MAX_BYTES[role]} are allowed"
                )
        return cls(tuple(roots), value[b"timestamp"], value[b"snapshot"], value[b"targets"])

    def since(self, first_root: int, max_bytes: int) -> MetadataSet:
        """The set with roots from version `first_root` on, as many as fit into `max_bytes` when encoded.

        For a set that begins with root 1.
        """
        room = max_bytes - len(replace(self, roots=()).encode())
        fitting: list[bytes] = []
        for root in self.roots[max(0, first_root - 1) :]:
            room -= len(root) + 8
            if room < 0:
                break
            fitting.append(root)
        return replace(self, roots=tuple(fitting))
