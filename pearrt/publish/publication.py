"""An app that is published from this machine: a private folder with its metadata and its heartbeat key.

    <publishing>/<55-letter key>/metadata.benc            the MetadataSet
                                 heartbeat-<key id>.json  {"seed", "period_s"}: heartbeat.py says what for
                                 log/                     what was released before: history.py
                                 waiting.benc             what waits for the app's witnesses: waiting.py
                                 lock                     held while one process writes

Nothing is written that this machine's own verifier would not accept as an update. Every file is replaced in
one step, and a new heartbeat key lies on disk before metadata names it: a crash at any moment leaves the old
state or the new one, and an interrupted commit is simply made again.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pearrt.atomic import sync_folder, write_file
from pearrt.crypto import ed25519
from pearrt.errors import Corrupt, Expired, PearrtError, UserError
from pearrt.link import decode_key, encode_key
from pearrt.publish.app import NewApp
from pearrt.publish.draft import Draft, Signature, combine
from pearrt.publish.heartbeat import DEFAULT_PERIOD_S, Heartbeat
from pearrt.publish.history import keep_leaf
from pearrt.publish.request import current_of
from pearrt.publish.servable import check_servable
from pearrt.publish.waiting import Waiting
from pearrt.publish.witness_answer import WitnessAnswer
from pearrt.store.lock import ProcessLock
from pearrt.trust.app import TrustedApp
from pearrt.trust.delegation import is_channel
from pearrt.trust.envelope import Envelope
from pearrt.trust.metadata import Root, Timestamp
from pearrt.trust.metadata_set import MAX_SET_BYTES, MetadataSet

METADATA = "metadata.benc"
WAITING = "waiting.benc"
LOCK = "lock"
MAX_HEARTBEAT_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Publication:
    """What lies in the folder, verified. Methods that write return the new state.

    `trusted` is published; `waiting`, where there is one, takes its place once its witnesses have seen it.
    """

    folder: Path
    trusted: TrustedApp
    heartbeat: Heartbeat
    waiting: Waiting | None = None

    @property
    def app_key(self) -> bytes:
        return self.trusted.app_key

    @property
    def metadata(self) -> MetadataSet:
        return self.trusted.metadata

    @classmethod
    def create(  # noqa: PLR0917 (the two lists of signatures follow the two drafts of `new`)
        cls,
        publishing: Path,
        new: NewApp,
        root_signatures: Iterable[Signature],
        targets_signatures: Iterable[Signature],
        heartbeat: Heartbeat,
        now: float,
    ) -> Publication:
        """Makes the app's folder under `publishing`, in one step. Raises ThresholdNotMet, BadSignature,
        UserError."""
        root = combine(new.root, root_signatures)
        targets = combine(new.targets, targets_signatures)
        trusted = TrustedApp.first(new.app_key, heartbeat.beat([root], targets, now), now)
        return cls.begin(publishing, trusted, heartbeat)

    @classmethod
    def begin(
        cls,
        publishing: Path,
        trusted: TrustedApp,
        heartbeat: Heartbeat,
        *,
        instead: bool = False,
        waiting: Waiting | None = None,
    ) -> Publication:
        """Makes the app's folder out of verified metadata that `heartbeat` confirmed, in one step.

        Where the root that names the heartbeat is in `waiting`, it confirms nothing before that is published.
        Raises UserError where there is one; `instead` sets that one aside, as `.old-<key>`.
        """
        check_servable(trusted.metadata)
        folder = publishing / encode_key(trusted.app_key)
        if folder.exists() and not instead:
            raise UserError(f"{folder} exists already.")
        publishing.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = publishing / f".new-{folder.name}"
        shutil.rmtree(draft, ignore_errors=True)  # of an attempt that was killed
        draft.mkdir(mode=0o700)
        write_heartbeat(draft, heartbeat)
        write_file(draft / METADATA, trusted.metadata.encode())
        if waiting is not None:
            write_file(draft / WAITING, waiting.metadata.encode())
        if instead and folder.exists():
            old = publishing / f".old-{folder.name}"
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        draft.rename(folder)
        sync_folder(publishing)
        return cls(folder, trusted, heartbeat, waiting)

    @classmethod
    def open(cls, folder: Path) -> Publication:
        """Reads and verifies a folder. Raises UserError where there is none, Corrupt where it is damaged."""
        try:
            metadata = MetadataSet.decode(_read(folder / METADATA, MAX_SET_BYTES))
            trusted = TrustedApp.first(decode_key(folder.name), metadata, 0.0, allow_expired=True)
            waiting = _read_waiting(folder, trusted)
        except FileNotFoundError as e:
            raise UserError(
                f"Nothing is published from {folder}.", hint="`pearrt app new` makes an app."
            ) from e
        except (PearrtError, OSError) as e:
            raise Corrupt(f"{folder / METADATA} is damaged: {e}", hint="Restore it from a backup.") from e
        root = trusted.root
        if waiting is not None and not heartbeat_files(folder, root):
            root = waiting.offered.root  # the app moves to this machine once witnesses have seen it
        return cls(folder, trusted, read_heartbeat(root, folder), waiting)

    def commit(self, draft: Draft, signatures: Iterable[Signature], now: float) -> Publication:
        """Publishes a release: checked as everyone else will check it, then written atomically.

        Raises ThresholdNotMet with the names of the missing, BadSignature, or UserError where another release
        was published since the draft was made.
        """
        return self.commit_signed([draft], {draft.role: combine(draft, signatures)}, now)

    def commit_signed(
        self,
        drafts: Sequence[Draft],
        blobs: Mapping[str, bytes],
        now: float,
        *,
        heartbeat: Heartbeat | None = None,
    ) -> Publication:
        """Publishes the signed blobs of `drafts`, all at once; `heartbeat` where a root names another one.

        Where the app's witnesses have not seen them yet, they are kept as `waiting` instead. Raises as
        `commit` does, and leaves everything as it was.
        """
        with self._locked():
            current = self._reopened()
            if current.waiting is not None:
                _check_waits(current.waiting, drafts)
                return current
            for draft in drafts:
                _check_next(current.trusted, draft)
            roots, beating = current.metadata.roots, heartbeat or current.heartbeat
            if "root" in blobs:
                (version,) = [draft.version for draft in drafts if draft.role == "root"]
                roots = (*roots[: version - 1], blobs["root"])
                write_heartbeat(self.folder, beating)
            taken = Publication(self.folder, current.trusted, beating)
            channels = {role: raw for role, raw in blobs.items() if is_channel(role)}
            made = taken._replace(roots, blobs.get("targets", current.metadata.targets), now, channels)
            if made.waiting is not None:
                return replace(current, waiting=made.waiting)
            if beating.seed != current.heartbeat.seed:
                heartbeat_file(self.folder, current.heartbeat).unlink(missing_ok=True)
            return made

    def witness(self, answers: Iterable[WitnessAnswer], now: float) -> Publication:
        """Adds what witnesses answered to what waits, and publishes it once they are enough.

        Raises UserError where nothing waits, BadSignature for an answer that is none to it.
        """
        with self._locked():
            current = self._reopened()
            if current.waiting is None:
                raise UserError(
                    "Nothing of this app waits for witnesses.",
                    hint="`pearrt info` shows who saw what is out.",
                )
            waiting = current.waiting.with_answers(answers)
            write_file(self.folder / WAITING, waiting.metadata.encode())
            if not waiting.is_complete:
                return replace(current, waiting=waiting)
            beating = read_heartbeat(waiting.offered.root, self.folder)
            metadata = beating.beat(
                waiting.metadata.roots,
                waiting.metadata.targets,
                now,
                _later(waiting.metadata, current.trusted, beating),
                delegated=waiting.metadata.delegated,
            )
            metadata = replace(metadata, witnessed=waiting.metadata.witnessed)
            trusted = current.trusted.update(metadata, now, allow_expired=True)
            made = Publication(self.folder, current.trusted, beating)._write(trusted)
            (self.folder / WAITING).unlink()
            for old in self.folder.glob("heartbeat-*.json"):
                if old != heartbeat_file(self.folder, beating):
                    old.unlink()
            return made

    def withdraw(self) -> Publication:
        """Drops what waits. Who of the witnesses has cosigned it will not cosign another in its place."""
        with self._locked():
            current = self._reopened()
            (self.folder / WAITING).unlink(missing_ok=True)
            return replace(current, waiting=None)

    def refresh(self, now: float) -> Publication:
        """The heartbeat: signs anew that what is published is current.

        Raises Expired where it is the signers' turn, as their root or targets metadata ran out.
        """
        with self._locked():
            current = self._reopened()
            for role in (current.trusted.root, current.trusted.targets):
                if now >= role.expires:
                    raise Expired(
                        f"The {role.envelope.role} metadata expired; no heartbeat can renew it.",
                        hint="The signers must sign a new release or a new root.",
                    )
            made = current._replace(current.metadata.roots, current.metadata.targets, now)
            return replace(made, waiting=current.waiting)

    def refresh_due(self, now: float) -> bool:
        """Whether a heartbeat's period has passed since the last one."""
        period_s = self.heartbeat.period_s
        due = period_s > 0 and now >= self.trusted.timestamp.signed_at + period_s
        return due and self.heartbeat.is_named_by(self.trusted.root)

    def _replace(
        self,
        roots: tuple[bytes, ...],
        targets: bytes,
        now: float,
        channels: Mapping[str, bytes] | None = None,
    ) -> Publication:
        metadata = self.heartbeat.beat(roots, targets, now, self.metadata, delegated=channels)
        # Expired roles are renewed one after the other: what is still expired must not stop the first of
        # them.
        offered = self.trusted.update(metadata, now, allow_expired=True, unwitnessed=True)
        waiting = Waiting.of(self.trusted, offered)
        if not waiting.is_complete:
            write_file(self.folder / WAITING, waiting.metadata.encode())
            return replace(self, waiting=waiting)
        if waiting.demands:
            offered = self.trusted.update(waiting.metadata, now, allow_expired=True)
        return self._write(offered)

    def _write(self, trusted: TrustedApp) -> Publication:
        """Replaces what is published by what was verified. Raises UserError for too much to give to peers."""
        check_servable(trusted.metadata)
        for replaced in (self.trusted.targets, *self.trusted.channels.values()):
            if replaced.envelope.raw not in (trusted.metadata.targets, *trusted.metadata.delegated.values()):
                keep_leaf(self.folder, replaced.envelope)
        write_file(self.folder / METADATA, trusted.metadata.encode())
        return Publication(self.folder, trusted, self.heartbeat)

    def _reopened(self) -> Publication:
        """What is on disk now, which another process may have written since this was opened."""
        current = Publication.open(self.folder)
        if current.waiting is None:  # or it was published, by a process that was killed then
            (self.folder / WAITING).unlink(missing_ok=True)
        return current

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Raises Locked while another process publishes from the same folder."""
        lock = ProcessLock(self.folder / LOCK)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()


def new_heartbeat(period_s: int = DEFAULT_PERIOD_S) -> Heartbeat:
    """A heartbeat with a fresh key."""
    return Heartbeat(secrets.token_bytes(ed25519.SEED_BYTES), period_s)


def is_published(publishing: Path, app_key: bytes) -> bool:
    """Whether this machine is where the app is published from."""
    return (publishing / encode_key(app_key) / METADATA).is_file()


def publications(publishing: Path) -> list[Path]:
    """The folders of all apps published from here, in order of their keys."""
    found = sorted(publishing.glob("[a-z0-9]*")) if publishing.is_dir() else []
    return [folder for folder in found if (folder / METADATA).is_file()]


def _check_next(trusted: TrustedApp, draft: Draft) -> None:
    """A draft is the next version, or what was published already: an interrupted commit may be repeated."""
    current = current_of(trusted, draft.role)
    if current is None:  # a new channel: its first version is checked with everything else
        return
    if draft.version != current.version + 1 and draft.payload != current.envelope.payload:
        raise UserError(
            f"This is {draft.role} {draft.version}, but {draft.role} {current.version} is published already.",
            hint="Draft it anew from what is published now, and have that signed.",
        )


def _check_waits(waiting: Waiting, drafts: Sequence[Draft]) -> None:
    """Raises UserError unless it is these drafts that wait."""
    offered = waiting.offered
    said = {each.envelope.payload for each in (offered.root, offered.targets, *offered.channels.values())}
    if not all(draft.payload in said for draft in drafts):
        raise UserError(
            f"Another release waits for the app's witnesses: {waiting.progress()}.",
            hint="`pearrt release witness LINK ANSWER` publishes it; with --drop it is given up.",
        )


def _later(metadata: MetadataSet, trusted: TrustedApp, heartbeat: Heartbeat) -> MetadataSet:
    """`metadata` as what the heartbeat follows: with its published timestamp, where that is the newer one."""
    mine = Timestamp.read(Envelope.parse("timestamp", metadata.timestamp))
    published = trusted.timestamp
    if heartbeat.keyid in published.envelope.signatures and published.version > mine.version:
        return replace(metadata, timestamp=published.envelope.raw)
    return metadata


def _read_waiting(folder: Path, trusted: TrustedApp) -> Waiting | None:
    try:
        return Waiting.restore(trusted, _read(folder / WAITING, MAX_SET_BYTES))
    except FileNotFoundError:
        return None


def _read(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Corrupt(f"{path} is larger than it can be.")
    return data


def heartbeat_file(folder: Path, heartbeat: Heartbeat) -> Path:
    """Where this heartbeat's key lies, or will lie."""
    return _heartbeat_path(folder, heartbeat.keyid)


def heartbeat_files(folder: Path, root: Root) -> list[Path]:
    """The files in `folder` of heartbeats that the root names."""
    named = [_heartbeat_path(folder, keyid) for keyid in root.authorities["timestamp"].signers]
    return [path for path in named if path.exists()]


def _heartbeat_path(folder: Path, keyid: str) -> Path:
    return folder / f"heartbeat-{keyid[:16]}.json"


def write_heartbeat(folder: Path, heartbeat: Heartbeat) -> None:
    """Keeps the key in `folder`, durable on return."""
    fields = {"seed": heartbeat.seed.hex(), "period_s": heartbeat.period_s}
    write_file(heartbeat_file(folder, heartbeat), json.dumps(fields).encode() + b"\n")


def read_heartbeat(root: Root, folder: Path) -> Heartbeat:
    """The heartbeat whose key the root names. Raises Corrupt where none is there."""
    for keyid in root.authorities["timestamp"].signers:
        path = _heartbeat_path(folder, keyid)
        try:
            fields = json.loads(_read(path, MAX_HEARTBEAT_FILE_BYTES))
            heartbeat = Heartbeat(bytes.fromhex(fields["seed"]), int(fields["period_s"]))
            if heartbeat.keyid == keyid:
                return heartbeat
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise Corrupt(
                f"The heartbeat key {path} is missing or damaged.",
                hint="Restore it from a backup, or let the signers rotate to a new one.",
            ) from e
    raise Corrupt(f"No heartbeat key in {folder} is the one that the root names.")
