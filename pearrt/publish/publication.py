"""An app that is published from this machine: a private folder with its metadata and its heartbeat key.

    <publishing>/<55-letter key>/metadata.benc   the MetadataSet, replaced atomically
                                 heartbeat.json  {"seed", "period_s"}, mode 0600: see heartbeat.py for what it can do
                                 lock            held while one process writes

Nothing is written that this machine's own verifier would not accept as an update: a crash at any moment leaves the old
state or the new one, and an interrupted commit is simply made again.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pearrt.crypto import ed25519
from pearrt.errors import Corrupt, Locked, PearrtError, UserError
from pearrt.link import decode_key, encode_key
from pearrt.publish.app import NewApp
from pearrt.publish.draft import Draft, Signature, combine
from pearrt.publish.heartbeat import DEFAULT_PERIOD_S, Heartbeat
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MAX_SET_BYTES, MetadataSet

METADATA = "metadata.benc"
HEARTBEAT = "heartbeat.json"
LOCK = "lock"
MAX_HEARTBEAT_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Publication:
    """What lies in the folder: verified metadata and the heartbeat. Methods that write return the new state."""

    folder: Path
    trusted: TrustedApp
    heartbeat: Heartbeat

    @property
    def app_key(self) -> bytes:
        return self.trusted.app_key

    @property
    def metadata(self) -> MetadataSet:
        return self.trusted.metadata

    @classmethod
    def create(
        cls,
        publishing: Path,
        new: NewApp,
        signatures: Iterable[Signature],
        targets_signatures: Iterable[Signature],
        heartbeat: Heartbeat,
        now: float,
    ) -> Publication:
        """Makes the app's folder under `publishing`. Raises ThresholdNotMet, BadSignature, UserError."""
        root = combine(new.root, signatures)
        targets = combine(new.targets, targets_signatures)
        metadata = heartbeat.beat([root], targets, now)
        trusted = TrustedApp.first(new.app_key, metadata, now)
        folder = publishing / encode_key(new.app_key)
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError as e:
            raise UserError(f"{folder} exists already.") from e
        made = cls(folder, trusted, heartbeat)
        with made._locked():
            _write(folder / HEARTBEAT, _heartbeat_bytes(heartbeat))
            _write(folder / METADATA, metadata.encode())
        return made

    @classmethod
    def open(cls, folder: Path) -> Publication:
        """Reads and verifies a folder. Raises UserError where there is none, Corrupt where it is damaged."""
        data = _read(folder / METADATA, MAX_SET_BYTES)
        fields = _read(folder / HEARTBEAT, MAX_HEARTBEAT_FILE_BYTES)
        try:
            parsed = json.loads(fields)
            heartbeat = Heartbeat(bytes.fromhex(parsed["seed"]), int(parsed["period_s"]))
            trusted = TrustedApp.first(
                decode_key(folder.name), MetadataSet.decode(data), 0.0, allow_expired=True
            )
        except (PearrtError, ValueError, KeyError, TypeError) as e:
            raise Corrupt(f"{folder} is damaged: {e}", hint="Restore it from a backup.") from e
        return cls(folder, trusted, heartbeat)

    def commit(self, draft: Draft, signatures: Iterable[Signature], now: float) -> Publication:
        """Publishes signed targets or a signed root: verified as everyone else will, then written atomically.

        Raises ThresholdNotMet with the names of the missing, BadSignature, Rollback where another commit was first.
        """
        blob = combine(draft, signatures)
        with self._locked():
            current = Publication.open(self.folder)
            roots, targets = list(current.metadata.roots), current.metadata.targets
            if draft.role == "root":
                roots.append(blob)
            else:
                targets = blob
            return current._replace(roots, targets, now)

    def refresh(self, now: float) -> Publication:
        """The heartbeat: signs anew that what is published is current. Raises Expired where root or targets are."""
        with self._locked():
            current = Publication.open(self.folder)
            return current._replace(list(current.metadata.roots), current.metadata.targets, now)

    def refresh_due(self, now: float) -> bool:
        """Whether a heartbeat's period has passed since the last one."""
        return (
            self.heartbeat.period_s > 0 and now >= self.trusted.timestamp.signed_at + self.heartbeat.period_s
        )

    def _replace(self, roots: list[bytes], targets: bytes, now: float) -> Publication:
        metadata = self.heartbeat.beat(roots, targets, now, self.metadata)
        trusted = self.trusted.update(metadata, now)
        _write(self.folder / METADATA, trusted.metadata.encode())
        return Publication(self.folder, trusted, self.heartbeat)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.folder / LOCK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as e:
            raise Locked(f"Another process is publishing from {self.folder}.", hint="Try again.") from e
        finally:
            os.close(descriptor)


def new_heartbeat(period_s: int = DEFAULT_PERIOD_S) -> Heartbeat:
    """A heartbeat with a fresh key."""
    return Heartbeat(secrets.token_bytes(ed25519.SEED_BYTES), period_s)


def publications(publishing: Path) -> list[Path]:
    """The folders of all apps published from here, in order of their keys."""
    found = sorted(publishing.iterdir()) if publishing.is_dir() else []
    return [folder for folder in found if (folder / METADATA).is_file()]


def _heartbeat_bytes(heartbeat: Heartbeat) -> bytes:
    return json.dumps({"seed": heartbeat.seed.hex(), "period_s": heartbeat.period_s}).encode() + b"\n"


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError as e:
        raise UserError(
            f"Nothing is published from {path.parent}.", hint="`pearrt app new` makes an app."
        ) from e
    except OSError as e:
        raise UserError(f"Cannot read {path}: {e.strerror}.") from e
    if len(data) > max_bytes:
        raise Corrupt(f"{path} is larger than it can be.")
    return data


def _write(path: Path, data: bytes) -> None:
    """Replaces a file so that a crash leaves the old one or the new one, on disk when this returns."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
