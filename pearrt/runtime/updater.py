"""From a newer release of pearrt to a version on trial: the straight line of the self-update.

    newest trusted release -> policy -> blocks -> tree, durable -> health check -> trial

Nothing is switched before the new tree is whole, durable and healthy, and at every gate the signers are asked
once more whether they have revoked it. Whatever fails on the way leaves what runs as it was; a version that
failed its check is remembered and not fetched again, unless the person wants it retried.

Where the signers took back the very version that runs, with `stop` or `return`, it is left: for what they
name in its place, whatever pin, delay or deferral says, else for the version before it. Where there is
neither it runs on, so that this machine hears of the next one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from pearrt.app import pins
from pearrt.app.followed import FollowedApp
from pearrt.app.install import fetch, goes_back, newest
from pearrt.app.progress import Progress, Report, Stage
from pearrt.app.record import Installed
from pearrt.bundle.index import Index
from pearrt.bundle.unpack import unpack
from pearrt.bundle.verify import verify_tree
from pearrt.errors import Locked, PearrtError
from pearrt.link import DEFAULT_CHANNEL, Link
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder, running
from pearrt.runtime.policy import Offer, Policy, obstacle
from pearrt.runtime.state import RuntimeState
from pearrt.store.service import Store
from pearrt.trust.release import Release
from pearrt.trust.revocation import Action, Revocation

log = logging.getLogger(__name__)

Fault = Callable[[str], Awaitable[str]]
REVOKED = "its signers have revoked it"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one look: `trial` is the digest of the version that is to take over now, "" where none is, and
    `reason` says why none is; `back` that of the version before, which takes over without a trial."""

    version: str = ""
    trial: str = ""
    reason: str = ""
    back: str = ""


class Updater:
    """`policy(state)` says what is allowed; `fault(digest)` is the health check. One call of `look` at a
    time: the caller holds the app's lock."""

    def __init__(
        self,
        folder: RuntimeFolder,
        app: FollowedApp,
        store: Store,
        *,
        policy: Callable[[RuntimeState], Policy],
        fault: Fault,
    ) -> None:
        self.folder = folder
        self.app = app
        self.store = store
        self.policy = policy
        self.fault = fault

    async def look(self, report: Report, *, eager: bool = False, retry: bool = False) -> Outcome:
        """Takes the newest release that is known as far as a trial, if it may be taken; `ask` before.

        `eager`: the person asks for it now; `retry`: even where it has failed here before.
        Raises what `app.install` raises, Locked where another updater is at work, Full, StoreError. Where the
        version that runs is to be left, trouble with the newest one is no reason to stay.
        """
        state = self.reconcile()
        if not self.leaves(state):
            return await self._newer(state, report, eager=eager, retry=retry)
        try:
            outcome = await self._newer(state, report, eager=eager, retry=retry, leaving=True)
        except Locked:
            raise
        except PearrtError as e:  # nobody has it, the disk is full, it is not what was signed
            log.warning("what its signers name in its place is not taken: %s", e.message)
            outcome = Outcome()
        return outcome if outcome.trial else self._step_back(self.folder.read())

    async def _newer(
        self, state: RuntimeState, report: Report, *, eager: bool, retry: bool, leaving: bool = False
    ) -> Outcome:
        policy = self.policy(state)
        self.app.link = replace(self.app.link, channel=policy.channel or _channel(state))
        choice = newest(self.app, report, allow_stale=True, eager=eager)
        release = choice.release
        if release is None:
            return Outcome(reason=choice.reason)
        installed = self.app.folder.installed
        if installed is not None and not leaving and goes_back(self.app, choice, installed):
            return Outcome(reason=choice.reason)
        offer = Offer(release.index_digest.hex(), release.version, release.released_at, release.security)
        if retry:
            state = states.forgive(state, offer.digest)
        policy = Policy() if leaving else policy
        reason = obstacle(state, offer, policy, time.time(), eager=eager or leaving)
        if reason:
            return Outcome(release.version, reason=reason)
        with self.folder.updating():
            return await self._take(release, report, eager=eager, retry=retry)

    def leaves(self, state: RuntimeState) -> bool:
        """Whether the signers want the version that runs, which stood its trial, not to run any more."""
        revocation = self.revocation(state.current)
        return revocation is not None and revocation.action is not Action.WARN and not state.trial

    def revocation(self, digest: str) -> Revocation | None:
        """What the signers say of a version, if they took it back."""
        trusted = self.app.trusted
        return None if trusted is None or not digest else trusted.revoked(bytes.fromhex(digest))

    def _step_back(self, state: RuntimeState) -> Outcome:
        """From a version that was taken back to the one before it."""
        revocation = self.revocation(state.current)
        assert revocation is not None
        said = f"{REVOKED}: {revocation.reason}"
        after = state
        if state.previous and self.app.folder.tree(state.previous).is_dir():
            after = self.folder.edit(lambda now: states.give_way(now, state.current, said))
        if after.current == state.current:
            name = f"pearrt {state.name(state.current)}"
            return Outcome(reason=f"{name} runs although {said.rstrip('.')}. There is no other version yet.")
        new = after.name(after.current)
        reason = f"pearrt {state.name(state.current)} gives way to {new}: {said}"
        log.warning("%s", reason)
        return Outcome(new, reason=reason, back=after.current)

    async def _take(self, release: Release, report: Report, *, eager: bool, retry: bool) -> Outcome:
        digest = release.index_digest.hex()
        index = await fetch(self.app, self.store, release, report, foreground=eager)
        if self.revocation(digest):
            return self._refuse(release, REVOKED)
        await asyncio.to_thread(self._unpack, release, index, report)
        fault = await self.fault(digest)
        if self.revocation(digest):
            fault = REVOKED
        if fault:
            return self._refuse(release, fault)
        self.app.folder.switch(Installed.of(release, index.manifest.name, time.time()))
        self.folder.begin(digest, release.version, retry=retry)
        report(Progress(Stage.READY, detail=release.version))
        log.info("pearrt %s is healthy and begins its trial", release.version)
        return Outcome(release.version, trial=digest)

    def _unpack(self, release: Release, index: Index, report: Report) -> None:
        self.app.folder.create()
        tree = self.app.folder.tree(release.index_digest.hex())
        if tree.exists():
            if not verify_tree(index, tree):
                return
            self.app.folder.drop_tree(tree.name)

        def unpacked(done: int, total: int) -> None:
            report(Progress(Stage.UNPACKING, done, total, release.version))

        self.store.sync()
        unpack(index, self.store.get, tree, progress=unpacked)

    def _refuse(self, release: Release, reason: str) -> Outcome:
        """Remembers that this version is not to be tried again; its tree goes, its blocks with the next
        gc."""
        digest = release.index_digest.hex()
        log.warning("pearrt %s is not taken: %s", release.version, reason)
        self.folder.edit(lambda state: states.reject(state, digest, release.version, reason))
        self.app.folder.drop_tree(digest)
        self.store.unpin(pins.of_releases(self.app.link.app_key) + digest)
        self.app.members.drop_bundle(release.index_digest)
        return Outcome(release.version, reason=f"pearrt {release.version} is not taken: {reason}")

    def reconcile(self) -> RuntimeState:
        """Makes the app's own record follow the runtime's state, which decides: a version that failed or was
        stepped back from gives its place to the one before it. Trees that nothing names go, but for this very
        process's, and what the signers took back is no version to go back to."""
        state = self.folder.read()
        if self.revocation(state.previous):
            name = state.name(state.previous)
            state = self.folder.edit(lambda now: states.reject(now, state.previous, name, REVOKED))
        installed, previous = self.app.folder.installed, self.app.folder.previous
        stale = installed is not None and installed.index_digest not in state.kept
        if stale and previous is not None and previous.index_digest == state.current:
            self.app.folder.step_back()
        if not state.trial:
            self.app.folder.prune({*state.kept, running(self.folder.data)})
        return state


def _channel(state: RuntimeState) -> str:
    return Link.parse(state.link).channel if state.link else DEFAULT_CHANNEL
