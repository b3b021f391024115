"""What a running app may ask of the daemon, call by call. The app's side of it is `pearrt.sdk`.

    method            fields               needs      result
    app.info          protocol             -          {protocol, link, name, version, permissions, methods}
    updates.status    -                    -          {running, ready: {version, notes, security, widens}}
    updates.apply     -                    -          the same, after looking for and installing the newest
    updates.restart   -                    terminal   {}; the app is started again when it ends
    storage.info      -                    -          {path, quota, used}
    log.write         level, text          -          {}
    open_url          url                  the yes    {}
    notify            title, body          notify     {}
    net.open          host, port           net.hosts  {socket: true} and a connected socket
    files.open        purpose, mode, name  files, and {file: true, mode, name} and the opened file; `mode` is
                                           the choice `read` or `save`, `name` a suggestion, then its own
    clipboard.write   text                 clipboard  {}
    clipboard.read    -                    clipboard, {text}
                                           the yes
    p2p.join          circle               p2p.join   {peers}
    p2p.leave         circle               -          {}
    p2p.peers         circle               p2p.join   {peers}
    p2p.send          circle, data, peer   p2p.join   {sent}; `data` in base64, `peer` may be missing: to all
    shelf.put         data                 p2p.store  {block}, 64 hex digits; `data` in base64
    shelf.get         block, timeout,      p2p.store  {data}; `timeout` in seconds, 0: only if it is here
                      keep
    shelf.drop        block                p2p.store  {dropped}
    shelf.list        after                p2p.store  {blocks}: the first 512 names after that one, in order
    shelf.usage       -                    p2p.store  {blocks, bytes, limit}

Rules: identity comes from the channel and from nowhere else; what a call needs is looked up when it is made,
so that what the person revoked is refused at once; every call costs its app something of a rate, which all
instances of the app share; every text is bounded and of printable characters.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import stat
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from pearrt.app import granting, updates
from pearrt.app.clipboard import checked_text
from pearrt.app.picker import MODES, READ
from pearrt.daemon import app_log
from pearrt.daemon.instance import NOBODY, Attendant, Instance, Opened
from pearrt.daemon.patience import Patience
from pearrt.daemon.proxy import Proxy, read_target
from pearrt.daemon.rate import Bucket, Rate
from pearrt.daemon.wire import Passable
from pearrt.errors import Denied, LimitExceeded, PeerTimeout, StoreError, Unsupported, UserError
from pearrt.link import Link
from pearrt.peer.messages import MAX_APP_MESSAGE_BYTES
from pearrt.sandbox.address import MAX_URL_CHARACTERS, checked_url
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.storage import used_bytes
from pearrt.sdk.frames import MAX_FRAME_BYTES
from pearrt.swarm.circle import MAX_NAME_BYTES as MAX_CIRCLE_NAME_BYTES
from pearrt.swarm.shelf import MAX_SHELF_BLOCK_BYTES

if TYPE_CHECKING:
    from pearrt.app.apps import Apps
    from pearrt.daemon.circles import Circles
    from pearrt.daemon.shelves import Shelves

PROTOCOL = 1
ANY_CALL = Rate(per_s=200, burst=400)
RATES = {
    "log.write": Rate(per_s=20, burst=200),
    "storage.info": Rate(per_s=2, burst=10),
    "net.open": Rate(per_s=10, burst=64),
    "p2p.send": Rate(per_s=50, burst=200),
}  # who is over one of these waits
REFUSING_RATES = {
    "notify": Rate(per_s=0.2, burst=5),
    "open_url": Rate(per_s=0.1, burst=3),
    "files.open": Rate(per_s=0.2, burst=5),
    "clipboard.write": Rate(per_s=1, burst=5),
    "p2p.join": Rate(per_s=0.1, burst=64),  # each is told to every linked peer
    "clipboard.read": Rate(per_s=0.1, burst=3),
    "updates.apply": Rate(per_s=0.1, burst=2),
}  # over these it is told so: a person stands behind them, or other people's machines
MAX_LOG_CHARACTERS = 4096
MAX_COUNTED_FILES = 100_000
MAX_TITLE_CHARACTERS = 200
MAX_BODY_CHARACTERS = 1000
MAX_PURPOSE_CHARACTERS = 200
MAX_NAME_CHARACTERS = 100
LOG_LEVELS = ("debug", "info", "warning", "error")
QUESTION_TIMEOUT_S = 120.0
DESKTOP_TIMEOUT_S = 20.0
SHELF_TIMEOUT_S = 60.0
MAX_SHELF_TIMEOUT_S = 600.0
MAX_LISTED_BLOCKS = 512  # fit into a frame
ONLY_RELEASED = "A folder has none: publish the app and run it by its link."
CHOICE_TIMEOUT_S = 660.0  # two questions of `picker.CHOOSE_S` and what lies between them

Result = tuple[Any, Passable | None]


class AppCalls:
    """Answers the calls of all channels; `answer` is what `Channels` is given."""

    def __init__(
        self,
        apps: Apps,
        proxy: Proxy | None = None,
        *,
        circles: Circles | None = None,
        shelves: Shelves | None = None,
    ) -> None:
        self.apps = apps
        self.circles = circles
        self.shelves = shelves
        self.proxy = proxy or Proxy()
        self.others: Callable[[bytes], Iterable[Instance]] = lambda _: ()  # running instances of an app
        self._buckets: dict[tuple[bytes, str], Bucket] = {}
        self._patience: dict[bytes, Patience] = {}
        self._measuring: dict[bytes, asyncio.Lock] = {}
        self._methods: dict[str, Callable[[Instance, dict[str, Any]], Awaitable[Any]]] = {
            "app.info": self._info,
            "clipboard.read": self._read_clipboard,
            "clipboard.write": self._write_clipboard,
            "files.open": self._open_file,
            "log.write": self._log,
            "net.open": self._net_open,
            "notify": self._notify,
            "open_url": self._open_url,
            "p2p.join": self._join,
            "p2p.leave": self._leave,
            "p2p.peers": self._peers,
            "p2p.send": self._send,
            "shelf.drop": self._shelf_drop,
            "shelf.get": self._shelf_get,
            "shelf.list": self._shelf_list,
            "shelf.put": self._shelf_put,
            "shelf.usage": self._shelf_usage,
            "storage.info": self._storage,
            "updates.apply": self._apply,
            "updates.restart": self._restart,
            "updates.status": self._update_status,
        }

    async def answer(self, instance: Instance, method: str, fields: dict[str, Any]) -> Result:
        """The result of one call. Raises PearrtError."""
        known = self._methods.get(method)
        await self._pace(instance, method if known else "")
        if known is None:
            raise UserError(f"There is no method {ascii(method)[:40]}.")
        result = await known(instance, fields)
        if isinstance(result, Opened):
            return {**result.result, "file": True}, result.file
        return ({"socket": True}, result) if isinstance(result, socket.socket) else (result, None)

    async def _pace(self, instance: Instance, method: str) -> None:
        """Waits until the app may call again. Raises LimitExceeded where it has to come back itself."""
        if (rate := REFUSING_RATES.get(method)) is not None:
            pause = self._bucket(instance, method, rate).take(time.monotonic())
            if pause:
                raise LimitExceeded(
                    f"{method} is called too often.", hint=f"Try again in {pause:.0f} seconds."
                )
        bucket = self._bucket(instance, method if method in RATES else "", RATES.get(method, ANY_CALL))
        while pause := bucket.take(time.monotonic()):  # noqa: ASYNC110 - nothing happens but time
            await asyncio.sleep(pause)

    def _bucket(self, instance: Instance, name: str, rate: Rate) -> Bucket:
        return self._buckets.setdefault((instance.app_key, name), Bucket(rate))

    def granted(self, instance: Instance) -> Permissions:
        """What this instance may do now: what its release asks for, inside what the person gave."""
        return instance.start.asked.within(granting.given(self.apps.known(instance.app_key).folder))

    def _needs(self, held: bool, name: str) -> None:
        if not held:
            raise Denied(
                f"The app has no permission {name}.",
                hint="Ask for it in the manifest; the person may have refused or revoked it.",
            )

    # -- the methods

    async def _info(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        wanted = fields.get("protocol", PROTOCOL)
        if not isinstance(wanted, int) or wanted < 1:
            raise UserError("The protocol is a whole number from 1.")
        return {
            "protocol": min(wanted, PROTOCOL),
            "link": str(Link(instance.app_key)),
            "name": self._name(instance),
            "version": instance.start.version,
            "permissions": self.granted(instance).optional(),
            "methods": sorted(self._methods),
        }

    async def _update_status(self, instance: Instance, _: dict[str, Any]) -> dict[str, Any]:
        app = self.apps.known(instance.app_key)
        return {
            "running": instance.start.version,
            "ready": updates.ready(app, instance.start.index_digest),
        }

    async def _apply(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        await self.apps.apply_update(instance.app_key)
        return await self._update_status(instance, fields)

    async def _restart(self, instance: Instance, _: dict[str, Any]) -> dict[str, Any]:
        await instance.person().ask("restart", timeout_s=DESKTOP_TIMEOUT_S)
        instance.restarting = True
        return {}

    async def _storage(self, instance: Instance, _: dict[str, Any]) -> dict[str, Any]:
        folder = self.apps.known(instance.app_key).folder.data
        async with self._measuring.setdefault(instance.app_key, asyncio.Lock()):  # one thread for each app
            used = await asyncio.to_thread(used_bytes, folder, max_entries=MAX_COUNTED_FILES)
        return {"path": "/data", "quota": instance.start.asked.storage_bytes, "used": used}

    async def _log(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        level, text = fields.get("level", "info"), _text(fields, "text", MAX_LOG_CHARACTERS)
        if level not in LOG_LEVELS:
            raise UserError(f"The level is one of {', '.join(LOG_LEVELS)}.")
        folder = self.apps.known(instance.app_key).folder
        try:
            await asyncio.to_thread(app_log.write, folder.log, level, text)
        except OSError as e:
            raise StoreError(f"The app's log could not be written: {e.strerror}.") from e
        return {}

    async def _open_url(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        url = checked_url(_text(fields, "url", MAX_URL_CHARACTERS))
        if not await self._asked(instance, "open_url", QUESTION_TIMEOUT_S, url=url):
            raise Denied("The person did not want the page opened.")
        return {}

    async def _notify(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        self._needs(self.granted(instance).notify, "notify")
        title = app_log.one_line(_text(fields, "title", MAX_TITLE_CHARACTERS))
        body = app_log.one_line(_text(fields, "body", MAX_BODY_CHARACTERS))
        await self._person(instance).ask("notify", timeout_s=DESKTOP_TIMEOUT_S, title=title, body=body)
        return {}

    async def _open_file(self, instance: Instance, fields: dict[str, Any]) -> Opened:
        self._needs(self.granted(instance).files, "files")
        mode = fields.get("mode", READ)
        if mode not in MODES:
            raise UserError(f"The mode is one of {', '.join(MODES)}.")
        purpose = app_log.one_line(_text(fields, "purpose", MAX_PURPOSE_CHARACTERS))
        name = app_log.one_line(_text(fields, "name", MAX_NAME_CHARACTERS))
        found = await self._asked(
            instance, "files.open", CHOICE_TIMEOUT_S, purpose=purpose, mode=mode, name=name
        )
        if not isinstance(found, Opened):
            raise Denied("No file was handed over.")
        try:
            _check_file(found.file, mode)
            self._needs(self.granted(instance).files, "files")  # the person may have thought of it meanwhile
            shown = app_log.one_line(str(found.result["name"]))[:255]
        except BaseException:
            found.file.close()
            raise
        return Opened({"name": shown, "mode": mode}, found.file)

    async def _write_clipboard(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        self._needs(self.granted(instance).clipboard, "clipboard")
        text = checked_text(_text(fields, "text", MAX_FRAME_BYTES))
        await self._person(instance).ask("clipboard.write", timeout_s=DESKTOP_TIMEOUT_S, text=text)
        return {}

    async def _read_clipboard(self, instance: Instance, _: dict[str, Any]) -> dict[str, Any]:
        self._needs(self.granted(instance).clipboard, "clipboard")
        text = await self._asked(instance, "clipboard.read", QUESTION_TIMEOUT_S)
        self._needs(self.granted(instance).clipboard, "clipboard")
        return {"text": str(text)}

    async def _net_open(self, instance: Instance, fields: dict[str, Any]) -> socket.socket:
        host, port = read_target(fields)
        return await self.proxy.open(instance, host, port, self.granted(instance))

    async def _join(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        return {"peers": self._meeting(instance).join(instance, _circle_name(fields))}

    async def _leave(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        if self.circles is not None:
            self.circles.leave(instance, _circle_name(fields))
        return {}

    async def _peers(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        return {"peers": self._meeting(instance).of(instance, _circle_name(fields)).names}

    async def _send(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        circle = self._meeting(instance).of(instance, _circle_name(fields))
        data = _bytes(fields, MAX_APP_MESSAGE_BYTES, "message")
        return {"sent": circle.send(data, _text(fields, "peer", MAX_NAME_CHARACTERS))}

    def _meeting(self, instance: Instance) -> Circles:
        self._needs("join" in self.granted(instance).p2p, "p2p")
        if self.circles is None:
            raise Unsupported("There is no swarm to meet anybody in.", hint=ONLY_RELEASED)
        return self.circles

    async def _shelf_put(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        shelves, data = self._storing(instance), _bytes(fields, MAX_SHELF_BLOCK_BYTES, "block")
        if not data:
            raise UserError("A block has at least one byte.")
        block_id = await shelves.put(instance.app_key, data, self._shelf_limit(instance))
        return {"block": block_id.hex()}

    async def _shelf_get(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        shelves, block_id = self._storing(instance), _block_id(fields)
        timeout_s, keep = fields.get("timeout", SHELF_TIMEOUT_S), fields.get("keep", False)
        if not isinstance(timeout_s, int | float) or not 0 <= timeout_s <= MAX_SHELF_TIMEOUT_S:
            raise UserError(f"timeout is a number of seconds from 0 to {MAX_SHELF_TIMEOUT_S:g}.")
        if not isinstance(keep, bool):
            raise UserError("keep is true or false.")
        try:
            data = await shelves.get(instance.app_key, block_id, timeout_s)
        finally:
            self._storing(instance)  # the person may have taken it back meanwhile
        if keep:
            await shelves.put(instance.app_key, data, self._shelf_limit(instance))
        return {"data": b64encode(data).decode()}

    async def _shelf_drop(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        return {"dropped": await self._storing(instance).drop(instance.app_key, _block_id(fields))}

    async def _shelf_list(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        after = _block_id(fields, "after") if fields.get("after") else b""
        names = await self._storing(instance).names(instance.app_key, after, MAX_LISTED_BLOCKS)
        return {"blocks": [name.hex() for name in names]}

    async def _shelf_usage(self, instance: Instance, _: dict[str, Any]) -> dict[str, Any]:
        usage = await self._storing(instance).usage(instance.app_key)
        return {"blocks": usage.blocks, "bytes": usage.bytes, "limit": self._shelf_limit(instance)}

    def _shelf_limit(self, instance: Instance) -> int:
        return self.granted(instance).storage_bytes

    def _storing(self, instance: Instance) -> Shelves:
        self._needs("store" in self.granted(instance).p2p, "p2p")
        if self.shelves is None:
            raise Unsupported("There is no swarm to share blocks in.", hint=ONLY_RELEASED)
        return self.shelves

    async def _asked(self, instance: Instance, method: str, timeout_s: float, **fields: Any) -> Any:
        """What the person answers. Raises as `Attendant.ask`, LimitExceeded after too many noes."""
        person = self._person(instance)
        patience = self._patience.setdefault(instance.app_key, Patience())
        patience.check(time.monotonic())
        try:
            answer = await person.ask(method, timeout_s=timeout_s, **fields)
        except (Denied, PeerTimeout) as e:
            if e.message != NOBODY:
                patience.told(False, time.monotonic())
            raise
        patience.told(answer is not False, time.monotonic())
        return answer

    def _person(self, instance: Instance) -> Attendant:
        """Who sits at the app's terminal; for a second channel of a run, a page's say, at another of it.
        Raises Denied where there is nobody."""
        for other in (instance, *self.others(instance.app_key)):
            if other.attendant is not None:
                return other.attendant
        return instance.person()

    def _name(self, instance: Instance) -> str:
        installed = self.apps.known(instance.app_key).folder.installed
        return installed.name if installed else ""


def _check_file(file: io.FileIO, mode: str) -> None:
    """A regular file, open for just what was asked for, whoever opened it. Raises Denied."""
    import fcntl

    wanted = os.O_RDONLY if mode == READ else os.O_WRONLY
    access = fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_ACCMODE
    if access != wanted or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise Denied("What was handed over is no file for that.")


def _circle_name(fields: dict[str, Any]) -> str:
    return _text(fields, "circle", MAX_CIRCLE_NAME_BYTES)


def _block_id(fields: dict[str, Any], field: str = "block") -> bytes:
    text = _text(fields, field, 64)
    try:
        block_id = bytes.fromhex(text)
    except ValueError:
        block_id = b""
    if len(block_id) != 32:
        raise UserError(f"{field} is 64 hex digits.")
    return block_id


def _bytes(fields: dict[str, Any], limit: int, what: str) -> bytes:
    try:
        data = b64decode(_text(fields, "data", MAX_FRAME_BYTES), validate=True)
    except ValueError as e:
        raise UserError("data is base64.") from e
    if len(data) > limit:
        raise LimitExceeded(
            f"A {what} has at most {limit} bytes, not {len(data)}.", hint="Divide it into parts."
        )
    return data


def _text(fields: dict[str, Any], name: str, limit: int) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise UserError(f"{name} is text.")
    if len(value) > limit:
        raise LimitExceeded(f"{name} has {len(value)} characters; at most {limit} are allowed.")
    return value
