"""Server-sent events (WHATWG HTML, 9.2) for long work: steps as they come, then `result` or `error`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from pearrt.app.progress import Progress, Report
from pearrt.errors import PearrtError, Unreachable

log = logging.getLogger(__name__)

STOPPED = Unreachable("The daemon was stopped.", hint="Try again: what was done so far is kept.")
STOPPING = web.AppKey("stopping", asyncio.Event)  # what is cancelled, is so because the daemon ends
MIN_INTERVAL_S = 0.05  # steps that come faster are merged: the latest wins


async def stream(request: web.Request, work: Callable[[Report], Awaitable[Any]]) -> web.StreamResponse:
    """Runs `work` and streams what it reports. The work is cancelled when the caller goes away."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    latest = _Latest()
    async with asyncio.TaskGroup() as tasks:
        pump = tasks.create_task(_pump(response, latest))
        try:
            name, fields = "result", {"result": await work(latest.report)}
        except PearrtError as e:
            name, fields = "error", e.as_dict()
        except asyncio.CancelledError:
            if not request.app[STOPPING].is_set():
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            name, fields = "error", STOPPED.as_dict()
        except Exception:
            log.exception("our own bug")
            name, fields = "error", PearrtError("The daemon has a bug; its log has the traceback.").as_dict()
        finally:
            pump.cancel()
    await _send(response, name, fields)
    await response.write_eof()
    return response


class _Latest:
    """The newest step not yet sent. `report` may be called from any thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.news = asyncio.Event()
        self.step: Progress | None = None
        self._waking = False

    def report(self, step: Progress) -> None:
        self.step = step
        if not self._waking:  # waking the loop costs more than most steps
            self._waking = True
            self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self.news.set()


async def _pump(response: web.StreamResponse, latest: _Latest) -> None:
    while True:
        await latest.news.wait()
        latest.news.clear()
        if latest.step is not None:
            await _send(response, "progress", latest.step.as_dict())
        await asyncio.sleep(MIN_INTERVAL_S)


async def _send(response: web.StreamResponse, name: str, fields: dict[str, Any]) -> None:
    await response.write(f"event: {name}\ndata: {json.dumps(fields)}\n\n".encode())
