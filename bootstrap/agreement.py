"""What the sources say of the runtime's releases, verified by the runtime's own trust rules.

Several are asked, and the newest statement that stands is trusted, so that one that withholds it is outvoted.
Trust is on disk before anything is fetched for it. Where this machine trusted something before, that is the
floor: nothing older is ever taken.
"""

from __future__ import annotations

import contextlib
import queue
import time

from bootstrap.discovery import Discovery, Places
from bootstrap.pool import Pool
from pearrt.app.library import AppFolder
from pearrt.errors import (
    Equivocation,
    Expired,
    NoPeers,
    PearrtError,
    RemoteError,
    Rollback,
    TrustError,
    UserError,
)
from pearrt.link import Link
from pearrt.platform_tag import platform_tags, python_tag
from pearrt.trust.app import TrustedApp
from pearrt.trust.choice import Machine, choose
from pearrt.trust.contradiction import Contradiction
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.release import Release

SETTLE_S = 0.2  # after the first good statement, for others that are on their way
MAX_SETTLE_S = 2.0
POLL_S = 0.02
REFUSED_AFTER_S = 3.0
NEWEST = "999999"  # the version of pearrt that a release may demand: it brings itself


class Agreement:
    """What is trusted of one app, `trusted`, as offers come in. Raises Corrupt for damaged trust state."""

    def __init__(self, folder: AppFolder, *, allow_stale: bool) -> None:
        self._folder = folder
        self._allow_stale = allow_stale
        state = folder.trust
        self.trusted = None if state is None else TrustedApp.restore(folder.app_key, state)
        self.refusal: PearrtError | None = None
        self.accepted = False

    @property
    def first_root_wanted(self) -> int:
        return 1 if self.trusted is None else self.trusted.root_version + 1

    def consider(self, raw: bytes) -> None:
        """Verifies an offer and trusts it, on disk first. Raises TrustError or RemoteError; nothing changes
        then. One that is older than what is trusted is no fault of who offers it."""
        metadata = MetadataSet.decode(raw)
        now = time.time()
        try:
            if self.trusted is None:
                made = TrustedApp.first(self._folder.app_key, metadata, now, allow_expired=self._allow_stale)
            else:
                made = self.trusted.update(metadata, now, allow_expired=self._allow_stale)
        except Equivocation as e:
            self._folder.keep_equivocation(Contradiction(e.first, e.second, e.evidence))
            raise
        self._folder.create()
        self._folder.trust = made.state()
        self.trusted = made
        self.accepted = True

    def take_offers(self, pool: Pool) -> None:
        """Considers what has come in; a source whose offer breaks a rule is refused."""
        with contextlib.suppress(queue.Empty):
            while True:
                offer = pool.offers.get(timeout=POLL_S)
                try:
                    self.consider(offer.metadata)
                except (Rollback, Expired) as e:
                    self.refusal = self.refusal or e  # behind the times, but its blocks are as good as any
                except (TrustError, RemoteError) as e:
                    self.refusal = e
                    pool.refuse(offer.candidate, e.message)


def agree(agreement: Agreement, pool: Pool, discovery: Discovery, timeout_s: float) -> TrustedApp:
    """Waits for offers until one stands and others had their chance.

    Raises what was wrong with the offers where none stands, NoPeers where nobody made one; what was trusted
    before is what counts then, if there is something.
    """
    began = time.monotonic()
    accepted_at = 0.0
    while True:
        agreement.take_offers(pool)
        pool.tick()
        pool.check()
        now = time.monotonic()
        if agreement.accepted:
            accepted_at = accepted_at or now
            if now - accepted_at > (MAX_SETTLE_S if pool.trying else SETTLE_S):
                assert agreement.trusted is not None
                return agreement.trusted
        elif agreement.refusal is not None and now - began > REFUSED_AFTER_S and discovery.looked_once:
            raise agreement.refusal
        elif now - began > timeout_s or (discovery.places == Places() and not pool.trying):
            raise agreement.refusal or _nobody(pool, discovery)


def _nobody(pool: Pool, discovery: Discovery) -> NoPeers:
    if discovery.places == Places():
        return NoPeers(
            f"pearrt itself is not in {', '.join(pool.told()) or 'what is here'}.",
            hint="Whoever made the file can put it in: pearrt export LINK FILE --with-runtime.",
        )
    tried = ", ".join([*pool.told(), *discovery.told()]) or "nothing: no node, host or mirror is known"
    return NoPeers(
        "No peer that has pearrt's releases was found.",
        hint=f"Tried: {tried}. Is this machine online? Name a peer with --host HOST:PORT,"
        " or take a .pear file from a friend: --offline FILE.",
    )


def pick(trusted: TrustedApp, link: Link) -> Release:
    """The newest release for this machine that was not revoked. Raises UserError and says what there is."""
    tags = platform_tags()
    machine = Machine(platforms=tags, runtime=NEWEST, seed=b"")
    choice = choose(trusted, link.channel, machine, time.time(), eager=True)
    if choice.release is not None:
        return choice.release
    if choice.newest is not None:
        raise UserError(
            f"Nothing can be installed: {choice.reason}", hint="Try again when there is another release."
        )
    there = sorted({release.platform for release in trusted.releases if release.channel == link.channel})
    if not there:
        raise UserError(f"pearrt has no release in the channel {link.channel!r}.")
    same = sorted(tag.rpartition("-cp")[2] for tag in there if tag.startswith(f"{tags[-2]}-cp"))
    pythons = ", ".join(f"{text[0]}.{text[1:]}" for text in same)
    raise UserError(
        f"pearrt has no release for {tags[0]}; there is one for {', '.join(there)}.",
        hint=f"Run this with Python {pythons}." if same else f"This is {python_tag() or 'no CPython'}.",
    )
