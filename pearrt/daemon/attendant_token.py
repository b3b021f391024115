"""The half of a channel's token that stays with `pearrt run`."""

from __future__ import annotations

import hashlib


def attendant_token(token: bytes) -> bytes:
    """Opens the attendant's connection, once, while the channel of `token` is open. The app never has either:
    it is given an open channel."""
    return hashlib.sha256(b"pearrt-attendant-v1\0" + token).digest()
