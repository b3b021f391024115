"""A mirror as a source: fetches the view of `pearrt.gateway.service` from a base URL.

Any web server that carries the same paths will do. Nothing it says is trusted: blocks are checked against
their SHA-256 here, metadata is verified by whoever asked for it. Answers are bounded in size and time
before they are kept; which redirects are followed is in `asking.py`.
"""

from __future__ import annotations

from types import TracebackType

import aiohttp

from pearrt.bundle.index import BLOCK_BYTES
from pearrt.errors import LimitExceeded, PeerTimeout, ProtocolViolation, Unreachable
from pearrt.gateway.asking import (
    MAX_REDIRECTS,
    REDIRECTS,
    NotThere,
    block_path,
    check_block,
    metadata_path,
    redirected,
    split,
)
from pearrt.trust.metadata_set import MAX_ANSWER_BYTES
from pearrt.trust.root_steps import RootSteps

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
TOTAL_TIMEOUT_S = 120.0
MAX_CONNECTIONS = 4


class Mirror:
    """An async context manager. `base` is the http or https URL in front of `/pearrt/v1`, else BadLink."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")
        self._name = f"The mirror {split(self._base).hostname}"
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
        steps, whole = RootSteps(first_root), None
        while whole is None:
            whole = steps.take(await self._get(metadata_path(app_key, steps.wanted), MAX_ANSWER_BYTES))
        return whole

    async def block(self, block_id: bytes) -> bytes:
        """The stored bytes of a block. Raises DigestMismatch if they are others, else like `metadata`."""
        data = await self._get(block_path(block_id), BLOCK_BYTES)
        check_block(self._name, data, block_id)
        return data

    async def _get(self, path: str, max_bytes: int) -> bytes:
        url = self._base + path
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = await self._request(url, max_bytes)
                if isinstance(answer, bytes):
                    return answer
                url = answer
        except TimeoutError as e:
            raise PeerTimeout(f"{self._name} does not answer in time.") from e
        except (aiohttp.ClientError, OSError) as e:
            raise Unreachable(f"{self._name} cannot be reached: {e}.") from e
        raise ProtocolViolation(f"{self._name} redirects more than {MAX_REDIRECTS} times.")

    async def _request(self, url: str, max_bytes: int) -> bytes | str:
        """The body, or where to look instead."""
        assert self._session is not None, "enter the mirror first"
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status in REDIRECTS:
                return redirected(self._name, url, response.headers.get("Location", ""))
            if response.status == 404:
                raise NotThere(f"{self._name} does not have it.")
            if response.status != 200:
                raise Unreachable(f"{self._name} answers with status {response.status}.")
            if (response.content_length or 0) > max_bytes:
                raise LimitExceeded(f"{self._name} sends more than {max_bytes} bytes.")
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > max_bytes:
                    raise LimitExceeded(f"{self._name} sends more than {max_bytes} bytes.")
            return bytes(body)
