"""Attestations: somebody rebuilt a bundle from its sources and signs what came of it.

An in-toto Statement (v1) in a DSSE envelope (`dsse.py`), one signature each. Its subject is the digest of the
bundle's index, the very digest that a release names; its predicate says what was rebuilt, with what, and
whether it was the same. An attestation informs signers and users; no release needs one.

    <data>/attestations/<55-letter key>/<start of the digest>-<start of the key id>.dsse.json

What is not an attestation by a known key that verifies counts for nothing and is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pearrt.atomic import write_file
from pearrt.codec import canonical
from pearrt.crypto import ed25519
from pearrt.errors import BadSignature, ProtocolViolation, RemoteError, StoreError, TrustError
from pearrt.link import encode_key
from pearrt.publish.dsse import MAX_ENVELOPE_BYTES, DsseEnvelope, sign
from pearrt.publish.reproduce import Outcome, Reproduction
from pearrt.trust.authority import Signer, key_id
from pearrt.trust.release import Release
from pearrt.trust.shape import HEX_32, Shape, time_text

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:pearrt:reproduction:v1"
SUFFIX = ".dsse.json"
MAX_ATTESTATIONS = 256
MAX_TEXT_CHARS = 256
MAX_SOURCE_CHARS = 1024

_OUTCOME = re.compile("|".join(outcome.value for outcome in Outcome))


@dataclass(frozen=True, slots=True)
class Attestation:
    """A verified one. `name` is the signer's in the app, "" for a key that may not sign for it. Digests in
    bytes, time in Unix seconds."""

    index_digest: bytes
    outcome: Outcome
    rebuilt_digest: bytes
    source: str
    builder: str
    made_at: float
    public: bytes
    name: str
    envelope: bytes

    @property
    def title(self) -> str:
        """Who says what, in a line."""
        who = self.name or f"a key that is no signer's ({key_id(self.public)[:8]})"
        what = {
            Outcome.IDENTICAL: "got the same bundle, byte for byte",
            Outcome.SAME_TREE: "got the same files, packed otherwise",
            Outcome.DIFFERENT: "got ANOTHER bundle",
        }[self.outcome]
        return f"{who} {what} from {self.source} on {time_text(self.made_at)[:10]}"


def attest(
    seed: bytes,
    app_key: bytes,
    release: Release,
    found: Reproduction,
    *,
    source: str,
    builder: str,
    now: float,
) -> bytes:
    """The signed envelope. `source` and `builder` name the sources and the tools, for people."""
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": f"pearrt://{encode_key(app_key)}#{release.path}@{release.version}",
                "digest": {"sha256": found.released.hex()},
            }
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "outcome": found.outcome.value,
            "rebuilt": {"sha256": found.rebuilt.hex(), "tree": found.rebuilt_tree.hex()},
            "source": _shown(source)[:MAX_SOURCE_CHARS],
            "builder": _shown(builder)[:MAX_TEXT_CHARS],
            "key": ed25519.public_key(seed).hex(),
            "made": time_text(now),
        },
    }
    return sign(seed, PAYLOAD_TYPE, canonical.encode(statement)).encode()


def read_attestation(data: bytes, signers: Iterable[Signer] = ()) -> Attestation:
    """Verifies one. `signers` of the app lend their names. Raises BadSignature, RemoteError."""
    envelope = DsseEnvelope.parse(data)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ProtocolViolation("an envelope that holds no in-toto statement")
    statement = Shape(canonical.parse(envelope.payload, max_bytes=MAX_ENVELOPE_BYTES), "The statement")
    statement.only("_type", "subject", "predicateType", "predicate")
    if (statement.value["_type"], statement.value["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise ProtocolViolation("a statement that attests no reproduction")
    subjects = statement.objects("subject", 1, "name", "digest")
    if not subjects:
        raise statement.refuse("subject", "is empty")
    predicate = statement.object("predicate")
    public = bytes.fromhex(predicate.match("key", HEX_32))
    if not envelope.verifies(public):
        raise BadSignature("The attestation is not signed by the key that it names.")
    names = {signer.public: signer.name or signer.keyid[:8] for signer in signers}
    return Attestation(
        index_digest=bytes.fromhex(subjects[0].object("digest").match("sha256", HEX_32)),
        outcome=Outcome(predicate.match("outcome", _OUTCOME)),
        rebuilt_digest=bytes.fromhex(predicate.object("rebuilt").match("sha256", HEX_32)),
        source=predicate.words("source", MAX_SOURCE_CHARS),
        builder=predicate.words("builder", MAX_TEXT_CHARS),
        made_at=predicate.time("made"),
        public=public,
        name=names.get(public, ""),
        envelope=data,
    )


def attestations(place: Path | bytes, signers: Sequence[Signer] = ()) -> list[Attestation]:
    """All that verify in a folder, or in one file's bytes: those of signers first, then the newest.

    What does not verify is passed over. Raises StoreError where the folder cannot be read.
    """
    blobs = [place] if isinstance(place, bytes) else _read(place)
    found = []
    for blob in blobs:
        try:
            found.append(read_attestation(blob, signers))
        except (RemoteError, TrustError):
            continue
    return sorted(found, key=lambda each: (not each.name, -each.made_at))


def keep(folder: Path, data: bytes) -> Path:
    """Verifies an attestation and writes it into the folder; one for each bundle and key. Raises as
    `read_attestation`, Full, StoreError."""
    found = read_attestation(data)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{found.index_digest.hex()[:32]}-{key_id(found.public)[:16]}{SUFFIX}"
    if not path.exists() and len(list(folder.glob(f"*{SUFFIX}"))) >= MAX_ATTESTATIONS:
        raise StoreError(f"{folder} holds {MAX_ATTESTATIONS} attestations already.", hint="Remove old ones.")
    write_file(path, data)
    return path


def folder_of(data: Path, app_key: bytes) -> Path:
    """Where attestations about an app are kept, in the data folder `data`."""
    return data / "attestations" / encode_key(app_key)


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _read(folder: Path) -> list[bytes]:
    try:
        paths = sorted(folder.glob(f"*{SUFFIX}"))[:MAX_ATTESTATIONS] if folder.is_dir() else []
        return [path.read_bytes() for path in paths if path.stat().st_size <= MAX_ENVELOPE_BYTES]
    except OSError as e:
        raise StoreError(f"Cannot read {folder}: {e.strerror}.") from e
