"""A request: one small file with everything that signers need to know what they sign.

    pearrt-request-v1 <hex SHA-256 of the rest> LF
    bencode of {"answers": [bytes, …], "app": 32 bytes, "drafts": [[role, canonical signed bytes], …],
                "metadata": the encoded metadata set that the drafts follow; empty for a new app}

- `drafts` are `targets` for a release or a revocation, the channel's name for a release in a channel with
  signers of its own, `targets` and that name to give such a channel, `root` and `targets` for new signers or
  a new app. Each is the next version of what `metadata` holds, for the same app.
- `metadata` is verified from root 1 on, which the app's key names: whoever writes a request cannot invent the
  release before it, or signers.
- `answers` are what was collected so far; they do not change what the request is.
- A request is known by its digest, which covers the app and the drafts and so all that is signed.

Nothing in a file is believed before it was checked here; a file of more than MAX_REQUEST_BYTES is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pearrt.codec import bencode
from pearrt.crypto.hashes import DIGEST_BYTES, sha256, tagged
from pearrt.errors import (
    DigestMismatch,
    LimitExceeded,
    NoSuchApp,
    ProtocolViolation,
    TrustError,
    UserError,
)
from pearrt.link import encode_key
from pearrt.publish.answer import MAX_ANSWERS, Answer
from pearrt.publish.draft import Draft
from pearrt.trust.app import TrustedApp
from pearrt.trust.authority import Authority
from pearrt.trust.delegation import is_channel
from pearrt.trust.envelope import Envelope, seal
from pearrt.trust.metadata import Root, Signed, Targets
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.release import Release
from pearrt.trust.root_chain import app_key_of

MAGIC = b"pearrt-request-v1 "
MAX_REQUEST_BYTES = 4 * 1024 * 1024
_TAG = "pearrt-request-v1"
_HEAD_BYTES = len(MAGIC) + 2 * DIGEST_BYTES + 1
_FIELDS = {b"answers", b"app", b"drafts", b"metadata"}
HINT = "Ask for the file again, as an attachment or on a disk."


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request. `base` is what the drafts follow, None for a new app; `answers` are not verified."""

    app_key: bytes
    base: TrustedApp | None
    drafts: tuple[Draft, ...]
    answers: tuple[Answer, ...] = ()

    @classmethod
    def of(cls, base: TrustedApp, *drafts: Draft) -> Request:
        """A request for the drafts that follow `base`."""
        return cls(base.app_key, base, _checked(base.app_key, base, [(d.role, d.payload) for d in drafts]))

    @classmethod
    def of_new_app(cls, root: Draft, targets: Draft) -> Request:
        """A request for the first root and targets of an app that does not exist yet."""
        key = app_key_of(root.payload)
        return cls(key, None, _checked(key, None, [("root", root.payload), ("targets", targets.payload)]))

    @classmethod
    def of_statement(cls, data: bytes, digest: bytes, base: TrustedApp | None) -> Request:
        """The request with this digest, of its bare statement and what this machine trusts of the app.

        Raises DigestMismatch for another's statement, ProtocolViolation, TrustError.
        """
        if tagged(_TAG, data) != digest:
            raise DigestMismatch("This is another request than the one that was asked for.", hint=HINT)
        value = bencode.decode(data, max_depth=4, max_items=64)
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], bytes):
            raise ProtocolViolation("The request names no app.", hint=HINT)
        app_key, pairs = value[0], _pairs(value[1])
        if pairs and pairs[0][0] == "root" and _read_root(pairs[0][1]).version == 1:
            base = None  # a new app's
        elif base is None or base.app_key != app_key:
            raise NoSuchApp(f"Nothing is known of {encode_key(app_key)[:80]} on this machine.")
        return cls(app_key, base, _checked(app_key, base, pairs))

    @property
    def digest(self) -> bytes:
        """32 bytes that say which request it is."""
        return tagged(_TAG, self.statement)

    @property
    def statement(self) -> bytes:
        """What the digest is of: the app and all that is to be signed."""
        return bencode.encode([self.app_key, [[draft.role, draft.payload] for draft in self.drafts]])

    @property
    def root(self) -> Root | None:
        """The drafted root, where there is one."""
        raw = self._payload("root")
        return None if raw is None else _read_root(raw)

    @property
    def statements(self) -> dict[str, Targets]:
        """What is drafted of targets and channels, by role."""
        return {
            draft.role: _read_targets(draft.role, draft.payload)
            for draft in self.drafts
            if draft.role != "root"
        }

    @property
    def targets(self) -> Targets:
        """What the app's signers say once the request is published."""
        drafted = self.statements.get("targets")
        if drafted is not None:
            return drafted
        assert self.base is not None  # a new app drafts its targets
        return self.base.targets

    @property
    def releases(self) -> tuple[Release, ...]:
        """All releases, of all channels, once the request is published."""
        drafted, known = self.statements, {} if self.base is None else self.base.channels
        names = [delegation.name for delegation in self.targets.delegations]
        channels = [drafted.get(name) or known[name] for name in names if name in drafted or name in known]
        return tuple(release for said in (self.targets, *channels) for release in said.releases)

    @property
    def version(self) -> int:
        """The version of the metadata that names its releases."""
        return self.drafts[-1].version

    @property
    def expires(self) -> float:
        """When the first of the drafts expires, in seconds since 1970."""
        found = [said.expires for said in self.statements.values()]
        return min([*found, self.root.expires] if self.root else found)

    def _payload(self, role: str) -> bytes | None:
        return next((draft.payload for draft in self.drafts if draft.role == role), None)

    def with_answers(self, answers: Iterable[Answer]) -> Request:
        return replace(self, answers=tuple(answers))

    def encode(self) -> bytes:
        """The file. Raises UserError where it would be too large."""
        body = bencode.encode(
            {
                "answers": [answer.encode() for answer in self.answers],
                "app": self.app_key,
                "drafts": [[draft.role, draft.payload] for draft in self.drafts],
                "metadata": b"" if self.base is None else self.base.metadata.encode(),
            }
        )
        data = MAGIC + sha256(body).hex().encode() + b"\n" + body
        if len(data) > MAX_REQUEST_BYTES:
            raise UserError(f"The request has {len(data)} bytes, at most {MAX_REQUEST_BYTES} are allowed.")
        return data

    @classmethod
    def decode(cls, data: bytes) -> Request:
        """The inverse of `encode`.

        Raises LimitExceeded or ProtocolViolation for other bytes, TrustError where what it claims to follow
        does not verify or is another app's.
        """
        fields = _fields(data)
        app_key, drafts, answers = fields[b"app"], fields[b"drafts"], fields[b"answers"]
        if not isinstance(app_key, bytes) or len(app_key) != DIGEST_BYTES:
            raise ProtocolViolation("The request names no app.", hint=HINT)
        if not isinstance(answers, list) or not all(isinstance(answer, bytes) for answer in answers):
            raise ProtocolViolation("The answers in the request are no list.", hint=HINT)
        if len(answers) > MAX_ANSWERS:
            raise LimitExceeded(f"The request holds more than {MAX_ANSWERS} answers.", hint=HINT)
        base = None
        if metadata := fields[b"metadata"]:
            base = TrustedApp.first(app_key, MetadataSet.decode(metadata), 0.0, allow_expired=True)
        return cls(app_key, base, _checked(app_key, base, _pairs(drafts)), tuple(map(Answer.decode, answers)))


def _fields(data: bytes) -> dict[bytes, Any]:
    if len(data) > MAX_REQUEST_BYTES:
        raise LimitExceeded(f"A request has at most {MAX_REQUEST_BYTES >> 20} MiB.", hint=HINT)
    if not data.startswith(MAGIC):
        raise ProtocolViolation("This is no request: it does not begin like one.", hint=HINT)
    body = data[_HEAD_BYTES:]
    if data[len(MAGIC) : _HEAD_BYTES] != sha256(body).hex().encode() + b"\n":
        raise ProtocolViolation("The request was cut short or changed on its way.", hint=HINT)
    value = bencode.decode(body, max_depth=4, max_items=256)
    if not isinstance(value, dict) or set(value) != _FIELDS or not isinstance(value[b"metadata"], bytes):
        raise ProtocolViolation("The request has other fields than this version of pearrt knows.", hint=HINT)
    return value


def _pairs(drafts: Any) -> list[tuple[str, bytes]]:
    found = []
    for pair in drafts if isinstance(drafts, list) else ():
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(item, bytes) for item in pair):
            raise ProtocolViolation("A draft in the request is no pair of a role and bytes.", hint=HINT)
        found.append((pair[0].decode("ascii", "replace"), pair[1]))
    return found


def _checked(
    app_key: bytes, base: TrustedApp | None, drafts: Sequence[tuple[str, bytes]]
) -> tuple[Draft, ...]:
    """The drafts with those who may sign them. Raises TrustError or ProtocolViolation."""
    roles = tuple(role for role, _ in drafts)
    if not _is_asked_for(roles, base):
        raise ProtocolViolation("The request asks for no signatures that this version of pearrt knows.")
    read = {role: _read_root(raw) if role == "root" else _read_targets(role, raw) for role, raw in drafts}
    for role, raw in drafts:
        if read[role].envelope.payload != raw:
            raise ProtocolViolation(f"The {role} draft in the request is not canonical.", hint=HINT)
    if base is None and app_key_of(read["root"].envelope.payload) != app_key:
        raise DigestMismatch(f"The request is for another app than {encode_key(app_key)}.")
    app_id = read["root"].app_id if base is None else base.root.app_id
    for role, signed in read.items():
        if signed.app_id != app_id:
            raise TrustError(f"The {role} draft in the request belongs to another app.")
        before = current_of(base, role)
        if signed.version != (before.version if before else 0) + 1 and not (base and before is None):
            raise TrustError(
                f"The {role} draft in the request has version {signed.version}, which is not due.",
                hint="Is it out of date? In a release room it follows what this machine knows of the app:"
                " `pearrt info LINK` asks peers for what is newer.",
            )
    return tuple(
        Draft(role, signed.version, signed.envelope.payload, _authorities(role, read, base))
        for role, signed in read.items()
    )


def current_of(trusted: TrustedApp | None, role: str) -> Signed | None:
    """What is trusted of root, targets or a channel; None where there is nothing yet."""
    if trusted is None:
        return None
    named: dict[str, Signed] = {"root": trusted.root, "targets": trusted.targets, **trusted.channels}
    return named.get(role)


def _is_asked_for(roles: tuple[str, ...], base: TrustedApp | None) -> bool:
    """The few sets of roles that anyone is asked to sign together."""
    if base is None or roles == ("root", "targets"):
        return roles == ("root", "targets")
    if roles[:1] == ("targets",):
        return len(roles) == 1 or (len(roles) == 2 and is_channel(roles[1]))
    return len(roles) == 1 and roles[0] in base.channels


def _authorities(role: str, read: Mapping[str, Signed], base: TrustedApp | None) -> tuple[Authority, ...]:
    """Who must sign a draft: a root those before and after it; a channel those to whom targets give it."""
    newest, targets = (
        read.get("root", current_of(base, "root")),
        read.get("targets", current_of(base, "targets")),
    )
    assert isinstance(newest, Root)
    assert isinstance(targets, Targets)
    if role == "root":
        old = () if base is None else (base.root.authorities["root"],)
        return (*old, newest.authorities["root"])
    if role == "targets":
        return (newest.authorities["targets"],)
    for delegation in targets.delegations:
        if delegation.name == role:
            return (delegation.authority,)
    raise TrustError(f"The request drafts the channel {role}, which has no signers of its own.")


def _read_root(raw: bytes) -> Root:
    return Root.read(Envelope.parse("root", seal(raw, {})))


def _read_targets(role: str, raw: bytes) -> Targets:
    return Targets.read(Envelope.parse("targets", seal(raw, {}), name=role))
