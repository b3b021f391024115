"""The origin of one running app's page, and who may speak to it. Pure.

    http://<26 random letters>.localhost:<port>/

Names below `localhost` mean this machine (RFC 6761, 6.3), and each is an origin of its own to a browser: what
one app's page stores or holds is out of reach of every other page. The name is drawn anew for each run.

Any program and any page on this machine can connect to the port. Rules, for every request before anything
else is looked at:

    Host             exactly this origin's, once: a name that was rebound to this machine is another one
    Origin           absent, or exactly this one; a request that changes something must name it
    Sec-Fetch-Site   absent, `same-origin`, or `none` (typed, or opened by the runtime); never another page's
    Service-Worker   absent: nothing of the page may outlive it in the browser
    Cookie           the session's secret; it is given for the token in the address that was opened, once

Who fails one gets the same words, whatever it asked for. Source: Fetch Metadata (W3C), Fetch (WHATWG) 3.2.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass

NAME_BYTES = SECRET_BYTES = 16
TOKEN_TTL_S = 600.0
COOKIE = "pearrt"
ENTER = "/.pearrt/enter/"
READING = frozenset({"GET", "HEAD"})
_TOKEN = re.compile(r"[a-z2-7]{26}")

Headers = Iterable[tuple[str, str]]


def spelled(secret: bytes) -> str:
    """16 bytes as 26 lower-case letters and digits, fit for a host name."""
    return b32encode(secret).decode().rstrip("=").lower()


@dataclass(frozen=True, slots=True)
class Origin:
    """Name and port of one run's page."""

    name: str
    port: int

    @property
    def host(self) -> str:
        """What the Host header must say."""
        return f"{self.name}.localhost:{self.port}"

    def __str__(self) -> str:
        return f"http://{self.host}"

    def admits(self, method: str, headers: Headers) -> bool:
        """Whether a request with these headers comes from this origin's page or from the person."""
        given: dict[str, list[str]] = {}
        for name, value in headers:
            given.setdefault(name.lower(), []).append(value)
        if given.get("host") != [self.host] or "service-worker" in given:
            return False
        reading = method in READING
        origin, site = given.get("origin", []), given.get("sec-fetch-site", [])
        if origin not in ([[str(self)], []] if reading else [[str(self)]]):
            return False
        return site in ([], ["same-origin"], ["none"]) if reading else site in ([], ["same-origin"])


class Door:
    """The way in: one token, once, for the cookie that stands for the session. Times are monotonic."""

    def __init__(self, token: bytes, secret: bytes, now: float) -> None:
        self.secret = spelled(secret)
        self._token: str | None = spelled(token)
        self._expiry = now + TOKEN_TTL_S

    @property
    def path(self) -> str:
        """The path to open, while it has not been used."""
        return ENTER + (self._token or "")

    def open(self, path: str, now: float) -> bool:
        """Takes the token in `path`; a second time, or too late, it is worth nothing."""
        token, held = path.removeprefix(ENTER), self._token
        if held is None or now > self._expiry or not _TOKEN.fullmatch(token):
            return False
        if not hmac.compare_digest(token, held):
            return False
        self._token = None
        return True

    @property
    def cookie(self) -> str:
        """The Set-Cookie header: for this host name alone, unreadable by scripts, gone with the browser."""
        return f"{COOKIE}={self.secret}; Path=/; HttpOnly; SameSite=Strict"

    def knows(self, headers: Headers) -> bool:
        """Whether the request carries the session's cookie, and no other of its name."""
        values = [value for name, value in cookies(headers) if name == COOKIE]
        return len(values) == 1 and hmac.compare_digest(values[0].encode(), self.secret.encode())


def cookies(headers: Headers) -> list[tuple[str, str]]:
    """Names and values of all cookies of a request, as they were sent."""
    parts = [part for name, value in headers if name.lower() == "cookie" for part in value.split(";")]
    pairs = [part.strip().partition("=") for part in parts]
    return [(name, value) for name, _, value in pairs]
