"""What this machine trusts about one app, and how that may change: a profile of The Update Framework 1.0.34.

Rules, all or nothing for a whole metadata set:

1. Root 1 is the one that the app's key names; each later root is signed by the old and by the new threshold.
2. Timestamp, snapshot and targets are each signed by their role's threshold, which is checked before they
   are read. The timestamp names the one snapshot, and that the one targets, by version, length and sha256.
   A channel that targets delegate is named by the snapshot too, and signed by the channel's own threshold.
3. Versions never fall. The same version with other content is an Equivocation. What the keys of a later
   root no longer vouch for sets no floor: a publisher recovers from a fast-forward by rotating keys (5.3.11).
4. Every role repeats the random id of root 1: one app's metadata can't serve another with the same signers.
5. A timestamp signed under a later root than the ones offered is refused: a new root can't be withheld.
6. Expired metadata is not installed or updated to without the person's yes. It stops nothing already trusted.
   A channel whose own metadata expired is stale alone: the others' users don't pay for it.
7. Time never moves back: once metadata was valid at some time, no earlier time is believed.
8. Targets metadata that commits to a log of its past (`log.py`) has to commit to the past that is trusted
   here: a release that was shown to one person alone is an Equivocation with the next one.
9. Where a root names witnesses (`witness.py`), enough of them cosigned the very heads that the set makes, and
   the step to any later root.

A `TrustedApp` is immutable: `update` returns another one, or raises and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from pearrt.codec import bencode
from pearrt.errors import (
    Corrupt,
    DigestMismatch,
    Expired,
    ProtocolViolation,
    RemoteError,
    Rollback,
    ThresholdNotMet,
    TrustError,
)
from pearrt.trust import root_chain
from pearrt.trust.authority import Authority, Signer
from pearrt.trust.checks import (
    check_files,
    check_not_older,
    check_same,
    check_unexpired,
    check_version,
)
from pearrt.trust.delegation import Delegation
from pearrt.trust.envelope import Envelope
from pearrt.trust.freshness import Freshness, judge
from pearrt.trust.log import check_history
from pearrt.trust.metadata import Root, Signed, Snapshot, Targets, Timestamp
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.release import ANY_PLATFORM, Release
from pearrt.trust.revocation import Revocation
from pearrt.trust.shape import time_text
from pearrt.trust.threshold import check_threshold, is_met, valid_keys
from pearrt.trust.verified import read_role, verified
from pearrt.trust.witness import Checkpoint, check_head, checkpoints, step_version


class Verdict(Enum):
    """What a timestamp that a peer showed means next to the trusted one.

    LATER_ROOT: it claims a root that is not known here, so it can't be checked before that root is fetched.
    """

    NEWER = "newer"
    SAME = "same"
    OLDER = "older"
    LATER_ROOT = "later-root"


@dataclass(frozen=True, slots=True)
class TrustedApp:
    """Verified metadata of one app. `time_floor`: whole seconds since 1970, 0 before any was confirmed.

    `channels`: what the channels with signers of their own say, by name.
    """

    app_key: bytes
    metadata: MetadataSet
    root: Root
    timestamp: Timestamp
    snapshot: Snapshot
    targets: Targets
    time_floor: float
    channels: Mapping[str, Targets] = field(default_factory=dict)

    @classmethod
    def first(
        cls,
        app_key: bytes,
        metadata: MetadataSet,
        now: float,
        *,
        allow_expired: bool = False,
        unwitnessed: bool = False,
    ) -> TrustedApp:
        """Trust in an app that this machine has never seen, from a set that begins with root 1.

        `allow_expired` is the person's explicit yes to stale metadata; `unwitnessed` is for the witnesses and
        for the publisher who waits for them, and leaves rule 9 out. Raises TrustError, Expired among them, or
        RemoteError for malformed bytes.
        """
        if not metadata.roots:
            raise TrustError("The metadata set has no root.")
        root = root_chain.first_root(app_key, metadata.roots[0])
        seen = None if unwitnessed else metadata.witnessed
        roots, root = root_chain.extend(metadata.roots[:1], root, metadata.roots[1:], due=2, witnessed=seen)
        made = cls(app_key, replace(metadata, roots=roots), root, *verified(root, metadata, 0.0))
        if not unwitnessed:
            made._check_witnessed()
        return made._at(now, allow_expired)

    @classmethod
    def restore(cls, app_key: bytes, state: bytes) -> TrustedApp:
        """What `state` held; all is verified again, but for expiry. Raises Corrupt for other bytes.

        Whoever drops damaged state and begins anew also drops the protection against rollback.
        """
        try:
            fields = bencode.decode(state, max_depth=1)
            if not isinstance(fields, dict) or fields.keys() != {b"metadata", b"time_floor"}:
                raise ProtocolViolation("fields are missing")
            metadata, floor = fields[b"metadata"], fields[b"time_floor"]
            if not isinstance(metadata, bytes) or not isinstance(floor, int) or floor < 0:
                raise ProtocolViolation("a field has another type")
            made = cls.first(app_key, MetadataSet.decode(metadata), floor, allow_expired=True)
        except (RemoteError, TrustError) as e:
            raise Corrupt(
                f"What this machine trusted of the app is damaged: {e.message}",
                hint="Restore it from a backup, or uninstall the app and run its link again.",
            ) from e
        return replace(made, time_floor=float(floor))

    def state(self) -> bytes:
        """The bytes to keep on disk, for `restore`."""
        return bencode.encode({"metadata": self.metadata.encode(), "time_floor": int(self.time_floor)})

    def update(
        self, metadata: MetadataSet, now: float, *, allow_expired: bool = False, unwitnessed: bool = False
    ) -> TrustedApp:
        """Trust after seeing `metadata`, whose roots may begin anywhere up to one after the trusted root.

        Raises TrustError or RemoteError and leaves everything as it was; Rollback for anything older. The
        options are those of `first`.
        """
        seen = None if unwitnessed else metadata.witnessed
        roots, root = root_chain.extend(self.metadata.roots, self.root, metadata.roots, witnessed=seen)
        try:
            roles = verified(root, metadata, self.time_floor)
        except ThresholdNotMet as e:
            if root is self.root and self._is_past(metadata.timestamp, now):
                raise Rollback("What is offered was signed before the app's keys changed.") from e
            raise
        taken = replace(metadata, roots=roots, witnessed=self._seen(metadata.witnessed))
        made = TrustedApp(self.app_key, taken, root, *roles)
        if not unwitnessed:
            made._check_witnessed()
        self._check_floors(made)
        if root is self.root and made.timestamp.envelope.payload == self.timestamp.envelope.payload:
            return self._at(now, allow_expired=True)
        return made._at(now, allow_expired)

    def _is_past(self, timestamp: bytes, now: float) -> bool:
        """Whether a timestamp is of lower version than the trusted one and was valid in its time.

        A set with it is refused whatever it holds; this only says why.
        """
        try:
            older = self.check_timestamp(timestamp, now, allow_expired=True) is Verdict.OLDER
            return (
                older
                and Timestamp.read(Envelope.parse("timestamp", timestamp)).version < self.timestamp.version
            )
        except (RemoteError, TrustError):
            return False

    def check_timestamp(self, raw: bytes, now: float, *, allow_expired: bool = False) -> Verdict:
        """What a gossiped timestamp means, before anything is fetched for it.

        Raises BadSignature or ThresholdNotMet for a forged one, Equivocation for another one of the trusted
        version, Expired for a newer one that is out of date, RemoteError for malformed bytes.
        """
        envelope = Envelope.parse("timestamp", raw)
        if not is_met(envelope, self.root.authorities["timestamp"]):
            return self._signed_elsewhere(envelope)
        offered = read_role(Timestamp, envelope, self.root)
        if offered.version < self.timestamp.version:
            return Verdict.OLDER
        if offered.version == self.timestamp.version:
            check_same(self.timestamp, offered)
            return Verdict.SAME
        if not allow_expired and max(now, self.time_floor) >= offered.expires:
            raise Expired(f"A newer timestamp is offered, but it expired at {time_text(offered.expires)}.")
        return Verdict.NEWER

    def _signed_elsewhere(self, envelope: Envelope) -> Verdict:
        """Of a timestamp that the current heartbeat didn't sign: an earlier one did, or maybe a later one."""
        claimed = envelope.signed.get("x-pearrt-root")
        if type(claimed) is int and claimed > self.root.version:
            return Verdict.LATER_ROOT
        earlier = claimed if type(claimed) is int and claimed >= 1 else self.root.version
        signed_under = root_chain.root_at(self.metadata.roots, earlier)
        check_threshold(envelope, signed_under.authorities["timestamp"])
        read_role(Timestamp, envelope, signed_under)
        return Verdict.OLDER

    def release(self, channel: str = "stable", platform: str | Sequence[str] | None = None) -> Release | None:
        """The channel's newest release, for the first of these platforms that has one.

        One platform, or none, stands for itself and then any; a sequence for exactly what is in it.
        """
        found = {each.platform: each for each in self.targets_of(channel).releases if each.channel == channel}
        if platform is None or isinstance(platform, str):
            platform = (platform or ANY_PLATFORM, ANY_PLATFORM)
        return next((found[tag] for tag in platform if tag in found), None)

    def revoked(self, index_digest: bytes) -> Revocation | None:
        """What the signers say of this release, if they took it back."""
        return next((each for each in self.targets.revocations if each.index_digest == index_digest), None)

    def targets_of(self, channel: str = "") -> Targets:
        """The metadata that speaks for a channel: its own where it has signers of its own."""
        return self.channels.get(channel, self.targets)

    def authority_of(self, channel: str = "") -> Authority:
        """Who may sign the releases of a channel, and how many of them it takes."""
        delegation = self.delegation_of(channel)
        return delegation.authority if delegation else self.root.authorities["targets"]

    def delegation_of(self, channel: str) -> Delegation | None:
        """What the app's signers say of a channel with signers of its own."""
        return next((each for each in self.targets.delegations if each.name == channel), None)

    @property
    def releases(self) -> tuple[Release, ...]:
        """All that are current, of every channel and platform."""
        speakers = (self.targets, *self.channels.values())
        return tuple(release for targets in speakers for release in targets.releases)

    @property
    def signers(self) -> tuple[Signer, ...]:
        """Who may sign releases, but for channels with signers of their own."""
        return self.signers_of()

    def signers_of(self, channel: str = "") -> tuple[Signer, ...]:
        """Who may sign the releases of a channel."""
        return tuple(self.authority_of(channel).signers.values())

    @property
    def threshold(self) -> int:
        """How many of the signers a release takes."""
        return self.authority_of().threshold

    @property
    def signed_by(self) -> tuple[Signer, ...]:
        """Who signed what is current."""
        return self.signed_by_of()

    def signed_by_of(self, channel: str = "") -> tuple[Signer, ...]:
        """Who signed what is current in a channel."""
        authority = self.authority_of(channel)
        valid = valid_keys(self.targets_of(channel).envelope, authority)
        return tuple(signer for signer in authority.signers.values() if signer.public in valid)

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """The heads that witnesses have to cosign, by role; none where the root names no witnesses."""
        if self.root.witnesses is None:
            return {}
        return checkpoints(self.app_key, self.targets, self.channels, self.metadata.logs)

    def witnessed_by_of(self, channel: str = "") -> tuple[Signer, ...]:
        """Which witnesses cosigned what is current in a channel; all of it was verified."""
        name = channel if channel in self.channels else self.targets.envelope.name
        checkpoint, data = self.checkpoints.get(name), self.metadata.witnessed.get(name)
        if checkpoint is None or data is None or self.root.witnesses is None:
            return ()
        return check_head(name, checkpoint, self.root.witnesses, data)

    @property
    def root_version(self) -> int:
        return self.root.version

    def freshness(self, now: float, channel: str = "") -> Freshness:
        return judge(
            signed_at=self.timestamp.signed_at,
            period_s=self.timestamp.period_s,
            expires=min(role.expires for role in self._roles(channel)),
            now=max(now, self.time_floor),
        )

    def check_expiry(self, now: float, channel: str = "") -> None:
        """Raises Expired where a role is out of date, that of a channel with signers of its own among them.

        For a first install out of metadata that is trusted already: it takes the person's yes all the same.
        """
        for role in self._roles(channel):
            try:
                check_unexpired(role, max(now, self.time_floor))
            except Expired as e:
                raise Expired(
                    f"{e.message[:-1]}, and was last confirmed at {time_text(self.timestamp.signed_at)};"
                    " a newer release may exist.",
                    hint="Look for a peer with newer metadata, or say that you want it all the same.",
                ) from e

    def _roles(self, channel: str = "") -> tuple[Signed, ...]:
        top = self.root, self.timestamp, self.snapshot, self.targets
        return (*top, self.channels[channel]) if channel in self.channels else top

    def _at(self, now: float, allow_expired: bool) -> TrustedApp:
        """Itself, with the floor of time raised where nothing is expired. Raises Expired."""
        try:
            self.check_expiry(now)
        except Expired:
            if allow_expired:
                return self
            raise
        return replace(self, time_floor=max(float(int(now)), self.time_floor))

    def _seen(self, offered: Mapping[str, bytes]) -> dict[str, bytes]:
        """The cosignatures of a set; of steps to known roots those verified before, whatever it has."""
        mine = {name: data for name, data in self.metadata.witnessed.items() if step_version(name)}
        known = {name for name in offered if 0 < (step_version(name) or 0) <= self.root.version}
        return {name: data for name, data in offered.items() if name not in known} | mine

    def _check_witnessed(self) -> None:
        """Rule 9, but for the steps between roots. Raises ThresholdNotMet, BadSignature, DigestMismatch."""
        left = {
            name: data
            for name, data in self.metadata.witnessed.items()
            if not 0 < (step_version(name) or 0) <= self.root.version
        }
        for name, checkpoint in self.checkpoints.items():
            assert self.root.witnesses is not None
            check_head(name, checkpoint, self.root.witnesses, left.pop(name, b""))
        if left:
            raise DigestMismatch("A cosignature belongs to none of the metadata beside it.")

    def _check_floors(self, new: TrustedApp) -> None:
        """Rules 3 and 8. What the new root's keys no longer vouch for binds nobody, nor does what a channel's
        new signers no longer vouch for."""
        authorities, same = new.root.authorities, new.root is self.root
        if same or is_met(self.timestamp.envelope, authorities["timestamp"]):
            check_not_older(self.timestamp, new.timestamp)
            check_version("snapshot", self.timestamp.snapshot, new.timestamp.snapshot)
        if same or is_met(self.snapshot.envelope, authorities["snapshot"]):
            check_not_older(self.snapshot, new.snapshot)
            check_files(self.snapshot.files, new.snapshot.files)
        if same or is_met(self.targets.envelope, authorities["targets"]):
            check_not_older(self.targets, new.targets)
            self._check_log(self.targets, new.targets, new)
        for old in self.targets.delegations:
            later, trusted = new.delegation_of(old.name), self.channels[old.name]
            if later and is_met(trusted.envelope, later.authority):
                check_not_older(trusted, new.channels[old.name])
                if later.since == old.since:
                    self._check_log(trusted, new.channels[old.name], new)

    def _check_log(self, trusted: Targets, offered: Targets, new: TrustedApp) -> None:
        check_history(trusted.envelope, self.metadata.logs, offered.envelope, new.metadata.logs)
