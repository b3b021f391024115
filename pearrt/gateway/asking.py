"""What both clients of the HTTP view ask for and accept: `mirror.py` and, for threads, `http_source.py`."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit

from pearrt.crypto.hashes import sha256
from pearrt.errors import BadLink, DigestMismatch, NetworkError, ProtocolViolation
from pearrt.link import encode_key

MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 307, 308})
PORTS = {"http": 80, "https": 443}


class NotThere(NetworkError):
    """The source does not have it."""


def metadata_path(app_key: bytes, first_root: int) -> str:
    """Of an app's metadata with roots from version `first_root` on, behind a source's base URL."""
    return f"/pearrt/v1/{encode_key(app_key)}/metadata?root={first_root}"


def block_path(block_id: bytes) -> str:
    return f"/pearrt/v1/block/{block_id.hex()}"


def check_block(source: str, data: bytes, block_id: bytes) -> None:
    """Raises DigestMismatch where the bytes are not the block's."""
    if sha256(data) != block_id:
        raise DigestMismatch(f"{source} sent something else than block {block_id.hex()[:12]}.")


def split(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises BadLink for any other text."""
    try:
        parts = urlsplit(url)
        if parts.scheme in PORTS and parts.hostname and parts.port != 0 and url.isprintable():
            return parts
    except ValueError:
        pass
    raise BadLink(f"{url[:80]!r} is no http or https address.")


def redirected(source: str, url: str, location: str) -> str:
    """Where a redirect leads: within the same host, never from https to http. Raises ProtocolViolation."""
    try:
        here, there = split(url), urlsplit(urljoin(url, location))
    except ValueError as e:
        raise ProtocolViolation(f"{source} redirects to no address.") from e
    if not location or there.hostname != here.hostname or there.scheme not in {here.scheme, "https"}:
        raise ProtocolViolation(f"{source} redirects to another place.")
    return there.geturl()
