"""The heartbeat: snapshot and timestamp, signed by a key that lives on the publisher's seeder.

Whoever steals that key can keep people from learning of newer releases until the timestamp expires. They
can't install anything: releases take the signers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256
from pearrt.publish.draft import NEVER, payload
from pearrt.trust.envelope import Envelope, seal
from pearrt.trust.log import next_log, statement_of
from pearrt.trust.metadata import Root, Snapshot, Targets, Timestamp, key_id
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.shape import time_text

DEFAULT_PERIOD_S = 86400
PERIODS_TO_EXPIRY = 7


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A beat by `seed` is due every `period_s` seconds and holds for seven; with 0 it holds for ever."""

    seed: bytes = field(repr=False)
    period_s: int = DEFAULT_PERIOD_S

    @property
    def public(self) -> bytes:
        """Its public key, 32 bytes."""
        return ed25519.public_key(self.seed)

    @property
    def keyid(self) -> str:
        """By which roots and signatures name the key."""
        return key_id(self.public)

    def is_named_by(self, root: Root) -> bool:
        """Whether the root lets this key confirm releases."""
        return self.keyid in root.authorities["timestamp"].signers

    def beat(
        self,
        roots: Sequence[bytes],
        targets: bytes,
        now: float,
        previous: MetadataSet | None = None,
        *,
        delegated: Mapping[str, bytes] | None = None,
    ) -> MetadataSet:
        """The set that says "this is current", with versions after those that this key gave `previous`.

        `delegated` are new metadata of channels; those of `previous` stay while `targets` delegates to them.
        What another heartbeat signed binds nobody once a root names this one, however high its versions are.
        """
        root = Root.read(Envelope.parse("root", roots[-1]))
        current = _channels(targets, {**(previous.delegated if previous else {}), **(delegated or {})})
        snapshot = self._snapshot(root, targets, current, previous)
        last = 0
        if previous and self._signed(old := Envelope.parse("timestamp", previous.timestamp)):
            last = Timestamp.read(old).version
        # Seconds, so that a publisher who lost some state never signs two timestamps of one version.
        version = max(last + 1, int(now))
        timestamp = payload(
            "timestamp",
            root.app_id,
            version,
            now + self.period_s * PERIODS_TO_EXPIRY if self.period_s else NEVER,
            meta={
                "snapshot.json": _meta(Snapshot.read(Envelope.parse("snapshot", snapshot)).version, snapshot)
            },
            x_pearrt_signed=time_text(now),
            x_pearrt_period=self.period_s,
            x_pearrt_root=root.version,
        )
        return MetadataSet(
            tuple(roots),
            self._seal(timestamp),
            snapshot,
            targets,
            current,
            _logs(previous, targets, current),
        )

    def _snapshot(
        self, root: Root, targets: bytes, delegated: Mapping[str, bytes], previous: MetadataSet | None
    ) -> bytes:
        """The previous one while it names just these and this key signed it, else the next.

        A channel that was named stays named when it ends: should it come back, then not with an old version.
        """
        version, known = 1, {}
        if previous and self._signed(envelope := Envelope.parse("snapshot", previous.snapshot)):
            old = Snapshot.read(envelope)
            version, known = old.version + 1, envelope.signed["meta"]
        meta = known | {
            f"{name}.json": _meta(_targets(name, raw).version, raw)
            for name, raw in {"targets": targets, **delegated}.items()
        }
        if previous and meta == known:
            return previous.snapshot
        # The timestamp alone says how long things hold: an unchanged snapshot need not travel again.
        return self._seal(payload("snapshot", root.app_id, version, NEVER, meta=meta))

    def _signed(self, envelope: Envelope) -> bool:
        return self.keyid in envelope.signatures

    def _seal(self, signed: bytes) -> bytes:
        return seal(signed, {self.keyid: ed25519.sign(self.seed, signed)})


def _channels(targets: bytes, known: Mapping[str, bytes]) -> dict[str, bytes]:
    """Of the channels' metadata, what `targets` delegates to."""
    names = [delegation.name for delegation in _targets("targets", targets).delegations]
    return {name: known[name] for name in names if name in known}


def _logs(previous: MetadataSet | None, targets: bytes, delegated: Mapping[str, bytes]) -> dict[str, bytes]:
    """The leaf hashes that go with each blob: those before it and, where it is a new one, that one."""
    if previous is None:
        return {}
    found = {}
    before = {"targets": previous.targets, **previous.delegated}
    for name, raw in {"targets": targets, **delegated}.items():
        if name in before:
            old, new = _targets(name, before[name]).envelope, _targets(name, raw).envelope
            found[name] = next_log(statement_of(old), previous.logs.get(name, b""), statement_of(new))
    return {name: log for name, log in found.items() if log}


def _targets(name: str, raw: bytes) -> Targets:
    return Targets.read(Envelope.parse("targets", raw, name=name))


def _meta(version: int, raw: bytes) -> dict[str, object]:
    return {"version": version, "length": len(raw), "hashes": {"sha256": sha256(raw).hex()}}
