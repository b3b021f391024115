"""One app's metadata as it lies on disk and goes over the wire: raw signed blobs, nothing verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pearrt.codec import bencode
from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.trust.delegation import MAX_CHANNELS, is_channel
from pearrt.trust.envelope import MAX_BYTES
from pearrt.trust.log import MAX_LOG_BYTES
from pearrt.trust.witness import COSIGNATURE_BYTES, MAX_WITNESSED_BYTES, MAX_WITNESSES, TARGETS, step_version

MAX_ANSWER_BYTES = 1 << 20  # what a METADATA message or the HTTP view holds
MAX_ROOT_BYTES = MAX_BYTES["root"] + 16  # encoded
MAX_CURRENT_BYTES = MAX_ANSWER_BYTES - MAX_ROOT_BYTES  # all but the roots: one of them always fits besides
MAX_ROOT_STEPS = 256
MAX_LOGS = 64
MAX_CHANNEL_BYTES = 64 * 1024
MAX_SET_BYTES = (MAX_ROOT_STEPS + 1) * MAX_ROOT_BYTES + MAX_CURRENT_BYTES
MAX_HEADS = MAX_ROOT_STEPS + MAX_CHANNELS + 1
MAX_ITEMS = MAX_ROOT_STEPS + 2 * MAX_LOGS + 2 * MAX_CHANNELS + 2 * MAX_HEADS + 16

_FIELDS = {b"roots", b"timestamp", b"snapshot", b"targets"}


@dataclass(frozen=True, slots=True)
class MetadataSet:
    """`roots` are consecutive versions, oldest first; a set sent as an update may begin after root 1.

    `delegated`: the targets metadata of each channel that has signers of its own, by channel.
    `logs`: of each role that commits to a log of its past (`log.py`), the leaf hashes, 32 bytes each.
    `witnessed`: cosignatures (`witness.py`) by what they are of: `targets`, a channel, `root/<version>`.
    """

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    delegated: Mapping[str, bytes] = field(default_factory=dict)
    logs: Mapping[str, bytes] = field(default_factory=dict)
    witnessed: Mapping[str, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Bencode: {roots: [blob, …], snapshot, targets, timestamp}.

        With delegated: {channel: blob}, logs: {role: hashes} and witnessed: {head: cosignatures}, where there
        are any.
        """
        value: dict[str, object] = {
            "roots": list(self.roots),
            "timestamp": self.timestamp,
            "snapshot": self.snapshot,
            "targets": self.targets,
        }
        if self.delegated:
            value["delegated"] = dict(self.delegated)
        if any(self.logs.values()):
            value["logs"] = {role: log for role, log in self.logs.items() if log}
        if any(self.witnessed.values()):
            value["witnessed"] = {head: data for head, data in self.witnessed.items() if data}
        return bencode.encode(value)

    @classmethod
    def decode(cls, data: bytes) -> MetadataSet:
        """The inverse of `encode`. Raises LimitExceeded past the size of a role, ProtocolViolation."""
        if len(data) > MAX_SET_BYTES:
            raise LimitExceeded(f"a metadata set of {len(data)} bytes, at most {MAX_SET_BYTES} are allowed")
        value = bencode.decode(data, max_depth=2, max_items=MAX_ITEMS)
        if not isinstance(value, dict):
            raise ProtocolViolation("a metadata set is no dictionary")
        logs = _logs(value.pop(b"logs")) if b"logs" in value else {}
        witnessed = _witnessed(value.pop(b"witnessed")) if b"witnessed" in value else {}
        delegated = _delegated(value.pop(b"delegated")) if b"delegated" in value else {}
        if value.keys() != _FIELDS:
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
        top = (value[b"timestamp"], value[b"snapshot"], value[b"targets"])
        made = cls(tuple(roots), *top, delegated, logs, witnessed)
        if made.current_bytes > MAX_CURRENT_BYTES:
            raise LimitExceeded(
                f"a metadata set of {made.current_bytes} bytes beside its roots,"
                f" at most {MAX_CURRENT_BYTES} are allowed"
            )
        return made

    @property
    def current_bytes(self) -> int:
        """The size of all but the roots, encoded: what every answer holds."""
        return len(replace(self, roots=()).encode())

    def since(self, first_root: int, max_bytes: int = MAX_ANSWER_BYTES) -> MetadataSet:
        """The set with roots from version `first_root` on, as many as fit into `max_bytes` when encoded.

        For a set that begins with root 1. How the others are fetched: `root_steps.py`.
        """
        room = max_bytes - self.current_bytes
        fitting: list[bytes] = []
        for root in self.roots[max(0, first_root - 1) :]:
            room -= len(root) + 8
            if room < 0:
                break
            fitting.append(root)
        return replace(self, roots=tuple(fitting))


def _logs(value: object) -> dict[str, bytes]:
    """The leaf hashes by role. What they are is checked against the signed head, by `log.check_log`."""
    if not isinstance(value, dict) or not value or len(value) > MAX_LOGS:
        raise ProtocolViolation(f"the logs of a metadata set are none, or more than {MAX_LOGS}")
    if not all(isinstance(log, bytes) and log for log in value.values()):
        raise ProtocolViolation("a log of a metadata set is empty or no string")
    if sum(map(len, value.values())) > MAX_LOG_BYTES:
        raise LimitExceeded(f"logs of more than {MAX_LOG_BYTES} bytes")
    return {role.decode("ascii", "replace"): log for role, log in value.items()}


def _delegated(value: object) -> dict[str, bytes]:
    """Raises ProtocolViolation where names are no channels', LimitExceeded for too many or too long blobs."""
    if not isinstance(value, dict) or not value:
        raise ProtocolViolation("the delegated metadata of a set is no dictionary, or an empty one")
    if len(value) > MAX_CHANNELS:
        raise LimitExceeded(f"metadata of {len(value)} channels, at most {MAX_CHANNELS} are allowed")
    found: dict[str, bytes] = {}
    for key, blob in value.items():
        name = key.decode("ascii", "replace")
        if not is_channel(name) or not isinstance(blob, bytes):
            raise ProtocolViolation("a metadata set has something for what is no channel")
        if len(blob) > MAX_CHANNEL_BYTES:
            raise LimitExceeded(
                f"{name} metadata of {len(blob)} bytes, at most {MAX_CHANNEL_BYTES} are allowed"
            )
        found[name] = blob
    return found


def _witnessed(value: object) -> dict[str, bytes]:
    """Cosignatures by head, bounded. Whether they are any is checked with what they are of."""
    if not isinstance(value, dict) or not value or len(value) > MAX_HEADS:
        raise ProtocolViolation(
            f"the cosignatures of a metadata set are of no heads, or of more than {MAX_HEADS}"
        )
    found: dict[str, bytes] = {}
    for key, data in value.items():
        name = key.decode("ascii", "replace")
        if not isinstance(data, bytes) or not data:
            raise ProtocolViolation("the cosignatures of a head are empty or no string")
        if len(data) > MAX_WITNESSES * COSIGNATURE_BYTES:
            raise LimitExceeded(f"cosignatures of {len(data)} bytes: at most {MAX_WITNESSES} are allowed")
        if not (name == TARGETS or is_channel(name) or step_version(name)):
            raise ProtocolViolation("a metadata set has cosignatures of what has no log")
        found[name] = data
    if sum(map(len, found.values())) > MAX_WITNESSED_BYTES:
        raise LimitExceeded(f"cosignatures of more than {MAX_WITNESSED_BYTES} bytes")
    return found
