"""The local API: HTTP on a Unix socket in a private directory, for this user only.

Every answer is JSON: `{"result": …}` or `{"error": {code, message, hint}}`; long work streams server-sent
events. 503 means that nothing was done and the same is to be asked again. Each connection's peer credentials
are checked before anything is read from its request.

    GET    /v1/status                    the daemon, its addresses, DHT and store
    GET    /v1/apps                      a line per app
    GET    /v1/apps/{key}?link=…         all about one
    POST   /v1/apps/{key}/install        {link, update, allow_stale}             streams
    POST   /v1/apps/{key}/launch         {link}
    POST   /v1/apps/{key}/grant          {digest, refused}
    POST   /v1/apps/{key}/decline        {digest}
    GET    /v1/apps/{key}/permissions    what was asked for, what is given
    POST   /v1/apps/{key}/revoke         {names}; all where there are none
    POST   /v1/apps/{key}/seed           {link, on, allow_stale}                 streams
    POST   /v1/apps/{key}/publish        {link}
    POST   /v1/apps/{key}/offer          {link, rooms_only}
    POST   /v1/apps/{key}/enter          {link}: the sealed request of a release room
    POST   /v1/apps/{key}/post           {link, key, seq, value, signature}: an answer, into the DHT
    POST   /v1/apps/{key}/gather         {link, signers}: answers, out of the DHT
    POST   /v1/apps/{key}/bring          {link, digest, size, index_blocks, whole}   streams
    POST   /v1/apps/{key}/verify         {folder}: what is installed, where absent
    GET    /v1/apps/{key}/log?link=…     every release with who signed it, verified
    GET    /v1/apps/{key}/metadata       the signed metadata, by file name
    GET    /v1/apps/{key}/files?digest=… the signed files of an installed release: [path, size, sha256]
    DELETE /v1/apps/{key}?keep_data=0|1
    POST   /v1/stage                     {folder, manifest, …}                   streams
    POST   /v1/export                    {links, file, allow_stale}              streams
    POST   /v1/import                    {file, allow_stale, seed}               streams
    POST   /v1/gc                        {fsck, dry_run}
    POST   /v1/apps/{key}/rollback       back to the release before the installed one
    GET    /v1/runtime                   pearrt's own versions
    POST   /v1/runtime/update            {retry}                                 streams
    POST   /v1/runtime/rollback
    POST   /v1/stop
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from pearrt.app import granting
from pearrt.app.apps import Apps
from pearrt.app.candidates import named_bundle
from pearrt.app.export import export
from pearrt.app.importing import import_file
from pearrt.app.progress import Report
from pearrt.app.rooms import named_signers, posted_item
from pearrt.app.stage import stage
from pearrt.daemon import endpoint
from pearrt.daemon.channel import Channels
from pearrt.daemon.client import NOT_TAKEN
from pearrt.daemon.credentials import peer_credentials
from pearrt.daemon.events import STOPPED, STOPPING, stream
from pearrt.daemon.live import Live
from pearrt.daemon.self_update import SelfUpdate
from pearrt.errors import Denied, PearrtError, Unreachable, UserError
from pearrt.link import Link, decode_key
from pearrt.publish.room import Room

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1 << 20
IDLE_BY_ITSELF_S = 20.0
HOLD_UP_S = 7.0  # less than callers come again for
GRACE_S = 1.0  # what a request may take of the end of the daemon
OTHER_APP = "The link in the request is not of the app in its path."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The handlers. `status` describes the daemon, `stop` ends it."""

    def __init__(
        self,
        apps: Apps,
        channels: Channels,
        live: Live,
        *,
        status: Callable[[], dict[str, Any]],
        stop: Callable[[], None],
        self_update: SelfUpdate,
    ) -> None:
        self.apps = apps
        self.channels = channels
        self.live = live
        self.status = status
        self.stop = stop
        self.self_update = self_update
        self.idle = asyncio.Event()  # no request is being answered
        self.idle.set()
        self._answering: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self.turning_away = False  # callers are to come again: to this process, or the one that takes over

    def application(self) -> web.Application:
        """The aiohttp application to serve."""
        app = web.Application(
            middlewares=[_errors, _same_user, self._counted], client_max_size=MAX_REQUEST_BYTES
        )
        app[STOPPING] = self._stopping
        app.router.add_get("/v1/status", self.get_status)
        app.router.add_get("/v1/apps", self.get_apps)
        app.router.add_get("/v1/apps/{key}", self.get_app)
        app.router.add_delete("/v1/apps/{key}", self.delete_app)
        app.router.add_get("/v1/apps/{key}/metadata", self.metadata)
        app.router.add_get("/v1/apps/{key}/log", self.log)
        app.router.add_get("/v1/apps/{key}/files", self.files)
        app.router.add_get("/v1/apps/{key}/permissions", self.permissions)
        for action in ("install", "launch", "grant", "decline", "revoke"):
            app.router.add_post(f"/v1/apps/{{key}}/{action}", getattr(self, action))
        for action in ("seed", "publish", "offer", "enter", "post", "gather", "bring", "verify"):
            app.router.add_post(f"/v1/apps/{{key}}/{action}", getattr(self, action))
        app.router.add_post("/v1/stage", self.stage)
        app.router.add_post("/v1/export", self.export)
        app.router.add_post("/v1/import", self.import_file)
        app.router.add_post("/v1/gc", self.gc)
        app.router.add_post("/v1/apps/{key}/rollback", self.roll_back)
        app.router.add_get("/v1/runtime", self.get_runtime)
        app.router.add_post("/v1/runtime/update", self.update_runtime)
        app.router.add_post("/v1/runtime/rollback", self.roll_back_runtime)
        app.router.add_post("/v1/stop", self.post_stop)
        return app

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.turning_away:
            refusal = Unreachable("The daemon is just being updated.", hint="Try again in a moment.")
            return web.json_response({"error": refusal.as_dict()}, status=NOT_TAKEN)
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        self.idle.clear()
        try:
            return await handler(request)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            task.uncancel()
            return web.json_response({"error": STOPPED.as_dict()}, status=502)
        finally:
            self._answering.discard(task)
            if not self._answering:
                self.idle.set()

    async def quiet(self) -> None:
        """Returns when nothing is being answered, and answers no more. Where somebody is always asking, who
        comes new is held up now and then so that such a moment comes."""
        try:
            while not await self._idle_within(IDLE_BY_ITSELF_S):
                self.turning_away = True
                if await self._idle_within(HOLD_UP_S):
                    return
                self.turning_away = False
            self.turning_away = True
        except asyncio.CancelledError:
            self.turning_away = False
            raise

    async def _idle_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.idle.wait()
        return self.idle.is_set()

    async def close(self) -> None:
        """Lets what takes a moment finish, and ends the rest; whoever waits for it is told."""
        await self._idle_within(GRACE_S)
        self._stopping.set()
        for task in self._answering:
            task.cancel()

    async def get_status(self, _: web.Request) -> web.Response:
        return _ok(self.status())

    async def get_apps(self, _: web.Request) -> web.Response:
        return _ok(self.apps.summaries())

    async def get_app(self, request: web.Request) -> web.Response:
        return _ok(await self.apps.info(_queried(request)))

    async def delete_app(self, request: web.Request) -> web.Response:
        await self.apps.uninstall(_key(request), keep_data=request.query.get("keep_data") == "1")
        self.live.removed(_key(request))
        return _ok({})

    async def install(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        link = _link(request, body)

        async def work(report: Report) -> Any:
            return await self.apps.install(
                link,
                report,
                update=_flag(body, "update"),
                allow_stale=_flag(body, "allow_stale"),
            )

        return await stream(request, work)

    async def launch(self, request: web.Request) -> web.Response:
        link = _link(request, await _body(request))
        launchable = await self.apps.launchable(link, self.channels.socket, self.channels.issue)
        return _ok(launchable.as_dict())

    async def grant(self, request: web.Request) -> web.Response:
        body = await _body(request)
        await self.apps.grant(_key(request), _hex(body, "digest"), _texts(body, "refused"))
        return _ok({})

    async def decline(self, request: web.Request) -> web.Response:
        granting.decline(self.apps.known(_key(request)).folder, _hex(await _body(request), "digest"))
        return _ok({})

    async def permissions(self, request: web.Request) -> web.Response:
        return _ok(await self.apps.permissions(_key(request)))

    async def revoke(self, request: web.Request) -> web.Response:
        taken = self.live.revoke(_key(request), _texts(await _body(request), "names"))
        return _ok({"revoked": taken})

    async def seed(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        link = _link(request, body)
        if not _flag(body, "on"):
            self.apps.stop_seeding(link.app_key)
            return _ok({"link": str(link), "seeding": False})
        stale = _flag(body, "allow_stale")
        return await stream(request, lambda report: self.apps.seed(link, report, allow_stale=stale))

    async def publish(self, request: web.Request) -> web.Response:
        link = _link(request, await _body(request))
        await self.apps.publishing.publish(link)
        return _ok(await self.apps.info(link))

    async def offer(self, request: web.Request) -> web.Response:
        body = await _body(request)
        return _ok(await self.apps.offer(_link(request, body), rooms_only=_flag(body, "rooms_only")))

    async def enter(self, request: web.Request) -> web.Response:
        link = _link(request, await _body(request))
        return _ok({"block": (await self.apps.rooms.enter(link)).hex()})

    async def post(self, request: web.Request) -> web.Response:
        body = await _body(request)
        link = _link(request, body)
        item = posted_item(Room.parse(link), body)
        await self.apps.follow(link)
        return _ok({"stored": await self.apps.rooms.post(item)})

    async def gather(self, request: web.Request) -> web.Response:
        body = await _body(request)
        link, signers = _link(request, body), named_signers(body)
        await self.apps.follow(link)
        found = await self.apps.rooms.look(Room.parse(link), signers)
        return _ok([[public.hex(), value.hex()] for public, value in found])

    async def bring(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        link, release, whole = _link(request, body), named_bundle(body), _flag(body, "whole")
        return await stream(request, lambda report: self.apps.bring(link, release, report, whole=whole))

    async def metadata(self, request: web.Request) -> web.Response:
        return _ok(self.apps.metadata(_key(request)))

    async def files(self, request: web.Request) -> web.Response:
        return _ok(await self.apps.files(_key(request), request.query.get("digest", "")))

    async def log(self, request: web.Request) -> web.Response:
        return _ok(await self.apps.log(_queried(request)))

    async def verify(self, request: web.Request) -> web.Response:
        body = await _body(request)
        folder = Path(_text(body, "folder")) if "folder" in body else None
        return _ok(await self.apps.verify(_key(request), folder))

    async def stage(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        folder = Path(_text(body, "folder"))

        async def work(report: Report) -> Any:
            return await stage(folder, _hex(body, "manifest"), self.apps.store, self.apps.home, report)

        return await stream(request, work)

    async def export(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        links = [Link.parse(text) for text in _text(body, "links").split("\n")]
        path, stale = Path(_text(body, "file")), _flag(body, "allow_stale")
        return await stream(request, lambda report: export(self.apps, links, path, report, allow_stale=stale))

    async def import_file(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        path, stale, seed = Path(_text(body, "file")), _flag(body, "allow_stale"), _flag(body, "seed")
        return await stream(
            request, lambda report: import_file(self.apps, path, report, allow_stale=stale, seed=seed)
        )

    async def gc(self, request: web.Request) -> web.Response:
        body = await _body(request)
        return _ok(await self.apps.gc(fsck=_flag(body, "fsck"), dry_run=_flag(body, "dry_run")))

    async def roll_back(self, request: web.Request) -> web.Response:
        return _ok(await self.apps.roll_back(_key(request)))

    async def get_runtime(self, _: web.Request) -> web.Response:
        return _ok(self.self_update.versions())

    async def update_runtime(self, request: web.Request) -> web.StreamResponse:
        retry = _flag(await _body(request), "retry")
        return await stream(request, lambda report: self.self_update.update(report, retry=retry))

    async def roll_back_runtime(self, _: web.Request) -> web.Response:
        return _ok(await self.self_update.roll_back())

    async def post_stop(self, _: web.Request) -> web.Response:
        self.stop()
        return _ok({})


def _ok(result: Any) -> web.Response:
    return web.json_response({"result": result})


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON; the status says whose fault it was."""
    try:
        return await handler(request)
    except PearrtError as e:
        status = 400 if isinstance(e, UserError | Denied) else 502
        return web.json_response({"error": e.as_dict()}, status=status)
    except web.HTTPException as e:
        refusal = UserError(f"{request.method} {request.path}: {e.reason}.")
        return web.json_response({"error": refusal.as_dict()}, status=e.status)
    except Exception:
        log.exception("our own bug in %s %s", request.method, request.path)
        error = PearrtError("The daemon has a bug; its log has the traceback.")
        return web.json_response({"error": error.as_dict()}, status=500)


@web.middleware
async def _same_user(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses whoever is neither this user nor root, whatever the directory's mode says."""
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is None or not allowed(connection):
        raise Denied("The daemon serves its own user only.")
    return await handler(request)


def allowed(connection: socket.socket) -> bool:
    """Whether the process at the other end of a Unix socket belongs to this user or to root (SO_PEERCRED)."""
    if not hasattr(socket, "SO_PEERCRED") or endpoint.by_port():
        return True  # the socket's directory is 0700, or `endpoint.py` had its proof
    _, uid, _ = peer_credentials(connection)
    return uid in (os.geteuid(), 0)


# -- reading requests


async def _body(request: web.Request) -> dict[str, Any]:
    if not request.can_read_body:
        return {}
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as e:
        raise UserError(f"The request is no JSON: {e}.") from e
    if not isinstance(body, dict):
        raise UserError("The request is no JSON object.")
    return body


def _key(request: web.Request) -> bytes:
    return decode_key(request.match_info["key"])


def _link(request: web.Request, body: dict[str, Any]) -> Link:
    link = Link.parse(_text(body, "link"))
    if link.app_key != _key(request):
        raise UserError(OTHER_APP)
    return link


def _queried(request: web.Request) -> Link:
    link = Link.parse(request.query["link"]) if "link" in request.query else Link(_key(request))
    if link.app_key != _key(request):
        raise UserError(OTHER_APP)
    return link


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise UserError(f"The request lacks the text {name!r}.")
    return value


def _texts(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UserError(f"{name!r} in the request is no list of texts.")
    return value


def _hex(body: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(_text(body, name))
    except ValueError as e:
        raise UserError(f"{name!r} in the request is not hexadecimal.") from e


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise UserError(f"{name!r} in the request is not true or false.")
    return value
