"""A peer or mirror as a source, with the standard library alone: the bootstrapper's side of
`pearrt.gateway.service`.

One keep-alive connection, for one thread; `abort`, from any thread, ends the request under way. Nothing that
is said is trusted: blocks are hashed here, metadata is verified by whoever asked for it. Every answer is
bounded in size before it is read and in time while it is; a redirect is followed only within the same host
and never from https to http. Proxies and cookies are not used.
"""

from __future__ import annotations

import contextlib
import socket
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult

from pearrt.bundle.index import BlockRef
from pearrt.errors import LimitExceeded, PeerTimeout, ProtocolViolation, Unreachable
from pearrt.gateway.asking import (
    MAX_REDIRECTS,
    PORTS,
    REDIRECTS,
    NotThere,
    block_path,
    check_block,
    metadata_path,
    redirected,
    split,
)
from pearrt.link import HostPort
from pearrt.trust.metadata_set import MAX_ANSWER_BYTES
from pearrt.trust.root_steps import RootSteps

CONNECT_TIMEOUT_S = 6.0
READ_TIMEOUT_S = 15.0
REQUEST_TIMEOUT_S = 60.0
_MAX_ERROR_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024


class HttpSource:
    """`base` is the http or https URL in front of `/pearrt/v1`. Raises BadLink for any other text."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self._parts = split(self.base)
        self._connection: HTTPConnection | None = None
        self._connected_to = ("", "")
        self._deadline = 0.0

    @classmethod
    def of_peer(cls, peer: HostPort) -> HttpSource:
        """The HTTP view at a peer's port."""
        return cls(f"http://{peer}")

    def metadata(self, app_key: bytes, first_root: int = 1) -> bytes:
        """The encoded metadata set, roots from version `first_root` on; not verified.

        Raises NotThere, Unreachable, PeerTimeout, ProtocolViolation or LimitExceeded.
        """
        steps, whole = RootSteps(first_root), None
        while whole is None:
            whole = steps.take(self._get(metadata_path(app_key, steps.wanted), MAX_ANSWER_BYTES))
        return whole

    def block(self, block: BlockRef) -> bytes:
        """The block's bytes. Raises DigestMismatch where they are others, else like `metadata`."""
        data = self._get(block_path(block.id), block.size)
        check_block(self.base, data, block.id)
        return data

    @property
    def busy_for_s(self) -> float:
        """How long the request under way has taken; 0 without one."""
        return max(0.0, time.monotonic() - self._deadline + REQUEST_TIMEOUT_S) if self._deadline else 0.0

    def abort(self) -> None:
        """Ends the connection, and with it the request under way, from any thread."""
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _get(self, path: str, max_bytes: int) -> bytes:
        url = self.base + path
        self._deadline = time.monotonic() + REQUEST_TIMEOUT_S
        try:
            for _ in range(MAX_REDIRECTS + 1):
                response = self._request(split(url))
                if response.status not in REDIRECTS:
                    return self._body(response, max_bytes)
                url = self._redirected(url, response)
        except TimeoutError as e:
            self.close()
            raise PeerTimeout(f"{self.base} does not answer in time.") from e
        except (HTTPException, OSError, ValueError) as e:
            self.close()
            raise Unreachable(f"{self.base} cannot be reached: {_reason(e)}.") from e
        except BaseException:
            self.close()
            raise
        finally:
            self._deadline = 0.0
        self.close()
        raise ProtocolViolation(f"{self.base} redirects more than {MAX_REDIRECTS} times.")

    def _request(self, url: SplitResult) -> HTTPResponse:
        """The head of the answer; once more on a new connection where a kept one turns out to be closed."""
        kept = self._connection is not None and self._connected_to == (url.scheme, url.netloc)
        for again in (kept, False):
            connection = self._connect(url)
            try:
                target = f"{url.path}?{url.query}" if url.query else url.path
                connection.request("GET", target, headers={"Accept-Encoding": "identity"})
                return connection.getresponse()
            except ConnectionError:
                self.close()
                if not again:
                    raise
        raise AssertionError("one of two attempts returns or raises")

    def _connect(self, url: SplitResult) -> HTTPConnection:
        if self._connection is not None and self._connected_to == (url.scheme, url.netloc):
            return self._connection
        self.close()
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        port = url.port or PORTS[url.scheme]
        connection = kind(url.hostname or "", port, timeout=CONNECT_TIMEOUT_S)
        connection.connect()
        connection.sock.settimeout(READ_TIMEOUT_S)
        self._connection, self._connected_to = connection, (url.scheme, url.netloc)
        return connection

    def _body(self, response: HTTPResponse, max_bytes: int) -> bytes:
        if response.status == 404:
            self._drain(response)
            raise NotThere(f"{self.base} does not have it.")
        if response.status != 200:
            raise Unreachable(f"{self.base} answers with status {response.status}.")
        if (response.length or 0) > max_bytes:
            raise LimitExceeded(f"{self.base} sends more than {max_bytes} bytes.")
        body = bytearray()
        while part := response.read1(min(_READ_BYTES, max_bytes + 1 - len(body))):
            body += part
            if len(body) > max_bytes:
                raise LimitExceeded(f"{self.base} sends more than {max_bytes} bytes.")
            if time.monotonic() > self._deadline:
                raise TimeoutError
        if response.length:  # fewer bytes than the head promised
            raise Unreachable(f"{self.base} broke off.")
        response.close()  # `read1` does not notice the end; the connection stays
        if response.will_close:
            self.close()
        return bytes(body)

    def _drain(self, response: HTTPResponse) -> None:
        """Reads a short answer, so that the connection can be kept; ends it where there is more."""
        response.read(_MAX_ERROR_BYTES)
        if not response.isclosed() or response.will_close:
            self.close()

    def _redirected(self, url: str, response: HTTPResponse) -> str:
        location = response.getheader("Location") or ""
        self._drain(response)
        return redirected(self.base, url, location)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:200] or type(error).__name__
