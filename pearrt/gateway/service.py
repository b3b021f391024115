"""The read-only HTTP view of what this peer seeds: a mirror that any HTTP client can use.

    GET /pearrt/v1/<55-letter key>/metadata?root=N   bencoded metadata set, roots from version N (1) on
    GET /pearrt/v1/<key>/timestamp.json              a signed blob; so snapshot, targets, N.root
    GET /pearrt/v1/block/<64 hex digits>             the stored bytes of a block

HEAD answers the same without a body. Everything else is 404, with the same words, whether or not something
is there: who does not know a key or a digest learns nothing. There is no listing and nothing is taken in.
Nothing here needs to be trusted: metadata is signed and blocks are named by their SHA-256. Private networks
do not offer this view at all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from pearrt.errors import BadLink
from pearrt.link import KEY_LETTERS, decode_key

KEEPALIVE_S = 15.0
MAX_LINE_BYTES = 2048
MAX_FIELD_BYTES = 4096

_BLOCK = re.compile(r"/pearrt/v1/block/([0-9a-f]{64})")
_APP = re.compile(rf"/pearrt/v1/([a-z0-9]{{{KEY_LETTERS}}})/([a-z0-9.]{{1,32}})")
_ROOT_FILE = re.compile(r"([1-9][0-9]{0,5})\.root\.json")
_ROOT_QUERY = re.compile(r"(?:root=([1-9][0-9]{0,5}))?")
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


class MirrorMetadata(Protocol):
    """One app's signed blobs, all roots from 1; `pearrt.trust.metadata_set.MetadataSet` is one."""

    @property
    def roots(self) -> tuple[bytes, ...]: ...
    @property
    def timestamp(self) -> bytes: ...
    @property
    def snapshot(self) -> bytes: ...
    @property
    def targets(self) -> bytes: ...
    def since(self, first_root: int) -> MirrorMetadata: ...
    def encode(self) -> bytes: ...


class MirrorSource(Protocol):
    """What may be shown: public apps that this peer serves, and their blocks only."""

    def metadata(self, app_key: bytes) -> MirrorMetadata | None:
        """The app's metadata, None if it is not served here."""

    async def block(self, block_id: bytes) -> bytes | None:
        """The stored bytes of a block of an app that is served here, else None."""


def view_factory(source: MirrorSource) -> Callable[[], asyncio.Protocol]:
    """For `PeerService(http_factory=...)`: makes one HTTP connection's protocol. Needs a running loop."""
    return web.Server(
        _View(source).handle,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=0,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_FIELD_BYTES,
    )


class _View:
    def __init__(self, source: MirrorSource) -> None:
        self._source = source

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; never raises but for our own bugs."""
        if request.method not in {"GET", "HEAD"}:
            return _not_found(close=True)
        path, _, query = request.path_qs.partition("?")
        if block := _BLOCK.fullmatch(path):
            return await self._block(request, block[1]) if not query else _not_found()
        if app := _APP.fullmatch(path):
            return self._of_app(app[1], app[2], query)
        return _not_found()

    async def _block(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        tag = f'"{digest}"'
        stored = await self._source.block(bytes.fromhex(digest))
        if stored is None:
            return _not_found()
        if request.headers.get("If-None-Match") == tag:
            return _respond(b"", "application/octet-stream", _FOR_EVER, tag, status=304)
        return _respond(stored, "application/octet-stream", _FOR_EVER, tag)

    def _of_app(self, key: str, name: str, query: str) -> web.StreamResponse:
        try:
            metadata = self._source.metadata(decode_key(key))
        except BadLink:
            return _not_found()
        wanted = _ROOT_QUERY.fullmatch(query)
        if metadata is None or wanted is None or (query and name != "metadata"):
            return _not_found()
        if name == "metadata":
            part = metadata.since(int(wanted[1] or 1))
            return _respond(part.encode(), "application/octet-stream", _ASK_AGAIN)
        if root := _ROOT_FILE.fullmatch(name):
            version = int(root[1])
            if version > len(metadata.roots):
                return _not_found()
            return _respond(metadata.roots[version - 1], "application/json", _FOR_EVER)
        blobs = {"timestamp": metadata.timestamp, "snapshot": metadata.snapshot, "targets": metadata.targets}
        blob = blobs.get(name.removesuffix(".json")) if name.endswith(".json") else None
        return _not_found() if blob is None else _respond(blob, "application/json", _ASK_AGAIN)


def _respond(
    body: bytes, content_type: str, caching: str, tag: str = "", *, status: int = 200
) -> web.StreamResponse:
    headers = {
        "Cache-Control": caching,
        "Content-Type": content_type,
        "Server": "pearrt",
        "X-Content-Type-Options": "nosniff",
    }
    if tag:
        headers["ETag"] = tag
    return web.Response(body=body, status=status, headers=headers)


def _not_found(*, close: bool = False) -> web.StreamResponse:
    response = _respond(b"Not found.\n", "text/plain", "no-store", status=404)
    if close:
        response.force_close()
    return response
