"""A mirror as a source: fetches the view of `pearrt.gateway.service` from a base URL.

Any web server that carries the same paths will do. Nothing it says is trusted: blocks are checked against
their SHA-256 here, metadata is verified by whoever asked for it. Answers are bounded in size and time
before they are kept, and a redirect is followed only within the mirror's own host and never from https to
http.
"""

from __future__ import annotations

from types import TracebackType

import aiohttp
from yarl import URL

from pearrt.crypto.hashes import sha256
from pearrt.errors import (
    DigestMismatch,
    LimitExceeded,
    NetworkError,
    PeerTimeout,
    ProtocolViolation,
    Unreachable,
)
from pearrt.link import encode_key
from pearrt.trust.metadata_set import MAX_ANSWER_BYTES
from pearrt.trust.root_steps import RootSteps

MAX_BLOCK_BYTES = 1 << 18
MAX_REDIRECTS = 3
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
TOTAL_TIMEOUT_S = 120.0
MAX_CONNECTIONS = 4

_REDIRECTS = frozenset({301, 302, 307, 308})


class NotThere(NetworkError):
    """The mirror does not have it."""


class Mirror:
    """An async context manager. `base` is the http or https URL in front of `/pearrt/v1`."""

    def __init__(self, base: str) -> None:
        self._base = URL(base.rstrip("/") + "/pearrt/v1/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Mirror:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(
                total=TOTAL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def metadata(self, app_key: bytes, first_root: int = 1) -> bytes:
        """The encoded metadata set, roots from version `first_root` on; not verified.

        Raises NotThere, Unreachable, PeerTimeout, ProtocolViolation or LimitExceeded.
        """
        path, steps, whole = f"{encode_key(app_key)}/metadata", RootSteps(first_root), None
        while whole is None:
            whole = steps.take(await self._get(path, MAX_ANSWER_BYTES, {"root": str(steps.wanted)}))
        return whole

    async def timestamp(self, app_key: bytes, max_bytes: int = 4096) -> bytes:
        """The timestamp metadata; not verified. Raises like `metadata`."""
        return await self._get(f"{encode_key(app_key)}/timestamp.json", max_bytes)

    async def block(self, block_id: bytes) -> bytes:
        """The stored bytes of a block. Raises DigestMismatch if they are others, else like `metadata`."""
        data = await self._get(f"block/{block_id.hex()}", MAX_BLOCK_BYTES)
        if sha256(data) != block_id:
            raise DigestMismatch(
                f"The mirror {self._base.host} sent something else than block {block_id.hex()[:8]}."
            )
        return data

    async def _get(self, path: str, max_bytes: int, query: dict[str, str] | None = None) -> bytes:
        url = self._base.join(URL(path))
        if query:
            url = url.with_query(query)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = await self._request(url, max_bytes)
                if isinstance(answer, bytes):
                    return answer
                url = answer
        except TimeoutError as e:
            raise PeerTimeout(f"The mirror {self._base.host} does not answer in time.") from e
        except (aiohttp.ClientError, OSError) as e:
            raise Unreachable(f"The mirror {self._base.host} cannot be reached: {e}.") from e
        raise ProtocolViolation(f"The mirror {self._base.host} redirects more than {MAX_REDIRECTS} times.")

    async def _request(self, url: URL, max_bytes: int) -> bytes | URL:
        """The body, or where to look instead."""
        assert self._session is not None, "enter the mirror first"
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status in _REDIRECTS:
                return self._redirected(url, response.headers.get("Location", ""))
            if response.status == 404:
                raise NotThere(f"The mirror {self._base.host} does not have {url.path}.")
            if response.status != 200:
                raise Unreachable(f"The mirror {self._base.host} answers with status {response.status}.")
            if (response.content_length or 0) > max_bytes:
                raise LimitExceeded(f"The mirror {self._base.host} sends more than {max_bytes} bytes.")
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > max_bytes:
                    raise LimitExceeded(f"The mirror {self._base.host} sends more than {max_bytes} bytes.")
            return bytes(body)

    def _redirected(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location))
        except ValueError as e:
            raise ProtocolViolation(f"The mirror {self._base.host} redirects to no address.") from e
        same_place = target.host == url.host and target.scheme in {url.scheme, "https"}
        if not location or not same_place:
            raise ProtocolViolation(f"The mirror {self._base.host} redirects to another place.")
        return target
