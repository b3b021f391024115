"""One app that this machine follows: what is trusted of it, and its peers.

The trust state only moves forward, is written to disk before anyone hears of it, and is what peers are
served. This object is what the swarm asks about the app (`SwarmApp`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pearrt.app.freshness import FIRST_LOOK_S, LOOK_EVERY_S, Confirmations, Newer
from pearrt.app.library import AppFolder
from pearrt.app.machine import this_machine
from pearrt.app.record import Installed
from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Manifest
from pearrt.crypto.hashes import sha256
from pearrt.errors import DigestMismatch, Equivocation, StoreError
from pearrt.link import Link, topic_of
from pearrt.store.service import Store
from pearrt.swarm.membership import Membership
from pearrt.trust.app import TrustedApp, Verdict
from pearrt.trust.choice import Choice, Machine, choose
from pearrt.trust.contradiction import Contradiction
from pearrt.trust.envelope import Envelope
from pearrt.trust.metadata import Timestamp
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.release import Release


@dataclass(frozen=True, slots=True)
class Pending:
    """A release whose blocks are here and that waits for the person's yes, as it asks for more than was
    granted."""

    version: str
    manifest: Manifest


class FollowedApp:
    """State of one app while the daemon runs. `members` is set once the swarm is joined.

    `published`: its releases are made on this machine, so nobody has to be asked what is current. `machine`
    decides which release of the channel is taken here.
    """

    members: Membership

    def __init__(
        self,
        link: Link,
        folder: AppFolder,
        *,
        psk: bytes = b"",
        published: bool = False,
        machine: Machine | None = None,
    ) -> None:
        self.link = link
        self.published = published
        self.machine = machine or this_machine()
        self.folder = folder
        self.topic = topic_of(link.app_key, psk)
        self.mirrors = () if psk else link.mirrors
        self.trusted = self._load()
        self.pending: Pending | None = None
        self.manifests: dict[str, Manifest] = {}
        self.on_proof: Callable[[], None] = lambda: None
        self.confirmations = Confirmations.load(folder.confirmed)
        self.confirmations_saved = True
        self.newer: Newer | None = None
        self.told_of_later_root = False
        self.times_answered = 0  # with metadata that stands
        self.log_kept: tuple[bytes, ...] = ()
        self.looked_at = time.time() - LOOK_EVERY_S + FIRST_LOOK_S  # in the DHT

    def _load(self) -> TrustedApp | None:
        state = self.folder.trust
        return None if state is None else TrustedApp.restore(self.link.app_key, state)

    @property
    def seeding(self) -> bool:
        """Whether the app is to be seeded without end."""
        wish = self.folder.wish
        return wish is not None and wish.seed

    def accept(self, raw: bytes, *, allow_stale: bool) -> TrustedApp:
        """Verifies metadata that a peer sent and makes it the trusted state, on disk first.

        Raises TrustError where it breaks a rule, RemoteError where it is malformed; nothing changes then.
        """
        trusted = self.judge(raw, allow_stale=allow_stale)
        self.trust(trusted)
        return trusted

    def judge(self, raw: bytes, *, allow_stale: bool) -> TrustedApp:
        """What would be trusted after `accept`, which may be what is trusted now. Raises as it does."""
        metadata = MetadataSet.decode(raw)
        now = time.time()
        if self.trusted is None:
            return TrustedApp.first(self.link.app_key, metadata, now, allow_expired=allow_stale)
        with self._keeping_proof():
            return self.trusted.update(metadata, now, allow_expired=allow_stale)

    def trust(self, trusted: TrustedApp) -> None:
        """Makes a verified state the current one, on disk first."""
        self.folder.create()
        self.folder.trust = trusted.state()
        if self.trusted is not None and trusted.root_version != self.trusted.root_version:
            self.newer = None  # what an earlier root's heartbeat signed binds nobody any more
        self.trusted = trusted

    @property
    def first_root_wanted(self) -> int:
        return 1 if self.trusted is None else self.trusted.root_version + 1

    def metadata_from(self, first_root: int) -> bytes | None:
        """What a peer is served that has all roots below `first_root`; None while nothing is trusted."""
        if self.trusted is None:
            return None
        return self.trusted.metadata.since(first_root).encode()

    def timestamp(self) -> bytes | None:
        return None if self.trusted is None else self.trusted.metadata.timestamp

    def consider_timestamp(self, raw: bytes) -> bool:
        """Whether a gossiped timestamp is signed and newer than ours. Raises TrustError for a bad one."""
        if self.trusted is None:
            return True
        verdict = self.verdict_on(raw)
        self.told_of_later_root = self.told_of_later_root or verdict is Verdict.LATER_ROOT
        if verdict is Verdict.NEWER:
            self.heard_of(raw, time.time())
        return verdict in (Verdict.NEWER, Verdict.LATER_ROOT)

    def verdict_on(self, raw: bytes) -> Verdict:
        """What a timestamp from anywhere means. Raises TrustError for a bad one, RemoteError."""
        assert self.trusted is not None
        with self._keeping_proof():
            return self.trusted.check_timestamp(raw, time.time())

    def heard_of(self, raw: bytes, now: float) -> None:
        """A verified timestamp is newer than the trusted one, and the metadata behind it is not here yet."""
        timestamp = Timestamp.read(Envelope.parse("timestamp", raw))
        if self.newer is None or timestamp.version > self.newer.version:
            self.newer = Newer(timestamp.version, timestamp.signed_at, now)

    def is_current(self, raw: bytes) -> bool:
        """Whether metadata that was accepted holds the timestamp that is trusted now."""
        return self.trusted is not None and MetadataSet.decode(raw).timestamp == self.timestamp()

    def confirm(self, source: str, origin: str) -> None:
        """Somebody showed the trusted timestamp. Kept on disk before long."""
        if self.trusted is not None:
            self.confirmations.add(self.trusted.metadata.timestamp, source, origin, time.time())
            self.confirmations_saved = False

    def save_confirmations(self) -> None:
        """Writes who confirmed the app, if that changed. Raises StoreError."""
        if not self.confirmations_saved and self.folder.known:
            self.folder.confirmed = self.confirmations.dump()
            self.confirmations_saved = True

    @contextlib.contextmanager
    def _keeping_proof(self) -> Iterator[None]:
        """An equivocation is raised, and what proves it is kept."""
        try:
            yield
        except Equivocation as e:
            if self.folder.keep_equivocation(Contradiction(e.first, e.second, e.evidence)):
                self.on_proof()
            raise

    def proof(self) -> bytes | None:
        """The kept proof that statements of the app contradict each other."""
        try:
            found = self.folder.equivocation
        except StoreError:
            return None  # damaged: nothing to tell
        return None if found is None else found.encode()

    def consider_proof(self, raw: bytes) -> bool:
        """Verifies a proof that a peer told, and keeps it if it is the first. Raises as `Contradiction.check`
        does."""
        found = Contradiction.decode(raw)
        if self.trusted is None:
            return False
        found.check(self.trusted)
        return self.folder.keep_equivocation(found)


def read_index(store: Store, digest: bytes, block_ids: tuple[bytes, ...]) -> Index:
    """The index with this digest, out of blocks that the store holds.

    Raises StoreError where blocks are absent, DigestMismatch where together they are not what was signed.
    """
    data = b"".join(store.get(block_id) for block_id in block_ids)
    if sha256(data) != digest:
        raise DigestMismatch("The blocks of the index are not the index that was signed.")
    return Index.parse(data)


def installed_manifest(app: FollowedApp, installed: Installed, store: Store) -> Manifest:
    """The manifest of an installed release, from its verified index; kept, since every start asks for it."""
    if installed.index_digest not in app.manifests:
        app.manifests = {installed.index_digest: installed_index(installed, store).manifest}
    return app.manifests[installed.index_digest]


def installed_index(installed: Installed, store: Store) -> Index:
    """The index of an installed release. Raises as `read_index`."""
    digest, *blocks = (bytes.fromhex(text) for text in (installed.index_digest, *installed.index_blocks))
    return read_index(store, digest, tuple(blocks))


def held(app: FollowedApp, store: Store) -> list[tuple[bytes, tuple[bytes, ...], Index]]:
    """Digest, ids of the index's blocks, and index of every bundle of the app whose index the store holds."""
    found = []
    for digest, block_ids in _bundles(app).items():
        try:
            found.append((digest, block_ids, read_index(store, digest, block_ids)))
        except StoreError:
            continue
    return found


def advertise(app: FollowedApp, digest: bytes, index_blocks: tuple[bytes, ...], index: Index) -> None:
    """Tells the app's peers what the store holds of one bundle, and serves it."""
    app.members.set_bundle(digest, [block.id for block in index.blocks], index_blocks=index_blocks)


def _bundles(app: FollowedApp) -> dict[bytes, tuple[bytes, ...]]:
    """Index digest -> ids of the index's blocks, of all releases this machine has to do with."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for installed in (app.folder.previous, app.folder.installed):
        if installed is not None:
            found[bytes.fromhex(installed.index_digest)] = tuple(map(bytes.fromhex, installed.index_blocks))
    for release in wanted(app):
        found[release.index_digest] = release.index_blocks
    return found


def wanted(app: FollowedApp) -> Iterator[Release]:
    """The releases to have at hand: the chosen and the newest of the channel; where they are published, all
    there are. Whoever seeds has what a rollout falls back on, too."""
    choice = current_choice(app)
    if choice is None or app.trusted is None:
        return
    newest = app.trusted.releases if app.published else (choice.newest,)
    older = [release.before for release in newest if release] if app.published or app.seeding else []
    yield from (release for release in (choice.release, *newest, *older) if release is not None)


def current_release(app: FollowedApp) -> Release | None:
    """The release of the link's channel that this machine takes, in the trusted state."""
    choice = current_choice(app)
    return None if choice is None else choice.release


def current_choice(app: FollowedApp, *, eager: bool = False) -> Choice | None:
    """What this machine takes of the link's channel, and why not the newest; None where nothing is trusted.

    `eager`: the person asked for the newest, however far it is rolled out.
    """
    if app.trusted is None:
        return None
    return choose(app.trusted, app.link.channel, app.machine, time.time(), eager=eager)
