"""From a link to an unpacked release: the straight line of the daemon's side.

    discovery -> peers -> trusted release -> blocks -> store -> unpack -> switch -> seed

Nothing is unpacked before all of it is verified, and nothing replaces the installed release before the new
tree is whole. Interrupted anywhere, it goes on where it was: the store keeps what was fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from pearrt.app import pins
from pearrt.app.durable import boot_id
from pearrt.app.followed import FollowedApp, Pending, advertise, current_choice, read_index, wanted
from pearrt.app.mirrors import MIRROR, fetch_blocks, offers
from pearrt.app.progress import Progress, Report, Stage
from pearrt.app.record import Installed
from pearrt.bundle.index import Index, refs_of_index
from pearrt.bundle.unpack import unpack
from pearrt.errors import NetworkError, PeerTimeout, RemoteError, Rollback, TrustError, UserError
from pearrt.store.service import Store
from pearrt.swarm.membership import Progress as Fetched
from pearrt.trust.checks import check_unexpired
from pearrt.trust.choice import Choice
from pearrt.trust.release import Release
from pearrt.trust.revocation import Action

NOT_DURABLE = "unknown"

log = logging.getLogger(__name__)


async def install(
    app: FollowedApp,
    store: Store,
    report: Report,
    *,
    allow_stale: bool = False,
    foreground: bool = True,
    eager: bool = False,
    may_switch: Callable[[Index], bool] = lambda _: True,
) -> Installed:
    """Brings the newest release of `app` that is known onto this machine and makes it the one that runs;
    gives that one. `ask` before: this asks nobody what is newest.

    A release that `may_switch` refuses is fetched, left `pending`, and the installed one stays; what it
    raises keeps any release from being installed.
    It is not durable yet: see `durable.make_durable`. Raises NoPeers when nobody has it, TrustError when what
    they have breaks a rule (what is installed still runs), StoreError when the disk does not take it.
    `eager`: the person asked for it, so its rollout does not hold it back.
    """
    choice = newest(app, report, allow_stale=allow_stale, eager=eager)
    release, installed = chosen(app, choice), app.folder.installed
    if installed is not None and goes_back(app, choice, installed):
        return installed
    if installed is not None and not eager and release.index_digest.hex() == app.folder.skipped:
        return installed  # the person stepped back from it
    return await install_release(app, store, release, report, foreground=foreground, may_switch=may_switch)


async def install_release(
    app: FollowedApp,
    store: Store,
    release: Release,
    report: Report,
    *,
    foreground: bool = True,
    may_switch: Callable[[Index], bool] = lambda _: True,
) -> Installed:
    """`install` of a release that is trusted already; asks nobody for blocks that are all here."""
    installed = app.folder.installed
    if installed is not None and installed.index_digest == release.index_digest.hex():
        return _confirm(app, installed, release)
    index = await fetch(app, store, release, report, foreground=foreground)
    if not may_switch(index) and installed is not None:
        app.pending = Pending(release.version, index.manifest)
        return installed
    await asyncio.to_thread(_unpack, app, store, release, index, report)
    report(Progress(Stage.READY, detail=release.version))
    return _switch(app, store, release, index)


async def obtain(
    app: FollowedApp, store: Store, report: Report, *, allow_stale: bool = False, foreground: bool = True
) -> Release:
    """Brings the newest known release's blocks here to seed them, without installing it. Raises as
    `install`."""
    choice = newest(app, report, allow_stale=allow_stale, eager=True)
    release = chosen(app, choice)
    await fetch(app, store, release, report, foreground=foreground)
    if release.before is not None:
        await fetch(app, store, release.before, report, foreground=foreground)
    forget_older(app, store, keep=(release, release.before))
    report(Progress(Stage.READY, detail=release.version))
    return release


async def ask(app: FollowedApp, report: Report, *, allow_stale: bool = False) -> None:
    """Asks the app's peers what is newest and trusts it. Hold no lock meanwhile: they may be long in coming,
    and what others install, import or roll back does not depend on them.

    Raises as `catch_up`, unless another who asked at the same time was answered, or nothing is installed of
    what is known: its blocks may all be here.
    """
    report(Progress(Stage.FINDING))
    answered = app.times_answered
    try:
        if not app.published:
            await catch_up(app, allow_stale=allow_stale)
    except (NetworkError, Rollback) as e:
        known_only = app.trusted is not None and app.folder.installed is None
        if app.times_answered == answered and not (known_only and isinstance(e, NetworkError)):
            raise


def newest(app: FollowedApp, report: Report, *, allow_stale: bool, eager: bool = False) -> Choice:
    """What this machine takes of the newest that is known and that the app's signers vouch for."""
    if app.trusted is not None and app.folder.installed is None and not allow_stale:
        app.trusted.check_expiry(time.time(), app.link.channel)  # looking at it before was no yes
    choice = current_choice(app, eager=eager)
    if choice is None or choice.newest is None:
        raise UserError(
            f"The app has no release in its channel {app.link.channel!r} for {app.machine.platforms[0]}."
        )
    if not allow_stale:
        _check_channel(app, choice)
    report(Progress(Stage.VERIFYING, detail=(choice.release or choice.newest).version))
    return choice


def _check_channel(app: FollowedApp, choice: Choice) -> None:
    """Raises Expired where an update would come from a channel whose own metadata is out of date."""
    assert app.trusted is not None
    installed, speaker = app.folder.installed, app.trusted.channels.get(app.link.channel)
    new = choice.release is not None and (
        installed is None or installed.index_digest != choice.release.index_digest.hex()
    )
    if new and speaker is not None:
        check_unexpired(speaker, max(time.time(), app.trusted.time_floor))


def chosen(app: FollowedApp, choice: Choice) -> Release:
    """The release to take. With the reason why nothing may be taken, raises TrustError where the newest was
    revoked, UserError where it needs a newer pearrt."""
    if choice.release is not None:
        return choice.release
    assert app.trusted is not None
    assert choice.newest is not None
    if app.trusted.revoked(choice.newest.index_digest) is not None:
        raise TrustError(choice.reason, hint="Its signers may release another version.")
    raise UserError(choice.reason, hint="Update pearrt, then run it again.")


def goes_back(app: FollowedApp, choice: Choice, installed: Installed) -> bool:
    """Whether the choice is older than what is installed, so that a rollout holds only others back.

    Signers who want copies of a revoked release to return have their way.
    """
    assert app.trusted is not None
    revocation = app.trusted.revoked(bytes.fromhex(installed.index_digest))
    if revocation is not None and revocation.action is Action.RETURN:
        return False
    release = choice.release
    return release is not choice.newest and release is not None and release.sequence < installed.sequence


async def catch_up(app: FollowedApp, *, allow_stale: bool = False) -> None:
    """Asks several peers, and the link's mirrors, for metadata and trusts the newest that stands, so that one
    that withholds it is outvoted.

    Raises NoPeers where nobody answers; what was wrong with the last offer where none stands: Rollback, say,
    where all are older than what is trusted here.
    """
    accepted, refusal = False, None
    async with contextlib.aclosing(offers(app)) as offered:
        async for offer in offered:
            try:
                app.accept(offer.metadata, allow_stale=allow_stale)
                accepted = True
                app.times_answered += 1
            except (TrustError, RemoteError) as e:
                log.warning("metadata from %s: %s", offer.source or "a peer", e)
                refusal = e
            else:
                if offer.source and app.is_current(offer.metadata):
                    app.confirm(offer.source, MIRROR)
    if accepted:
        app.members.timestamp_changed()
    else:
        raise refusal or PeerTimeout(
            "No peer answered with the app's metadata.", hint="Try again in a while."
        )


async def fetch(
    app: FollowedApp, store: Store, release: Release, report: Report, *, foreground: bool = True
) -> Index:
    """Brings all blocks of a trusted release into the store, pinned; gives its index.

    What is not in the `foreground` waits for whatever is.
    """
    index = await fetch_index(app, store, release)
    _pin(app, store, release, [block.id for block in index.blocks])
    advertise(app, release.index_digest, release.index_blocks, index)
    if await fetch_blocks(
        app,
        store,
        index.blocks,
        lambda: app.members.fetch(index.blocks, progress=fetching(release, report), foreground=foreground),
    ):
        advertise(app, release.index_digest, release.index_blocks, index)
    return index


def fetching(release: Release, report: Report) -> Callable[[Fetched], None]:
    """Tells `report` how far the swarm is with a release's blocks."""

    def fetched(step: Fetched) -> None:
        given = {peer_id.hex(): count for peer_id, count in step.bytes_by_peer.items()}
        report(Progress(Stage.FETCHING, step.stored_bytes, step.total_bytes, release.version, given))

    return fetched


async def fetch_index(app: FollowedApp, store: Store, release: Release) -> Index:
    """Brings the index alone. Raises NoPeers, DigestMismatch."""
    _pin(app, store, release, ())
    refs = refs_of_index(release.index_blocks, release.index_size)
    await fetch_blocks(app, store, refs, lambda: app.members.fetch(refs))
    return await asyncio.to_thread(read_index, store, release.index_digest, release.index_blocks)


def _unpack(app: FollowedApp, store: Store, release: Release, index: Index, report: Report) -> None:
    app.folder.create()
    tree = app.folder.tree(release.index_digest.hex())
    if tree.exists():
        return

    def unpacked(done: int, total: int) -> None:
        report(Progress(Stage.UNPACKING, done, total, release.version))

    unpack(index, store.get, tree, progress=unpacked, sync=False)


def _switch(app: FollowedApp, store: Store, release: Release, index: Index) -> Installed:
    installed = Installed.of(release, index.manifest.name, time.time(), boot=boot_id() or NOT_DURABLE)
    app.folder.switch(installed)
    app.pending = None
    forget_older(app, store)
    return installed


def _confirm(app: FollowedApp, installed: Installed, release: Release) -> Installed:
    """The same tree released again, under another version or sequence: nothing to fetch."""
    if (installed.version, installed.sequence) == (release.version, release.sequence):
        return installed
    renewed = replace(installed, version=release.version, sequence=release.sequence)
    app.folder.switch(renewed)
    return renewed


def _pin(app: FollowedApp, store: Store, release: Release, ids: list[bytes] | tuple[()]) -> None:
    store.pin(pins.of_releases(app.link.app_key) + release.index_digest.hex(), [*release.index_blocks, *ids])


def forget_older(app: FollowedApp, store: Store, keep: Iterable[Release | None] = ()) -> None:
    """Keeps the blocks of `keep` and of the releases to have at hand, and trees and blocks of the installed
    release and the one before it."""
    trees = {r.index_digest for r in (app.folder.installed, app.folder.previous) if r is not None}
    blocks = trees | {release.index_digest.hex() for release in (*wanted(app), *keep) if release}
    prefix = pins.of_releases(app.link.app_key)
    for digest in pins.pinned(store, prefix):
        if digest not in blocks:
            store.unpin(prefix + digest)
            app.members.drop_bundle(bytes.fromhex(digest))
    app.folder.prune(trees)
