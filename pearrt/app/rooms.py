"""Release rooms on the daemon's side: sealed requests are served and fetched, answers put into the DHT and
looked for there.

A room has no state but files on the desk. Its request is a block that the app's peers pass on; whoever
entered serves it too. An answer is a mutable item that its signer's daemon stores again every hour while it
runs. The daemon of who opened the room also looks for answers now and then and keeps them on the desk, so
that signers need not be online together: an item lives for two hours. Everything found is a stranger's word
until `publish/room.py` has checked it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pearrt.app import pins
from pearrt.app.candidates import acquaint
from pearrt.app.followed import FollowedApp
from pearrt.app.install import catch_up
from pearrt.bundle.index import BlockRef
from pearrt.codec import bencode
from pearrt.crypto.hashes import sha256
from pearrt.dht.items import KEY_BYTES, MutableItem
from pearrt.errors import (
    BadLink,
    NetworkError,
    NoPeers,
    NoSuchApp,
    PearrtError,
    StoreError,
    Unreachable,
    UserError,
)
from pearrt.link import Link, decode_key
from pearrt.publish.commit import check_current
from pearrt.publish.desk import Desk, InRoom
from pearrt.publish.request import Request
from pearrt.publish.room import Room, awaited, gather, seal

if TYPE_CHECKING:
    from pearrt.app.apps import Apps
    from pearrt.dht.service import DhtService

ROUND_EVERY_S = 900.0
LOOKUPS_AT_ONCE = 8
MAX_SIGNERS = 64
PATIENCE_S = 20.0
NO_DHT = "The DHT is off on this machine, so answers can be neither posted to a release room nor found."
NO_DHT_HINT = "Send the answer by hand: `pearrt release combine` takes lines and files."

log = logging.getLogger(__name__)


class Rooms:
    """`_posted`: the targets of what this process has the DHT hold."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps
        self._posted: set[bytes] = set()
        self._next_round = 0.0
        self._in_round = False

    # -- requests

    async def serve(self, app: FollowedApp) -> None:
        """Serves the sealed requests of all rooms of the app that this machine is in, and no others.

        Where the disk takes none, that is logged: nothing else of the app depends on it.
        """
        try:
            app.members.serve_rooms(await asyncio.to_thread(self._keep_blocks, app.link.app_key))
        except StoreError as e:
            log.warning("release rooms of %s are not served: %s", app.link.key_text[:8], e)

    def _keep_blocks(self, app_key: bytes) -> list[bytes]:
        """Stores and pins the blocks of all rooms; gives their ids."""
        store, prefix = self._apps.store, pins.of_rooms(app_key)
        blocks = {sha256(data): data for data in self._sealed(app_key)}
        for block_id, data in blocks.items():
            store.pin(prefix + block_id.hex(), [block_id])
            store.put(block_id, data)
        for block in pins.pinned(store, prefix):
            if bytes.fromhex(block) not in blocks:
                store.unpin(prefix + block)
        return list(blocks)

    def _sealed(self, app_key: bytes) -> list[bytes]:
        return [seal(each.request, each.room.secret) for each in self._desk(app_key).rooms()]

    async def enter(self, link: Link) -> bytes:
        """The sealed block of the room that the link leads to, and the app's newest metadata besides.

        Raises BadLink, NoPeers where nobody is there who has it, DigestMismatch for a link to something else.
        """
        room = Room.parse(link)
        app = await self._apps.follow(link)
        await acquaint(app, self._apps.home)
        try:
            await app.members.fetch([BlockRef(room.block, 0)], patience_s=PATIENCE_S)
        except NoPeers as e:
            raise NoPeers(
                "Nobody was found who has the request of this release room.",
                hint="Is the requester's daemon running? A node in the link helps: ?node=host:port.",
            ) from e
        data = await asyncio.to_thread(self._apps.store.get, room.block)
        if not app.published and not await asyncio.to_thread(_is_of_new_app, room, data):
            try:
                await catch_up(app, allow_stale=True)
            except PearrtError as e:  # what is trusted here stands
                log.info("metadata for a release room: %s", e)
        return data

    async def restore(self) -> None:
        """Joins again the swarms of apps that do not exist yet and have a room here."""
        folder = self._apps.home.ceremonies
        for path in sorted(folder.glob("*/*.room")) if folder.is_dir() else []:
            try:
                await self._apps.follow(Link(decode_key(path.parent.name)))
            except BadLink:
                continue
            except PearrtError as e:
                log.warning("the release room of %s: %s", path.parent.name[:8], e)

    # -- answers

    async def post(self, item: MutableItem) -> int:
        """Has the DHT hold an answer from now on; how many nodes took it. Raises UserError, Unreachable."""
        done = await self._dht().put_item(item)
        if not done.stored:
            raise Unreachable(
                "No node of the DHT took the answer.",
                hint="The daemon tries again later; else send the answer by hand.",
            )
        self._posted.add(item.target)
        return done.stored

    async def look(self, room: Room, signers: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """What lies in the DHT under these signers' keys: public key and value each. Raises UserError."""
        dht, gate = self._dht(), asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def ask(public: bytes) -> MutableItem | None:
            async with gate:
                return await dht.get_mutable(public, salt=room.salt)

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(public)) for public in dict.fromkeys(signers)]
        return [(item.public_key, item.value) for task in asked if (item := task.result()) is not None]

    def beat(self) -> None:
        """Now and then: posts again what was posted before this daemon started, and looks for answers."""
        if self._apps.dht is not None and not self._in_round and time.monotonic() >= self._next_round:
            self._in_round = True
            self._apps.lookout.in_background(self._round())

    async def _round(self) -> None:
        try:
            for app in list(self._apps.followed.values()):
                for each in await asyncio.to_thread(self._desk(app.link.app_key).rooms):
                    await self._tend(app, each)
        except PearrtError as e:
            log.warning("release rooms: %s", e)
        except Exception:
            log.exception("our own bug in looking after release rooms")
        finally:
            self._next_round, self._in_round = time.monotonic() + ROUND_EVERY_S, False

    async def _tend(self, app: FollowedApp, held: InRoom) -> None:
        desk, request, room = self._desk(app.link.app_key), held.request, held.room
        posts = await asyncio.to_thread(desk.posts, request)
        if _is_over(request, app, time.time()):
            for item in posts:
                self._dht().forget(item.public_key, salt=item.salt)
                self._posted.discard(item.target)
            await asyncio.to_thread(desk.leave_room, request)
            await self.serve(app)
            return
        for item in posts:
            if item.target not in self._posted:
                with contextlib.suppress(NetworkError):
                    await self.post(item)
        if held.ours:
            found = await self.look(room, [signer.public for signer in awaited(request)])
            gathered = await asyncio.to_thread(gather, room, request, found)
            if gathered.came:
                log.info("%s answered in a release room", ", ".join(gathered.came))
                await asyncio.to_thread(desk.keep_answers, gathered.request)

    def _desk(self, app_key: bytes) -> Desk:
        return Desk.of(self._apps.home.ceremonies, app_key)

    def _dht(self) -> DhtService:
        if self._apps.dht is None:
            raise UserError(NO_DHT, hint=NO_DHT_HINT)
        return self._apps.dht


def _is_of_new_app(room: Room, data: bytes) -> bool:
    """Whether nothing can be known yet of the app. Raises DigestMismatch, ProtocolViolation, TrustError."""
    try:
        room.unseal(data, None)
    except NoSuchApp:
        return False
    return True


def _is_over(request: Request, app: FollowedApp, now: float) -> bool:
    """Whether the request was published, or something else was, or it waited too long."""
    if now > request.expires:
        return True
    try:
        check_current(request, app.trusted)
    except UserError:
        return True
    return False


def posted_item(room: Room, fields: Mapping[str, Any]) -> MutableItem:
    """The answer that a request of the local API brings. Raises UserError."""
    try:
        public, value, signature = (bytes.fromhex(fields[name]) for name in ("key", "value", "signature"))
        return MutableItem(public, room.salt, int(fields["seq"]), bencode.encode(value), signature)
    except (KeyError, TypeError, ValueError) as e:
        raise UserError("The request does not bring an answer.") from e


def named_signers(fields: Mapping[str, Any]) -> list[bytes]:
    """The public keys that a request of the local API names. Raises UserError."""
    try:
        found = [bytes.fromhex(text) for text in fields["signers"]]
    except (KeyError, TypeError, ValueError) as e:
        raise UserError("The request names no signers.") from e
    if len(found) > MAX_SIGNERS or any(len(public) != KEY_BYTES for public in found):
        raise UserError(f"The request names other signers than up to {MAX_SIGNERS} keys.")
    return found
