"""What is fuzzed: every parser that meets bytes of strangers. One function of bytes per target.

A target returns for whatever it is given, or raises: what a parser may raise for hostile input is caught in
here, so that anything that comes out of a target is a bug. Beyond "nothing else is raised" each states what
must hold for what was accepted.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Manifest
from pearrt.codec import bencode, canonical
from pearrt.errors import RemoteError, UserError
from pearrt.peer import messages
from pearrt.peer.framing import MessageAssembler
from pearrt.peer.pool import BufferPool
from pearrt.sandbox.policy import Permissions
from pearrt.sdk import frames
from pearrt.web.origin import Door, Origin, spelled
from pearrt.web.site import SignedFile, Site

TARGETS: dict[str, Callable[[bytes], None]] = {}
MAX_BYTES = 4096


def target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    TARGETS[function.__name__.removeprefix("fuzz_")] = function
    return function


@target
def fuzz_bencode(data: bytes) -> None:
    """What is accepted has one spelling."""
    try:
        value = bencode.decode(data, max_depth=8, max_items=1000)
    except RemoteError:
        return
    assert bencode.encode(value) == data


@target
def fuzz_canonical(data: bytes) -> None:
    """What is accepted and can be written at all reads the same again."""
    try:
        value = canonical.parse(data, max_bytes=MAX_BYTES)
    except RemoteError:
        return
    assert canonical.parse(canonical.encode(value), max_bytes=8 * MAX_BYTES) == value


@target
def fuzz_manifest(data: bytes) -> None:
    """What is accepted has one spelling, and nothing in it can forge a terminal or a line."""
    try:
        manifest = Manifest.decode(data)
    except RemoteError:
        return
    assert manifest.encode() == data
    assert manifest.name.isprintable()
    assert manifest.version.isprintable()


@target
def fuzz_index(data: bytes) -> None:
    """What is accepted has one spelling, no path that climbs, and sums that agree."""
    try:
        index = Index.parse(data)
    except RemoteError:
        return
    assert index.encode() == data
    for file in index.files:
        assert not file.path.startswith("/")
        assert ".." not in file.path.split("/")


@target
def fuzz_policy(data: bytes) -> None:
    """A table is understood or refused as the publisher's mistake; understood, it survives its own digest."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(table, dict):
        return
    try:
        permissions = Permissions.parse(table)
    except UserError as e:
        if not e.message.isprintable():
            raise ValueError("a message that could forge a terminal") from e
        return
    assert all(line.isprintable() for line in permissions.describe())
    assert not permissions.widens(permissions)
    assert Permissions.parse(table).digest() == permissions.digest()


@target
def fuzz_peer_frames(data: bytes) -> None:
    """The same messages however the stream was cut."""
    cut = data[0] if data else 0
    whole, error = _assembled([data])
    parts, other = _assembled([data[:cut], data[cut : cut + 1], data[cut + 1 :]])
    assert parts == whole
    assert error is other
    for message in whole:
        if isinstance(message, messages.Hello | messages.Bye):
            continue  # their text is made printable, which can make it longer than what may be sent
        again = messages.encode(message)
        assert messages.decode(again[0], again[4:]) == message


def _assembled(pieces: list[bytes]) -> tuple[list[messages.Message], type[Exception] | None]:
    assembler, found = MessageAssembler(BufferPool()), []
    try:
        for piece in pieces:
            found.extend(assembler.feed(memoryview(piece)))
    except RemoteError as e:
        return found, type(e)
    return found, None


@target
def fuzz_app_frames(data: bytes) -> None:
    """The same messages however the stream was cut, and never more than a frame is kept."""
    cut = data[0] if data else 0
    assert _decoded([data]) == _decoded([data[:cut], data[cut : cut + 1], data[cut + 1 :]])


def _decoded(pieces: list[bytes]) -> tuple[str, bool]:
    decoder, found = frames.Decoder(), []
    try:
        for piece in pieces:
            found.extend(decoder.feed(piece))
    except frames.BadFrame:
        return repr(found), True
    return repr(found), False


_ORIGIN, _DOOR = Origin(spelled(bytes(16)), 80), Door(b"t" * 16, b"s" * 16, 0.0)
CORPUS_HOST = _ORIGIN.host
_SITE = Site([SignedFile("web/a", 0, bytes(32)), SignedFile("b", 0, bytes(32))], "web/a")


@target
def fuzz_page_request(data: bytes) -> None:
    """Headers and paths of requests to an app's page: no cookie but the session's, no file but the signed."""
    method, _, rest = data.decode("latin-1").partition("\n")
    path, _, lines = rest.partition("\n")
    headers = [(name, value) for name, _, value in (line.partition(":") for line in lines.split("\n"))]
    if _ORIGIN.admits(method, headers):
        assert [v for n, v in headers if n.lower() == "host"] == [_ORIGIN.host]
    if _DOOR.knows(headers):
        assert any(_DOOR.secret in value for _, value in headers)
    found = _SITE.find(path)
    assert found is None or found.path == "web/a"
