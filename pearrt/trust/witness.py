"""Witnesses: people outside the team who cosign the heads of an app's logs, so that no release goes unseen.

The root names them, optionally, in the signed field `x-pearrt-witnesses`:

    {"keys": [{"name": text, "public": hex}, …], "threshold": k}

A **head** is the size and root hash of a log *with* the newest statement in it (RFC 9162 trees, `merkle.py`):
of targets, of every channel with signers of its own, and of the roots themselves. A cosignature has the form
of C2SP's tlog-cosignature (`cosignature/v1`, Ed25519) over a tlog-checkpoint:

    cosignature/v1 LF time <POSIX seconds> LF <origin> LF <size> LF <base64 root hash> LF

- The origin names the app's key, not the id inside the metadata: another app can't borrow a cosignature.
- More than half of the witnesses make a quorum, so two quorums share one: while that one is honest, no two
  heads of one size can both be cosigned, even where every signer's key was stolen.
- The heads of targets and channels are cosigned by witnesses of the newest root. The step from one root to
  the next is cosigned by those of the *older* one, or signed by each of its signers where the threshold asks
  for fewer: otherwise a threshold of stolen keys would simply name other witnesses.
- Targets of version 1 that say nothing need no witness: an app begins before anyone can have seen it.
- What is there and not valid is refused, so that nobody pads what peers pass on.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pearrt.crypto import ed25519
from pearrt.crypto.hashes import DIGEST_BYTES
from pearrt.errors import BadSignature, DigestMismatch, LimitExceeded, ProtocolViolation, ThresholdNotMet
from pearrt.link import encode_key
from pearrt.trust.authority import MAX_SIGNER_NAME_CHARS, Authority, Signer
from pearrt.trust.envelope import Envelope
from pearrt.trust.log import split
from pearrt.trust.merkle import leaf_hash, root_of
from pearrt.trust.shape import HEX_32, Shape
from pearrt.trust.threshold import valid_keys

if TYPE_CHECKING:
    from pearrt.trust.metadata import Root, Targets

FIELD = "x-pearrt-witnesses"
ORIGIN = "pearrt-log-v1"
MAX_WITNESSES = 16
MAX_TIME = 2**63 - 1
TIME_BYTES = 8
COSIGNATURE_BYTES = 32 + TIME_BYTES + 64
MAX_WITNESSED_BYTES = 128 * 1024  # of one metadata set
TARGETS = "targets"

_ROOT_STEP = re.compile(r"root/([2-9]|[1-9][0-9]{1,2})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: how many statements, and the root hash (32 bytes) of the tree over them."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def of(cls, origin: str, leaves: Sequence[bytes]) -> Checkpoint:
        return cls(origin, len(leaves), root_of(leaves))

    @property
    def text(self) -> str:
        """The body of the note that C2SP's tlog-checkpoint describes."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def message(self, time: int) -> bytes:
        """What a witness signs at `time`, in seconds since 1970."""
        return f"cosignature/v1\ntime {time}\n{self.text}".encode()


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One witness's signature (64 bytes) of a head, made at `time`, in seconds since 1970."""

    public: bytes
    time: int
    signature: bytes

    @classmethod
    def make(cls, seed: bytes, checkpoint: Checkpoint, time: int) -> Cosignature:
        return cls(ed25519.public_key(seed), time, ed25519.sign(seed, checkpoint.message(time)))

    def is_valid(self, checkpoint: Checkpoint) -> bool:
        return ed25519.verify(self.public, checkpoint.message(self.time), self.signature)


# -- the field of a root


def parse_witnesses(root: Shape, authorities: Mapping[str, Authority]) -> Authority | None:
    """Whom a root names, by key id, and how many of them it takes; None where it names nobody.

    Raises ProtocolViolation, also where no two quorums would share a witness, or where one signs besides.
    """
    if FIELD not in root.value:
        return None
    field = root.object(FIELD)
    field.only("keys", "threshold")
    keys = field.objects("keys", MAX_WITNESSES, "name", "public")
    witnesses = [
        Signer(bytes.fromhex(key.match("public", HEX_32)), key.words("name", MAX_SIGNER_NAME_CHARS))
        for key in keys
    ]
    found = {witness.keyid: witness for witness in witnesses}
    if len(found) < len(witnesses):
        raise field.refuse("keys", "name a witness twice")
    if not all(ed25519.is_public_key(witness.public) for witness in witnesses):
        raise field.refuse("keys", "hold one of small order or no point of the curve")
    if any(found.keys() & authority.signers.keys() for authority in authorities.values()):
        raise field.refuse("keys", "hold one that signs for the app: nobody is their own witness")
    threshold = field.integer("threshold", 1)
    if not len(found) < 2 * threshold <= 2 * len(found):
        raise field.refuse("threshold", "is not more than half of the witnesses, and at most all")
    return Authority(found, threshold)


def witness_fields(witnesses: Authority) -> dict[str, Any]:
    """What `parse_witnesses` reads."""
    keys = [{"name": each.name, "public": each.public.hex()} for each in witnesses.signers.values()]
    return {"keys": keys, "threshold": witnesses.threshold}


# -- heads


def step_name(version: int) -> str:
    """What the cosignatures of the step to this root are called in a metadata set."""
    return f"root/{version}"


def step_version(name: str) -> int | None:
    """The inverse of `step_name`; None for another name."""
    match = _ROOT_STEP.fullmatch(name)
    return int(match[1]) if match else None


def root_checkpoint(app_key: bytes, leaves: Sequence[bytes]) -> Checkpoint:
    """The head of the log of roots; `leaves` are the hashes of the canonical roots from version 1 on."""
    return Checkpoint.of(f"{ORIGIN}/{encode_key(app_key)}/root", leaves)


def checkpoints(
    app_key: bytes, targets: Targets, channels: Mapping[str, Targets], logs: Mapping[str, bytes]
) -> dict[str, Checkpoint]:
    """The heads that this metadata makes, by role, but for those that need no witness.

    A channel that was given to others begins a log of its own, so its origin names where it begins.
    """
    since = {delegation.name: delegation.since for delegation in targets.delegations}
    found = {}
    for name, said in {TARGETS: targets, **channels}.items():
        if name == TARGETS and _says_nothing(said):
            continue
        where = name if name == TARGETS else f"{name}/{since[name]}"
        leaves = [*split(logs.get(name, b"")), leaf_hash(said.envelope.payload)]
        found[name] = Checkpoint.of(f"{ORIGIN}/{encode_key(app_key)}/{where}", leaves)
    return found


def _says_nothing(targets: Targets) -> bool:
    empty = not targets.envelope.signed["targets"]
    return empty and targets.version == 1 and not targets.revocations and not targets.delegations


# -- cosignatures in a metadata set


def encode_cosignatures(cosignatures: Iterable[Cosignature]) -> bytes:
    """32 bytes of key, 8 of time, 64 of signature for each, in order of the keys."""
    ordered = sorted(cosignatures, key=lambda each: each.public)
    return b"".join(each.public + each.time.to_bytes(TIME_BYTES) + each.signature for each in ordered)


def decode_cosignatures(data: bytes) -> tuple[Cosignature, ...]:
    """The inverse of `encode_cosignatures`. Raises ProtocolViolation, LimitExceeded."""
    if len(data) > MAX_WITNESSES * COSIGNATURE_BYTES:
        raise LimitExceeded(f"{len(data)} bytes of cosignatures of one head: at most {MAX_WITNESSES} fit")
    if len(data) % COSIGNATURE_BYTES:
        raise ProtocolViolation("the cosignatures of a head are no whole number of them")
    found = []
    for at in range(0, len(data), COSIGNATURE_BYTES):
        public, rest = data[at : at + DIGEST_BYTES], data[at + DIGEST_BYTES : at + COSIGNATURE_BYTES]
        found.append(Cosignature(public, int.from_bytes(rest[:TIME_BYTES]), rest[TIME_BYTES:]))
    keys = [each.public for each in found]
    if keys != sorted(set(keys)) or any(each.time > MAX_TIME for each in found):
        raise ProtocolViolation("the cosignatures of a head are out of order, or of no time")
    return tuple(found)


def check_head(name: str, checkpoint: Checkpoint, witnesses: Authority, data: bytes) -> tuple[Signer, ...]:
    """Who of `witnesses` cosigned this very head.

    Raises ThresholdNotMet where they are too few, BadSignature for a stranger's cosignature or one of another
    head, RemoteError.
    """
    known = {signer.public: signer for signer in witnesses.signers.values()}
    cosignatures = decode_cosignatures(data)
    for each in cosignatures:
        if each.public not in known:
            raise BadSignature(f"Somebody cosigned {name} who is no witness of the app.")
        if not each.is_valid(checkpoint):
            raise BadSignature(f"A cosignature of {name} is forged, or is one of another release.")
    if len(cosignatures) < witnesses.threshold:
        raise ThresholdNotMet(
            f"This {name} metadata was seen by {len(cosignatures)} witnesses; the app demands"
            f" {witnesses.threshold} of {len(witnesses.signers)}.",
            hint="Nothing is wrong with what you have. Take it from a peer that has it with the witnesses'"
            " cosignatures; if nobody has them, ask the publisher: somebody may have stolen the app's keys.",
        )
    seen_by = {each.public for each in cosignatures}
    return tuple(witness for public, witness in known.items() if public in seen_by)


def is_signed_by_all(envelope: Envelope, authority: Authority) -> bool:
    """Whether each signer signed, of a team in which fewer would have been enough for anything else."""
    return authority.threshold < len(authority.signers) == len(valid_keys(envelope, authority))


def check_step(
    app_key: bytes, old: Root, new: Root, leaves: Sequence[bytes], witnessed: Mapping[str, bytes]
) -> None:
    """Whether `old`'s witnesses saw that `new` follows, whose log of roots has these leaves.

    Raises as `check_head`, and DigestMismatch for cosignatures of a step that needs none.
    """
    name = step_name(new.version)
    if old.witnesses is None or is_signed_by_all(new.envelope, old.authorities["root"]):
        if name in witnessed:
            raise DigestMismatch(f"There are cosignatures of root {new.version}, which needs none.")
        return
    check_head(name, root_checkpoint(app_key, leaves), old.witnesses, witnessed.get(name, b""))
