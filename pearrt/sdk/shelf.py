"""Data that the app keeps on several machines. Needs the permission `p2p = ["store"]`.

    name = sdk.shelf.put(picture)          # here, and to be had from here: 64 hex digits
    circle.send(name.encode())             # whoever runs the app and has the name ...
    picture = sdk.shelf.get(name)          # ... gets it, from any machine that keeps it
    sdk.shelf.get(name, keep=True)         # and keeps it too

What is put stays, also while the app is closed and over updates, until the app drops it or is removed. As
much fits as the app has private storage. Only who knows a name can get what it stands for; names cannot be
guessed, even of data that can: each put has a salt of its own. What comes is what was put, whoever it came
from: a name is a hash. An app that does not trust everybody who may learn the name encrypts.

Data is divided into blocks of at most BLOCK_BYTES, each a byte that says what it is, the salt, then data or,
where one block is not enough, the names of the blocks that hold it:

    00 salt 16 data        01 salt 16 (name 32) x n
"""

from __future__ import annotations

import contextlib
import os
import queue
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

from pearrt.sdk.channel import Reply, channel
from pearrt.sdk.errors import Error, TooMuch

BLOCK_BYTES = 32 * 1024
SALT_BYTES = 16
NAME_BYTES = 32
DATA, LIST = b"\x00", b"\x01"
PART_BYTES = BLOCK_BYTES - 1 - SALT_BYTES
MAX_PARTS = PART_BYTES // NAME_BYTES
MAX_DATA_BYTES = MAX_PARTS * PART_BYTES  # 33 504 273
AT_ONCE = 8  # calls; the channel answers 16 at a time


@dataclass(frozen=True)
class Usage:
    """What is kept here, in blocks, and bytes on disk that may be."""

    blocks: int
    used_bytes: int
    limit_bytes: int

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Usage:
        return cls(int(fields["blocks"]), int(fields["bytes"]), int(fields["limit"]))


def put(data: bytes) -> str:
    """Keeps data; gives its name. Raises TooMuch for more than MAX_DATA_BYTES or a full shelf, Denied."""
    names: list[str] = []
    try:
        for _ in _each("shelf.put", ({"data": field} for field in blocks(data, names))):
            pass
    except BaseException:
        with contextlib.suppress(Error):
            _drop(names)
        raise
    return names[-1]


def get(name: str, *, timeout_s: float = 60.0, keep: bool = False) -> bytes:
    """The data of that name; `keep`: from here on it is kept and given on here too. A `timeout_s` of 0 takes
    what is here already, else it is for each block.

    Raises sdk.Error, whose code is "peer-timeout" where no machine that has it was found in time; TooMuch
    where it is to be kept and does not fit, Denied.
    """
    fields = wanted(timeout_s, keep=keep)
    parts = opened(channel().call("shelf.get", block=name, **fields).result())
    if isinstance(parts, bytes):
        return parts
    return b"".join(map(part, _each("shelf.get", ({"block": each, **fields} for each in parts))))


def drop(name: str) -> bool:
    """Stops keeping it; whether it was kept. Raises Denied."""
    _drop(_parts(name))
    return bool(channel().call("shelf.drop", block=name).result()["dropped"])


def keep_only(names: Iterable[str]) -> int:
    """Drops everything but these; gives how many blocks that were. For what lost its name: in a put that was
    killed, say. Not while anything else is being put. Raises Denied."""
    kept = {each for name in names for each in (name, *_parts(name))}
    dropped, after = 0, ""
    while found := channel().call("shelf.list", after=after).result()["blocks"]:
        lost, after = [name for name in found if name not in kept], found[-1]
        _drop(lost)
        dropped += len(lost)
    return dropped


def usage() -> Usage:
    """How much is kept. Raises Denied."""
    return Usage.read(channel().call("shelf.usage").result())


def blocks(data: bytes, names: list[str]) -> Iterator[str]:
    """Data in blocks, as fields of calls; the name of each is put to `names`, the last is that of all. Raises
    TooMuch."""
    if len(data) > MAX_DATA_BYTES:
        raise TooMuch(
            f"{len(data)} bytes are more than {MAX_DATA_BYTES}.",
            code="limit-exceeded",
            hint="Put it in parts, and keep their names together.",
        )
    salt = os.urandom(SALT_BYTES)
    for at in range(0, max(len(data), 1), PART_BYTES):
        yield _named(DATA + salt + data[at : at + PART_BYTES], names)
    if len(names) > 1:
        yield _named(LIST + salt + b"".join(map(bytes.fromhex, names)), names)


def _named(block: bytes, names: list[str]) -> str:
    names.append(sha256(block).hexdigest())
    return b64encode(block).decode()


def wanted(timeout_s: float, *, keep: bool) -> dict[str, Any]:
    """What is asked for, as fields of a call."""
    return {"timeout": timeout_s, "keep": keep}


def opened(result: dict[str, Any]) -> bytes | list[str]:
    """What the first block holds: the data, or the names of blocks that do. Raises Error for neither."""
    block = b64decode(result["data"])
    kind, body = block[:1], block[1 + SALT_BYTES :]
    if len(block) > SALT_BYTES and kind == DATA:
        return body
    if kind != LIST or not body or len(body) % NAME_BYTES or len(body) > MAX_PARTS * NAME_BYTES:
        raise Error("That was not put here by `sdk.shelf`.", code="corrupt")
    return [body[at : at + NAME_BYTES].hex() for at in range(0, len(body), NAME_BYTES)]


def part(result: dict[str, Any]) -> bytes:
    """The data in a block that was listed. Raises Error where there is none."""
    data = opened(result)
    if not isinstance(data, bytes):
        raise Error("A list of blocks names another list.", code="corrupt")
    return data


def _parts(name: str) -> list[str]:
    """The names of blocks that hold the data of that name, besides its own; none where it is not here."""
    try:
        parts = opened(channel().call("shelf.get", block=name, **wanted(0, keep=False)).result())
    except Error as e:
        if e.code != "peer-timeout":
            raise
        return []
    return [] if isinstance(parts, bytes) else parts


def _drop(names: Iterable[str]) -> None:
    for _ in _each("shelf.drop", ({"block": name} for name in names)):
        pass


def _each(method: str, calls: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The results of calls in their order, AT_ONCE under way. Raises the first error."""
    todo = iter(calls)
    waiting: deque[tuple[int, queue.SimpleQueue[Reply]]] = deque()
    try:
        while True:
            for fields in islice(todo, AT_ONCE - len(waiting)):
                answered: queue.SimpleQueue[Reply] = queue.SimpleQueue()
                waiting.append((channel().submit(method, answered.put, **fields), answered))
            if not waiting:
                return
            yield waiting.popleft()[1].get().result()
    except Error:
        while waiting:  # those that were made are over when this is
            waiting.popleft()[1].get()
        raise
    finally:
        for number, _ in waiting:
            channel().forget(number)
