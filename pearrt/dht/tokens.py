"""Write tokens (BEP 5): what a node hands out on get_peers and get, and demands back on announce_peer and
put.

A token is bound to the asker's IP address and to the target, so a replay from elsewhere or for another key
fails. The secret changes every period (5 minutes) and the previous one stays valid. Nothing is stored per
asker.
"""

from __future__ import annotations

import hashlib
import hmac

TOKEN_BYTES = 8


class Tokens:
    """Issues and checks tokens under a 32-byte `secret` of this node's own."""

    __slots__ = ("_period_s", "_secret")

    def __init__(self, secret: bytes, period_s: float) -> None:
        self._secret = secret
        self._period_s = period_s

    def issue(self, host: str, target: bytes, now: float) -> bytes:
        """The token for `host` to write under `target` during this period and the next."""
        return self._token(host, target, int(now // self._period_s))

    def accepts(self, token: bytes, host: str, target: bytes, now: float) -> bool:
        """Whether `token` was issued to `host` for `target` in this period or the previous one."""
        period = int(now // self._period_s)
        return any(
            hmac.compare_digest(token, self._token(host, target, issued)) for issued in (period, period - 1)
        )

    def _token(self, host: str, target: bytes, period: int) -> bytes:
        text = b"%d %b %b" % (period, target, host.encode())
        return hashlib.blake2b(text, key=self._secret, digest_size=TOKEN_BYTES).digest()
