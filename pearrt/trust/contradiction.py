"""Two signed statements that contradict each other: a proof, for anyone, that keys were misused. Pure.

Two of one role and version with different content; or two targets metadata that stand in different histories,
with the evidence that `log.check_extends` found. Both have to be signed by keys that the app's newest root
names, so that whoever stole keys that were rotated away can raise no alarm any more. In an app with channels
of their own signers, two targets metadata have to speak for the same paths: one team may sign both.

    on disk and between peers: bencode [first, second, evidence]
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.codec import bencode, canonical
from pearrt.errors import LimitExceeded, ProtocolViolation, ThresholdNotMet
from pearrt.trust.app import TrustedApp
from pearrt.trust.authority import Authority
from pearrt.trust.envelope import MAX_BYTES, ROLES, Envelope
from pearrt.trust.log import MAX_EVIDENCE_BYTES, shows_fork, statement_of
from pearrt.trust.threshold import check_threshold

MAX_PROOF_BYTES = 2 * MAX_BYTES["targets"] + MAX_EVIDENCE_BYTES + 64


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`first` and `second` are signed blobs; `evidence` is empty unless their versions differ."""

    first: bytes
    second: bytes
    evidence: bytes = b""

    def encode(self) -> bytes:
        return bencode.encode([self.first, self.second, self.evidence])

    @classmethod
    def decode(cls, data: bytes) -> Contradiction:
        """The inverse of `encode`. Raises LimitExceeded, ProtocolViolation."""
        if len(data) > MAX_PROOF_BYTES:
            raise LimitExceeded(f"a proof of {len(data)} bytes, at most {MAX_PROOF_BYTES} are allowed")
        match bencode.decode(data, max_depth=1, max_items=4):
            case [bytes() as first, bytes() as second, bytes() as evidence]:
                return cls(first, second, evidence)
        raise ProtocolViolation("a proof is no list of two statements and evidence")

    def describe(self) -> str:
        """What contradicts what, for a person; of a proof that was checked."""
        first, second = _parse(self.first), _parse(self.second)
        versions = sorted({first.signed.get("version", 0), second.signed.get("version", 0)})
        if len(versions) == 1:
            return f"two different {first.role} metadata of version {versions[0]} were signed"
        return (
            f"{first.role} {versions[0]} and {versions[1]} were signed into different histories of releases"
        )

    def check(self, trusted: TrustedApp) -> None:
        """Holds the proof against the keys in force.

        Raises ProtocolViolation or BadSignature for one that no honest peer tells; ThresholdNotMet where the
        keys are not, or not any more, or not yet those of the newest root known here.
        """
        first, second = _parse(self.first), _parse(self.second)
        if first.role != second.role or first.payload == second.payload:
            raise ProtocolViolation("a proof whose statements do not contradict each other")
        for envelope in (first, second):
            if envelope.signed.get("x-pearrt-app") != trusted.root.app_id:
                raise ProtocolViolation("a proof about another app")
        authority = _authority(trusted, first, second)
        for envelope in (first, second):
            check_threshold(envelope, authority)
        if not _contradict(first, second, self.evidence):
            raise ProtocolViolation("a proof whose statements do not contradict each other")


def _parse(raw: bytes) -> Envelope:
    """The statement in a blob, whichever role it is of."""
    value = canonical.parse(raw, max_bytes=MAX_BYTES["targets"])
    signed = value.get("signed") if isinstance(value, dict) else None
    role = signed.get("_type") if isinstance(signed, dict) else None
    if role not in ROLES:
        raise ProtocolViolation("a proof with something that is no metadata")
    return Envelope.parse(role, raw)


def _contradict(first: Envelope, second: Envelope, evidence: bytes) -> bool:
    versions = [envelope.signed.get("version") for envelope in (first, second)]
    if any(type(version) is not int for version in versions):
        raise ProtocolViolation("a proof with a statement that has no version")
    if versions[0] == versions[1]:
        return not evidence
    return first.role == "targets" and shows_fork(statement_of(first), statement_of(second), evidence)


def _authority(trusted: TrustedApp, first: Envelope, second: Envelope) -> Authority:
    """Who speaks in both statements: the role, or the channel whose paths both name."""
    authorities = {each.name: each.authority for each in trusted.targets.delegations}
    if first.role != "targets" or not authorities:
        return trusted.root.authorities[first.role]
    speakers = {_speaker(envelope, set(authorities)) for envelope in (first, second)}
    if len(speakers) != 1 or None in speakers:
        raise ThresholdNotMet("The two statements are not, or not certainly, by one role.")
    (speaker,) = speakers
    return authorities.get(speaker or "", trusted.root.authorities["targets"])


def _speaker(envelope: Envelope, channels: set[str]) -> str | None:
    """The channel of all paths, "" for the targets role, None where nothing tells which."""
    if "delegations" in envelope.signed:
        return ""
    targets = envelope.signed.get("targets")
    if not isinstance(targets, dict) or not targets:
        return None
    found = {path.partition("/")[0] for path in targets}
    return found.pop() if len(found) == 1 and found <= channels else ""
