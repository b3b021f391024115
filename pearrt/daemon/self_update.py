"""The daemon follows pearrt's own releases as it follows any app's, and makes way for a newer version.

Only where it runs as such a version itself, out of this home: a pearrt that pip or a package brought is
theirs to update. Then: it looks now and then, and whenever a peer tells of something newer; takes what the
policy allows as far as a trial (`runtime/updater.py`); hands over (`succession.py`). As the version on trial
it confirms itself once it has stayed up for long enough and its own API answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from typing import TYPE_CHECKING, Any

from pearrt import __version__
from pearrt.app.install import ask
from pearrt.app.progress import Report, silent
from pearrt.daemon.caller import Daemon as Caller
from pearrt.daemon.succession import succeed
from pearrt.errors import Locked, PearrtError, Unreachable, UserError
from pearrt.link import Link
from pearrt.runtime import checkup, formats, starts
from pearrt.runtime import state as states
from pearrt.runtime.handover import Line
from pearrt.runtime.layout import RuntimeFolder, running
from pearrt.runtime.policy import Policy, policy_of
from pearrt.runtime.report import versions
from pearrt.runtime.state import RuntimeState
from pearrt.runtime.updater import Outcome, Updater

if TYPE_CHECKING:
    from pearrt.daemon.service import Daemon

LOOK_EVERY_S = 3600.0
RETRY_S = 300.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a daemon that listens everywhere is met

log = logging.getLogger(__name__)


class SelfUpdate:
    """`start` after the apps are restored; `close` ends what runs. Does nothing where `own` is empty."""

    def __init__(self, daemon: Daemon, tasks: asyncio.TaskGroup) -> None:
        self.daemon = daemon
        self.folder = RuntimeFolder(daemon.home.data)
        self.own = running(daemon.home.data)
        self.line: Line | None = None  # to the daemon that this one takes over from
        self.last = Outcome()
        self.trial_then = ""  # the version on trial at the last look, which its reason may speak of
        self.updater: Updater | None = None
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._handing_over = False

    async def start(self) -> None:
        """Follows pearrt's own app, and confirms this version in time where it is on trial."""
        if not self.own:
            return
        state = self.folder.read()
        link = Link.parse(state.link)
        apps = self.daemon.apps
        app = await apps.follow(link)
        self.updater = Updater(self.folder, app, self.daemon.store, policy=self._policy, fault=self._fault)
        self.updater.reconcile()
        apps.own, apps.lookout.own_update = link.app_key, self._background_look
        self._spawn(self._prove())
        self._spawn(self._stay_well())
        self._spawn(self._look_now_and_then())

    def close(self) -> None:
        for task in list(self._running):
            task.cancel()

    def _spawn(self, work: Any) -> None:
        self._running.add(task := self._tasks.create_task(work))
        task.add_done_callback(self._running.discard)

    # -- what the local API offers

    async def update(self, report: Report, *, retry: bool) -> dict[str, Any]:
        """One look by the person's wish, at a version that failed here as well where that says `retry`. What
        is found takes over in a moment, after this has been answered."""
        if self.updater is None:
            raise UserError(
                f"This is pearrt {__version__} as pip or a package installed it: that updates it.",
                hint="Bring the next one the way this one came: by pip, or your distribution.",
            )
        outcome = await self._look(report, eager=True, retry=retry)
        return {
            "version": outcome.version,
            "switches": bool(outcome.trial),
            "reason": outcome.reason,
            "running": __version__,
        }

    async def roll_back(self) -> dict[str, Any]:
        """One step back, by the person's wish. Raises UserError where there is none."""
        if self.updater is None:
            raise UserError("This pearrt keeps no versions of its own: pip or a package brought it.")
        state = self.folder.edit(lambda state: states.roll_back(state, "stepped back by the person"))
        if state.current != self.own:
            self._spawn(self._hand_over(state.current))
        return {"current": state.current, "version": state.name(state.current)}

    def versions(self) -> dict[str, Any]:
        """All about pearrt's own versions; `waits` says why the newest one is not taken."""
        state = self.folder.read()
        revocation = self.updater.revocation(self.own) if self.updater is not None else None
        return versions(state, self.own, self.folder.crashes(state)) | {
            "waits": self.last.reason if state.trial == self.trial_then else "",
            "revoked": revocation.reason if revocation is not None else "",
        }

    # -- looking

    def _policy(self, state: RuntimeState) -> Policy:
        settings = self.daemon.settings
        return policy_of(
            state, pin=settings.update_pin, channel=settings.update_channel, delay_s=settings.update_delay_s
        )

    async def _fault(self, digest: str) -> str:
        host, port = self.daemon.peers.address
        peer = (ANY_ADDRESS.get(host, host), port)
        environ = os.environ | {"PEARRT_HOME": str(self.daemon.home.data)}
        return await checkup.fault_of(self.folder, digest, peer, environ)

    async def _background_look(self) -> None:
        if self._handing_over:
            return  # whoever comes looks
        try:
            await self._look(silent)
        except Locked as e:
            log.info("%s", e.message)

    async def _look(self, report: Report, *, eager: bool = False, retry: bool = False) -> Outcome:
        assert self.updater is not None
        apps = self.daemon.apps
        try:
            await ask(self.updater.app, report, allow_stale=True)
        except PearrtError:
            if not self.updater.leaves(self.folder.read()):
                raise
        async with apps.locks[self.updater.app.link.app_key]:
            trial = self.folder.read().trial
            outcome = await self.updater.look(report, eager=eager, retry=retry)
        if outcome.reason and outcome.reason != self.last.reason:
            log.info("%s", outcome.reason)
        self.last, self.trial_then = outcome, trial
        if successor := outcome.trial or outcome.back:
            self._spawn(self._hand_over(successor))
        return outcome

    async def _look_now_and_then(self) -> None:
        while True:
            with contextlib.suppress(PearrtError):
                await self._background_look()
            await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.75, 1.25))  # noqa: S311 - spreads the load

    # -- making way, and taking over

    async def _hand_over(self, digest: str) -> None:
        if self._handing_over:
            return
        self._handing_over = True
        trial_s = self.daemon.settings.update_trial_s
        try:
            while not await succeed(self.daemon, self.folder, digest, trial_s=trial_s):
                if self.folder.read().runs != digest:  # it has failed, and this version goes on
                    if self.updater is not None:
                        self.updater.reconcile()
                    return
                await asyncio.sleep(RETRY_S)
            self.daemon.stop()
        finally:
            self._handing_over = False

    async def _prove(self) -> None:
        """Once this version has stayed up: confirms it, where it is on trial, and tells the daemon before
        it, where there is one."""
        await asyncio.sleep(self.daemon.settings.update_trial_s)
        caller = Caller(self.daemon.home, environ={})
        status = await asyncio.to_thread(caller.status)
        if status["pid"] != os.getpid():
            raise Unreachable("Another daemon answers on this one's API socket.")
        if self.folder.read().trial == self.own:
            self.folder.edit(lambda state: states.confirm(state, self.own))
            starts.forget(self.folder.starts, self.own)
            await asyncio.to_thread(formats.contract, self.folder)
            log.info("pearrt %s has stood its trial", __version__)
        if self.line is not None:
            with contextlib.suppress(PearrtError):
                self.line.send("confirmed")
        with contextlib.suppress(PearrtError):
            await self._background_look()  # what came meanwhile waited for the trial to end

    async def _stay_well(self) -> None:
        """After so long no start before this one counts any more, nor this one."""
        await asyncio.sleep(starts.HEALTHY_AFTER_S)
        starts.forget(self.folder.starts)
