"""A witness's shell: what it vouched for, one folder per app, remembered before anything is signed.

<data>/witness/<55-letter key>/book.benc    what was seen last: trust/witness_book.py
                               refused/     what contradicts it, as it was shown, by its SHA-256
                               lock         held while one process looks
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256
from pearrt.errors import Equivocation
from pearrt.link import encode_key
from pearrt.paths import Home
from pearrt.publish.desk import read_bounded
from pearrt.publish.witness_answer import MAX_FILE_BYTES, WitnessAnswer, WitnessRequest
from pearrt.store.lock import ProcessLock
from pearrt.trust.witness_book import MAX_BOOK_BYTES, WitnessBook, demands

BOOK = "book.benc"
REFUSED = "refused"
MAX_REFUSED = 16


@dataclass(frozen=True, slots=True)
class Seen:
    """What was vouched for. `name`: what the app's root calls this witness; `cosigned`: names of heads."""

    app_key: bytes
    answer: WitnessAnswer
    name: str
    version: int
    releases: tuple[str, ...]
    cosigned: tuple[str, ...]


def witness(home: Home, path: Path, seed: bytes, now: float) -> Seen:
    """Looks at a publisher's file and cosigns what follows all that was seen before. Blocking.

    Raises Equivocation, with the file kept as evidence, where it is another history; Rollback for an older
    one; BadSignature where the key is no witness's; TrustError or RemoteError for what does not verify.
    """
    data = read_bounded(path, MAX_FILE_BYTES)
    request = WitnessRequest.decode(data)
    folder = home.data / "witness" / encode_key(request.app_key)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = ProcessLock(folder / "lock")
    lock.acquire()
    try:
        book = _read(folder, request.app_key)
        try:
            book, offered = book.take(request.metadata, now)
        except Equivocation:
            _keep_evidence(folder, data)
            raise
        made = book.cosign(offered, seed, now)  # raises for a stranger's key: then nothing is kept
        write_file(folder / BOOK, book.encode())
    finally:
        lock.release()
    public = ed25519.public_key(seed)
    signers = [each for demand in demands(offered) for each in demand.witnesses.signers.values()]
    name = next(each.name or each.keyid[:8] for each in signers if each.public == public)
    releases = tuple(f"{each.name} {each.version} ({each.path})" for each in offered.releases)
    return Seen(
        request.app_key, WitnessAnswer.of(made), name, offered.targets.version, releases, tuple(sorted(made))
    )


def _read(folder: Path, app_key: bytes) -> WitnessBook:
    path = folder / BOOK
    if not path.exists():
        return WitnessBook(app_key)
    return WitnessBook.decode(app_key, read_bounded(path, MAX_BOOK_BYTES))


def _keep_evidence(folder: Path, data: bytes) -> None:
    """The refused file stays here: with the book it shows both histories. Bounded, the first ones count."""
    refused = folder / REFUSED
    refused.mkdir(mode=0o700, exist_ok=True)
    if len(list(refused.iterdir())) < MAX_REFUSED:
        write_file(refused / f"{sha256(data).hex()}.witness", data)
