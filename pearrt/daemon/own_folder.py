"""The daemon's answers to an app that is not released yet: a folder that its owner runs.

    start -> thread with `Channels` and `AppCalls` -> channel, attendant

Rules: calls, checks, rates and errors are the daemon's own code, so that an app meets nothing new once it is
released. They are given by the process that `pearrt run` is, for as long as the app runs, and no daemon hears
of it: there is no swarm, so nothing newer and nobody to meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from pearrt.app.start import Start
from pearrt.daemon.caller import open_attendant, open_channel
from pearrt.daemon.channel import Answered, Channels
from pearrt.daemon.instance import Instance
from pearrt.daemon.proxy import cut
from pearrt.errors import PearrtError, SandboxError
from pearrt.threads import start_without_signals

if TYPE_CHECKING:
    from pearrt.app.apps import Apps
    from pearrt.app.followed import FollowedApp
    from pearrt.app.library import AppFolder
    from pearrt.daemon.app_calls import AppCalls

START_TIMEOUT_S = 10.0


class OwnFolder:
    """Answers the calls of one app, whose files, grant and record lie in `folder`; a context manager."""

    def __init__(self, folder: AppFolder, start: Start) -> None:
        self.folder = folder
        self.start = start
        self._token = b""
        self._calls: AppCalls | None = None
        self._ready = threading.Event()
        self._failure: Exception | None = None

    def __enter__(self) -> OwnFolder:
        self._thread = threading.Thread(target=self._run, name="own folder", daemon=True)
        start_without_signals(self._thread)
        if not self._ready.wait(START_TIMEOUT_S) or self._failure is not None:
            reason = self._failure or "its thread is not up."
            raise SandboxError(f"The app's channel could not be served: {reason}") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(START_TIMEOUT_S)

    @contextlib.contextmanager
    def channel(self) -> Iterator[int]:
        """One more connection of the app, as an open descriptor."""
        token = asyncio.run_coroutine_threadsafe(self._issue(), self._loop).result(START_TIMEOUT_S)
        self._token = self._token or token
        with open_channel(self._channels.socket, token) as fd:
            yield fd

    def attend(self) -> contextlib.AbstractContextManager[socket.socket | None]:
        """The person's side of the first channel, which has to be open."""
        token, self._token = self._token, b""
        return open_attendant(self._channels.socket, token)

    # -- the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (PearrtError, OSError) as e:
            self._failure = e
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        with tempfile.TemporaryDirectory(prefix="pearrt-own-") as folder:
            async with Channels(
                Path(folder, "app.sock"), answer=self._answer, changed=lambda: None, observer=self
            ) as self._channels:
                self._ready.set()
                await self._end.wait()

    async def _issue(self) -> bytes:
        return self._channels.issue(self.start)

    async def _answer(self, instance: Instance, method: str, fields: dict[str, Any]) -> Answered:
        if self._calls is None:  # an app that makes no call pays for none
            from pearrt.daemon.app_calls import AppCalls

            self._calls = AppCalls(cast("Apps", _OneApp(self.folder)))
            self._calls.others = self._channels.of
        return await self._calls.answer(instance, method, fields)

    def opened(self, instance: Instance) -> None:
        pass

    def attended(self, instance: Instance) -> None:
        pass

    def ended(self, instance: Instance) -> None:
        cut(instance)


class _OneApp:
    """What `AppCalls` needs of the apps of a machine, where there is one that nobody signed."""

    def __init__(self, folder: AppFolder) -> None:
        from pearrt.app.followed import FollowedApp
        from pearrt.link import Link

        self._app = FollowedApp(Link(folder.app_key), folder)

    def known(self, _: bytes) -> FollowedApp:
        return self._app

    async def apply_update(self, _: bytes) -> None:
        """There is nothing newer than the folder as it was when the app started."""
