"""Limits on what strangers can make this node do.

Queries: an address that sends more than a fixed number in a window is banned for a while; a ban is extended
by nobody, and memory is bounded by forgetting the address seen longest ago. Replies: a byte budget per second
for all public addresses together bounds what a forged source address can gain. Loopback is exempt: test
networks share one address.
"""

from __future__ import annotations

from typing import TypeVar

from pearrt.dht.contact import Scope, scope_of

_T = TypeVar("_T")


class RateLimit:
    """Counts queries per IP address in windows of `window_s`; over `limit` means banned for `ban_s`."""

    __slots__ = ("_ban_s", "_counts", "_limit", "_max_tracked", "_window_s", "banned_until")

    def __init__(self, *, limit: int, window_s: float, ban_s: float, max_tracked: int) -> None:
        self._limit = limit
        self._window_s = window_s
        self._ban_s = ban_s
        self._max_tracked = max_tracked
        self._counts: dict[str, tuple[float, int]] = {}
        self.banned_until: dict[str, float] = {}

    def admit(self, host: str, now: float) -> bool:
        """Counts one query from `host`; False if it is banned, or is from now on."""
        if scope_of(host) is Scope.LOOPBACK:
            return True
        until = self.banned_until.get(host)
        if until is not None:
            if now < until:
                return False
            del self.banned_until[host]
        started, count = self._counts.pop(host, (now, 0))
        if now - started >= self._window_s:
            started, count = now, 0
        count += 1
        if count > self._limit:
            _bounded_insert(self.banned_until, host, now + self._ban_s, self._max_tracked)
            return False
        _bounded_insert(self._counts, host, (started, count), self._max_tracked)
        return True


def _bounded_insert(table: dict[str, _T], key: str, value: _T, limit: int) -> None:
    if len(table) >= limit:
        del table[next(iter(table))]
    table[key] = value


class ReplyBudget:
    """A token bucket over reply bytes to public addresses, refilled at `bytes_per_s`, at most one second's
    worth."""

    __slots__ = ("_available", "_bytes_per_s", "_updated")

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._available = float(bytes_per_s)
        self._updated = 0.0

    def spend(self, size: int, host: str, now: float) -> bool:
        """Whether `size` bytes may be sent to `host` now; local networks are exempt."""
        if scope_of(host) is not Scope.PUBLIC:
            return True
        self._available = min(
            self._bytes_per_s, self._available + max(0.0, now - self._updated) * self._bytes_per_s
        )
        self._updated = now
        if size > self._available:
            return False
        self._available -= size
        return True
