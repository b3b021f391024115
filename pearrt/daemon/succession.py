"""One daemon process makes way for the next, which is another version, and nobody who fetches notices.

    spawn, ready -> quiet -> pass on -> serving -> let go -> drain, confirmed -> end

Up to `pass on` nothing has happened that the new process's death would undo: this daemon goes on. From there
on somebody else is to serve, in any case: where the new version does not come to serve, or ends before it
stood the test, this process starts the confirmed one and passes the same things to it. It holds on to the
descriptors until then, so the kernel keeps queueing whoever connects meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Protocol

from pearrt.daemon.successor import Successor, tell_service_manager
from pearrt.errors import PearrtError, StoreError
from pearrt.runtime import state as states
from pearrt.runtime.handover import Item, close_all
from pearrt.runtime.layout import RuntimeFolder
from pearrt.runtime.state import RuntimeState

QUIET_TIMEOUT_S = 600.0  # less than the new daemon waits for what is passed on
CONFIRM_GRACE_S = 30.0  # beyond the trial's own length
NOT_TO_REPLAY = {"channel", "attendant"}

log = logging.getLogger(__name__)


class Predecessor(Protocol):
    """What this needs of the daemon that makes way."""

    async def quiet(self) -> None:
        """Returns at a moment when nothing is under way that writes."""

    async def pass_on(self) -> list[Item]:
        """Everything that the next one needs; from here on this one only serves what it has begun."""

    async def let_go(self) -> None:
        """Listens nowhere any more."""

    async def drain(self) -> None:
        """Returns when what others fetch from here is with them, or they have had their time."""


async def succeed(daemon: Predecessor, folder: RuntimeFolder, digest: str, *, trial_s: float) -> bool:
    """Hands over to the version that the state names, `digest`. True when this process is to end; False when
    all is as before: the version has failed, or nothing could be handed over for now."""
    state = folder.choose()
    if state.runs != digest:
        return False
    environ = dict(os.environ)
    try:
        successor = await Successor.spawn(folder.data, digest, environ)
    except PearrtError as e:
        _fail(folder, f"its daemon does not start: {e.message}")
        return False
    try:
        async with asyncio.timeout(QUIET_TIMEOUT_S):
            await daemon.quiet()
    except TimeoutError:
        await successor.kill()
        log.info("too much is under way to hand over now; it is tried again")
        return False
    except BaseException:
        await successor.kill()
        raise
    try:
        items = await daemon.pass_on()
    except BaseException:  # this daemon ends, or has a bug: then the next start goes by the state
        await successor.kill()
        raise
    try:
        reason = await _try(daemon, successor, items, trial_s)
        if reason:
            await successor.kill()
            state = _fail(folder, reason)
            await _return(daemon, state.current, items, folder.data)
    except asyncio.CancelledError:
        successor.give_up_waiting()
        raise
    finally:
        close_all(items)
    return True


async def _try(daemon: Predecessor, successor: Successor, items: list[Item], trial_s: float) -> str:
    """Why the version on trial did not stand the test; "" where it did, or was stopped by the person before
    that: this process may end."""
    try:
        await successor.take_over(items)
    except PearrtError as e:
        return f"its daemon did not take over: {successor.how_it_ended() or e.message}"
    log.info("process %d has taken over", successor.process.pid)
    tell_service_manager(successor.process.pid)
    await daemon.let_go()
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(daemon.drain())
        try:
            await successor.confirmed(trial_s + CONFIRM_GRACE_S)
        except PearrtError as e:
            draining.cancel()
            ended = successor.how_it_ended()
            if successor.ended_well:
                log.info("it was asked to stop, and this process goes with it")
                return ""
            return f"its daemon did not stay up: {ended or e.message}"
    return ""


async def _return(daemon: Predecessor, digest: str, items: list[Item], data: Path) -> None:
    """Passes the same things to the confirmed version. What the failed one may have read of a running app's
    channel is not known: what this process had read is not given out twice."""
    for item in items:
        if item.kind in NOT_TO_REPLAY:
            item.fields = {**item.fields, "held": ""}
    try:
        successor = await Successor.spawn(data, digest, dict(os.environ))
        await successor.take_over(items)
    except PearrtError as e:
        log.error("the previous version does not come back: %s", e.message)
        return
    log.warning("the previous version is back, as process %d", successor.process.pid)
    tell_service_manager(successor.process.pid)
    await daemon.let_go()
    await daemon.drain()


def _fail(folder: RuntimeFolder, reason: str) -> RuntimeState:
    state = folder.read()
    log.error("pearrt %s has failed: %s", state.name(state.trial), reason)
    try:
        return folder.edit(lambda current: states.fail(current, reason))
    except StoreError as e:
        log.error("that could not be recorded: %s", e.message)
        return state  # its starts are counted: it does not run for ever
